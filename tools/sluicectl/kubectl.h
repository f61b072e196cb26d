/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * kubectl, for what concerns a cluster: it knows how to log in (plugins, proxies, contexts), how to
 * apply, and how to run something in a Pod. What it has to say it says itself, on standard error.
 */
#include <jansson.h>
#include <sys/types.h>
#include "base/buf.h"

enum { SL_KUBECTL_MAX_WORDS = 32 };

struct sl_kubectl {
	const char *kubeconfig, *context; /* NULL: its own choice */
};

struct sl_kubectl_job {
	pid_t pid;
	int out_fd;
};

/* words: its arguments, ends with NULL; input: of its standard input. Returns 0 or -errno, said on
 * standard error. */
int sl_kubectl_start(const struct sl_kubectl *k, const char *const words[], struct sl_str input,
		     struct sl_kubectl_job *ret);
/* Waits. out: what it printed; NULL: not wanted. Returns 0, its exit status, or -errno (said). */
int sl_kubectl_finish(struct sl_kubectl_job *job, struct sl_buf *out);
/* Both, printing to our standard output. */
int sl_kubectl_show(const struct sl_kubectl *k, const char *const words[], struct sl_str input);
/* Both, for an answer in JSON: *ret is a new reference; several documents are {"items": [...]}.
 * Returns 0, or not: then that was said. */
int sl_kubectl_json(const struct sl_kubectl *k, const char *const words[], struct sl_str input,
		    json_t **ret);
