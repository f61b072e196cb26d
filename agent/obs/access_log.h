/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Access log: one JSON object a line for each request and tunnel. Each worker has its own, all
 * append to the same file. Lines collect in a fixed buffer; writing never waits: what a full pipe
 * or disk does not take is dropped and counted. Knows no proxy types; the record is flat. A line is
 * at most 4096 bytes (PIPE_BUF: lines of several workers do not mix in a pipe), long fields are
 * cut.
 *
 * Thread: the worker's, but for sl_access_log_dropped().
 */
#include "base/str.h"

/* Strings are borrowed for the call; empty ones, and numbers marked optional when 0, are left out.
 * Any bytes are fine: what is not UTF-8 is replaced. */
struct sl_access_record {
	uint64_t start_ns; /* monotonic; shown as wall-clock time */
	struct sl_str source_namespace, source_pod;
	struct sl_str client;	/* address:port */
	struct sl_str service;	/* namespace/name:port */
	struct sl_str protocol; /* HTTP/1.1, tcp */
	struct sl_str method, authority, path, user_agent;
	struct sl_str route;	/* kind/namespace/name */
	struct sl_str rule;	/* name or index */
	struct sl_str backend;	/* namespace/name:port */
	struct sl_str endpoint; /* address:port */
	uint32_t status;	/* optional */
	uint32_t attempts;	/* optional */
	uint32_t mirrors;	/* optional: copies sent elsewhere */
	uint64_t request_bytes, response_bytes;
	uint64_t duration_ns;
	uint64_t fault_delay_ns; /* of it, by a FaultInjection; 0: none */
	uint64_t first_byte_ns;	 /* optional: from the start to the first byte of the endpoint's
				    answer */
	struct sl_str end_reason;
	/* Of a request that shadow routes would have changed: the rule that would have taken it,
	 * and what would have differed. */
	struct sl_str shadow_route, shadow_rule, shadow_differs;
};

struct sl_access_log;

/* path: a file, created with mode 0640, or "-" for standard output. Returns 0 or -errno. */
int sl_access_log_open(const char *path, struct sl_access_log **ret);
/* Flushes. Accepts NULL, returns NULL. */
struct sl_access_log *sl_access_log_close(struct sl_access_log *log);
/* Never allocates, never fails; NULL log: no-op. */
void sl_access_log_write(struct sl_access_log *log, const struct sl_access_record *record);
/* Call about every 100 ms; one system call when there is something. NULL log: no-op. */
void sl_access_log_flush(struct sl_access_log *log);
/* After the file was renamed: flush to the old one, open the new one. On failure the old one is
 * kept. Returns 0 or -errno. */
int sl_access_log_reopen(struct sl_access_log *log);
/* Lines lost so far. NULL log: 0. Thread: any. */
uint64_t sl_access_log_dropped(const struct sl_access_log *log);
