/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Requests to the Kubernetes API server: libcurl on the control thread's loop. HTTP/2 where the
 * server has it, so that all watches share one connection. Certificates and tokens that are files
 * are read again for each request that opens a connection or is refused, as they are rotated under
 * us. Thread: control; callbacks run in it, from the loop.
 */
#include "loop/loop.h"
#include "source/kube_access.h"

struct sl_kube_client;
struct sl_kube_request;

struct sl_kube_result {
	int error; /* 0: an answer came to its end; else -errno (-ETIMEDOUT, -ECONNREFUSED, -EPROTO,
		      ...) */
	unsigned status;	/* of HTTP, 0 when there was none */
	unsigned retry_after_s; /* as the answer said; 0: it did not */
	const char *message; /* for people: what went wrong, or the Status object's message; "" if
				all is well */
	struct sl_str
		body; /* of a request without on_data, and of any answer that is no 2xx; borrowed */
};

struct sl_kube_call {
	const char *method;	  /* a literal */
	const char *path;	  /* with the query; copied */
	const char *content_type; /* a literal, of body; NULL: none */
	struct sl_str body;	  /* copied */
	/* Ends a request that takes longer; for a watch (timeout_s 0) a connection that is silent
	 * is found by TCP's keep-alive and by the server's own limit. */
	unsigned timeout_s;
	/* The head of a 2xx answer has come; its body may be long in coming. NULL: not told. The
	 * request must not be cancelled from here. */
	void (*on_open)(void *arg);
	/* Parts of a 2xx answer's body as they come. NULL: the body is collected, up to 8 MB.
	 * Returns 0, or -errno, with which the request then ends. The request must not be cancelled
	 * from here. */
	int (*on_data)(void *arg, struct sl_str bytes);
	/* Once, unless it is cancelled; the request is gone after that. New requests may be made
	 * from here. */
	void (*on_done)(void *arg, const struct sl_kube_result *result);
	void *arg;
};

/* access is borrowed until the end. Returns 0, -ENOMEM. */
int sl_kube_client_new(struct sl_loop *loop, const struct sl_kube_access *access,
		       struct sl_kube_client **ret);
/* Requests that are open are cancelled. Accepts NULL, returns NULL. */
struct sl_kube_client *sl_kube_client_free(struct sl_kube_client *c);
/* Returns 0, -ENOMEM, or -errno of a token that cannot be read; then no callback comes. */
int sl_kube_call(struct sl_kube_client *c, const struct sl_kube_call *call,
		 struct sl_kube_request **ret);
/* No callback comes any more. Not from its own callbacks. Accepts NULL, returns NULL. */
struct sl_kube_request *sl_kube_cancel(struct sl_kube_request *rq);
