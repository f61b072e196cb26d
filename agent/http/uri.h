/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Paths and queries of request targets (RFC 3986), raw: nothing is percent-decoded, so "%2F" never
 * becomes a separator. This is a security boundary: routing compares what the backend will see.
 */
#include "base/arena.h"

/* Remove dot segments (RFC 3986 section 5.2.4) from a raw absolute path. A path without any (and
 * one that is not absolute, as "*") is returned as it is, else a copy in the arena. "%2e" counts as
 * "." here, as backends decode it. Empty segments stay. Returns 0 or -ENOMEM. */
int sl_uri_normalise(struct sl_arena *a, struct sl_str path, struct sl_str *ret);
/* What rules are matched by: the same, but "/" for what is no path. CONNECT and "OPTIONS *" name
 * the whole server. Returns 0 or -ENOMEM. */
int sl_uri_path_to_match(struct sl_arena *a, struct sl_str path, struct sl_str *ret);

/* Next name=value of a raw query; *pos starts at 0. Names and values are raw. Returns false at the
 * end. Empty pieces are skipped; a piece without "=" has an empty value. */
bool sl_uri_query_next(struct sl_str query, size_t *pos, struct sl_str *ret_name,
		       struct sl_str *ret_value);
/* Decode percent escapes and "+" of a query piece; without any, s itself. A malformed escape stays
 * as it is; the result may have any byte in it. Returns 0 or -ENOMEM. */
int sl_uri_query_decode(struct sl_arena *a, struct sl_str s, struct sl_str *ret);
/*
 * The query without the parameters of that name, however they are written, and where value is not
 * NULL with name=value at its end. What a query cannot hold, and "&", is escaped in both; what
 * looks like an escape stays one. ptr NULL when nothing is left. Returns 0 or -ENOMEM.
 */
int sl_uri_query_replace(struct sl_arena *a, struct sl_str query, struct sl_str name,
			 const struct sl_str *value, struct sl_str *ret);
/* Host without port of an authority ("[::1]:80" gives "[::1]"). */
struct sl_str sl_uri_host(struct sl_str authority);
/* Whether it is host [":" port] (RFC 9110 section 7.2): a name, an IPv4 address or an IPv6 address
 * in brackets; no user information (section 4.2.4), port at most 65535. with_port: the port is
 * required, as CONNECT does. */
bool sl_uri_authority_valid(struct sl_str authority, bool with_port);
