/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Filters of rules and backendRefs, compiled: what proxy/filter_*.c carries out. Immutable. */
#include "base/str.h"

struct sl_header_edit {
	struct sl_str name;  /* as configured */
	struct sl_str value; /* empty for remove */
};

/* At most one action per name (checked when decoded), so the order of the three does not matter. */
struct sl_header_edits {
	const struct sl_header_edit *set, *add, *remove;
	uint32_t n_set, n_add, n_remove;
};

enum sl_path_edit_type { SL_PATH_EDIT_NONE, SL_PATH_EDIT_FULL, SL_PATH_EDIT_PREFIX };

struct sl_path_edit {
	enum sl_path_edit_type type;
	struct sl_str value;  /* PREFIX: without trailing "/" */
	struct sl_str prefix; /* PREFIX: the rule's matched prefix, without trailing "/" */
};

/* Origins that may read answers: scheme://host:port, of which the host may be open to the left. */
struct sl_cors_origin {
	bool https;
	bool open;	    /* any host that ends with it, and has more */
	struct sl_str host; /* without case; open: with its leading ".", or empty */
	uint16_t port;
};

/* Lists as they are sent: names joined with ", ". */
struct sl_cors {
	const struct sl_cors_origin *origins;
	uint32_t n_origins;
	bool any_origin, any_method, any_header; /* "*" */
	bool credentials;
	struct sl_str methods, headers, exposed; /* empty: none */
	struct sl_str max_age;			 /* seconds */
};

/* A copy of the request, to one endpoint. */
struct sl_mirror {
	struct sl_str backend;		 /* "namespace/name:port": key of the upstream */
	uint32_t numerator, denominator; /* of the requests */
};

/* Somebody else decides whether the request goes on. */
struct sl_ext_auth {
	struct sl_str backend;	 /* key of the upstream */
	struct sl_str authority; /* that a gRPC call names: "name.namespace" */
	bool resolved;		 /* else requests get 500 */
	bool grpc;
	struct sl_str path; /* HTTP: before the request's, without trailing "/" */
	/* Names; of the request also Authorization. None: gRPC and of the answer all, else none. */
	const struct sl_str *request_headers, *response_headers;
	uint32_t n_request_headers, n_response_headers;
	uint32_t body_bytes; /* 0: the body is not sent; over: 413 */
};

enum sl_filter_kind {
	SL_FILTER_KIND_REQUEST_HEADERS,
	SL_FILTER_KIND_RESPONSE_HEADERS,
	SL_FILTER_KIND_REDIRECT,
	SL_FILTER_KIND_REWRITE,
	SL_FILTER_KIND_CORS,
	SL_FILTER_KIND_MIRROR,
	SL_FILTER_KIND_AUTH,
};

struct sl_filter {
	enum sl_filter_kind kind;
	union {
		struct sl_header_edits headers;
		struct {
			struct sl_str scheme; /* "http", "https" or empty: the request's */
			struct sl_str hostname;
			struct sl_path_edit path;
			uint16_t port; /* 0: derived */
			uint16_t status;
		} redirect;
		struct {
			struct sl_str hostname; /* empty: unchanged */
			struct sl_path_edit path;
		} rewrite;
		const struct sl_cors *cors;
		const struct sl_mirror *mirror;
		const struct sl_ext_auth *auth;
	};
};

/* Whether they do the same to every message. Lists count in their order. */
bool sl_filter_eq(const struct sl_filter *a, const struct sl_filter *b);
