/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The two messages of envoy.service.auth.v3.Authorization/Check as a proxy needs them, between
 * structs of its own and gRPC's frames: protocol buffers written and read by hand (see
 * docs/decisions/0019-ext-authz-by-hand.md). Fields that are not named here are not sent, and
 * skipped. Thread: any.
 */
#include "base/buf.h"
#include "http/message.h"

#define SL_AUTHZ_PATH "/envoy.service.auth.v3.Authorization/Check"

struct sl_authz_peer {
	struct sl_str address; /* an IP literal */
	uint16_t port;
};

struct sl_authz_check {
	struct sl_authz_peer source, destination;
	struct sl_str method, host, scheme;
	struct sl_str path;	/* with the query */
	struct sl_str protocol; /* "HTTP/1.1" */
	struct sl_headers headers;
	int64_t size; /* of the body; -1: not known */
	struct sl_str body;
};

/* Append a gRPC message with a CheckRequest. Bytes that are no UTF-8 become "?" in text, and keep
 * the body in raw_body. Returns 0 or -ENOMEM. */
int sl_authz_write_check(struct sl_buf *out, const struct sl_authz_check *check);

/* HeaderValueOption.append_action, by its numbers. */
enum sl_authz_action {
	SL_AUTHZ_ADD,
	SL_AUTHZ_ADD_IF_ABSENT,
	SL_AUTHZ_SET, /* in place of all that are there */
	SL_AUTHZ_SET_IF_PRESENT,
};

struct sl_authz_edit {
	struct sl_authz_edit *next;
	enum sl_authz_action action;
	struct sl_str name, value;
};

struct sl_authz_edits {
	struct sl_authz_edit *first, *last; /* in the service's order */
};

/* A CheckResponse; text is borrowed from the message. */
struct sl_authz_verdict {
	bool allowed;
	uint16_t status;		 /* of a denial; 403 when the service names none */
	struct sl_authz_edits edits;	 /* allowed: of the request; denied: of the answer */
	struct sl_authz_edits of_answer; /* allowed: of what the client gets in the end */
	struct sl_headers removed;	 /* allowed: names */
	struct sl_headers query_set, query_removed; /* allowed: parameters, not encoded */
	struct sl_str body;			    /* of a denial */
};

/* message: the whole body of the answer, one gRPC message without compression. Returns 0, -EINVAL
 * when it is malformed, or names a header or value that HTTP does not have, -ENOMEM. */
int sl_authz_read_verdict(struct sl_arena *a, struct sl_str message, struct sl_authz_verdict *ret);
