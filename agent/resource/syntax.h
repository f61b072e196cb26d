/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The texts that Kubernetes and the Gateway API allow in a field: limits, form, and the words in
 * which a violation is explained. Limits count characters (code points), as the API server does.
 * Thread: any.
 */
#include "base/str.h"

struct sl_text_type {
	uint32_t min, max;
	bool (*valid)(struct sl_str s); /* NULL: any */
	const char *expected;		/* "a lower-case DNS label, ..." */
};

extern const struct sl_text_type sl_text_any;		    /* no limit */
extern const struct sl_text_type sl_text_dns_label;	    /* RFC 1123, at most 63 */
extern const struct sl_text_type sl_text_optional_label;    /* the same, or empty */
extern const struct sl_text_type sl_text_subdomain;	    /* RFC 1123, at most 253 */
extern const struct sl_text_type sl_text_ref_name;	    /* a reference's: 1 to 253, any */
extern const struct sl_text_type sl_text_group;		    /* empty (core), or a subdomain */
extern const struct sl_text_type sl_text_kind;		    /* letters, digits, "-", at most 63 */
extern const struct sl_text_type sl_text_hostname;	    /* a precise host name */
extern const struct sl_text_type sl_text_wildcard_hostname; /* also "*." before it */
extern const struct sl_text_type sl_text_token;		    /* RFC 9110, at most 256 */
extern const struct sl_text_type sl_text_header_value; /* no control characters, at most 4096 */
extern const struct sl_text_type sl_text_header_match; /* 1 to 4096, any */
extern const struct sl_text_type sl_text_query_match;  /* 1 to 1024, any */
extern const struct sl_text_type sl_text_rpc_service;  /* a gRPC service with its package */
extern const struct sl_text_type sl_text_rpc_method;
extern const struct sl_text_type sl_text_rpc_pattern; /* of either: at most 1024, any */
extern const struct sl_text_type sl_text_path_match;  /* at most 1024: sl_path_problem() */
extern const struct sl_text_type sl_text_path_full;   /* "/" and path characters */
extern const struct sl_text_type sl_text_path_prefix; /* the same, or empty */
extern const struct sl_text_type
	sl_text_cookie_path; /* of a cookie's Path: RFC 6265 section 4.1.1 */

extern const struct sl_text_type sl_text_cors_origin; /* "*", or a scheme and a host of which the
						       * start may be "*" */
extern const struct sl_text_type sl_text_cors_method; /* "*", or a method that the API knows */

/* Number of characters of valid UTF-8. */
size_t sl_text_length(struct sl_str s);

/* Why s cannot be an Exact or PathPrefix value: what is said behind the field's name ("must ..."),
 * or NULL when it can. */
const char *sl_path_problem(struct sl_str s);

/* User text for a message: quoted, shortened, control characters replaced. Returns out. */
#define SL_QUOTE_TEXT 72
const char *sl_quote(struct sl_str s, char out[SL_QUOTE_TEXT]);
