/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The index behind sl_route_table_match(): the matches of a table's routes, found by path and,
 * where many share one, by an exact header or query value, by method, or by the literal ends of a
 * regular expression. An index is immutable; its builder goes on with it, so that a change of one
 * route costs that route and what lies next to it, not the table.
 */
#include "http/message.h"
#include "snapshot/regex.h"
#include "snapshot/snapshot.h"

/* In order of precedence. */
enum sl_match_class { SL_MATCH_EXACT, SL_MATCH_REGEX, SL_MATCH_PREFIX };

/* A header or query parameter that must be there with this value. */
struct sl_match_value {
	struct sl_str name;
	struct sl_str value;	/* also the text of the pattern */
	struct sl_regex *regex; /* NULL: equal bytes */
	uint64_t name_hash;	/* headers: of the name in lower case */
};

/* A part of a gRPC request's path. */
struct sl_match_text {
	struct sl_str text;	/* empty: any; also the text of the pattern */
	struct sl_regex *regex; /* NULL: equal bytes */
};

struct sl_match {
	const struct sl_rule *rule;
	enum sl_match_class class;
	struct sl_str path; /* PREFIX: without trailing "/", so "" is every path */
	struct sl_regex *path_regex;
	/* Of a GRPCRoute, whose class and path are made of these two: both known are an exact path,
	 * the service alone is a prefix, and so is neither; all others are filed as patterns. */
	bool is_rpc;
	struct sl_match_text rpc_service, rpc_method;
	/* Of a TLSRoute: the host name, may begin with "*."; path is made of it by
	 * sl_match_name_path(). Of a TCPRoute: empty, and path is every path. */
	struct sl_str server_name;
	enum sl_method method;		/* SL_METHOD_OTHER: any */
	struct sl_match_value *headers; /* no two of one name, without case */
	struct sl_match_value *queries; /* no two of one name */
	uint32_t n_headers, n_queries;

	/* By sl_route_seal(): */
	const struct sl_route *route;
	uint32_t index;		  /* in the route */
	uint64_t order;		  /* lower precedes, within one route's age and name */
	struct sl_str head, tail; /* REGEX: what every path it matches begins and ends with */

	struct match_bin *bin; /* the builder's; nobody else may look at it */
};

/* A host name of SNI as a path, from the top: "www.example.com" is "/com/example/www", and
 * "*.example.com", as a prefix, "/com/example". out: one byte more than the name. Returns its
 * length. */
size_t sl_match_name_path(struct sl_str name, char *out);

/* Completes a match outside of routes; what has to be made lies in the arena. Returns 0 or -ENOMEM.
 */
int sl_match_seal(struct sl_match *m, struct sl_arena *arena);
/* Gives back the regular expressions. */
void sl_matches_deinit(const struct sl_match *matches, uint32_t n);

/* Completes a route whose rules and matches are filled in: rules in their order, matches in any
 * order. Returns 0 or -ENOMEM. */
int sl_route_seal(struct sl_route *r);

/* <0, 0, >0; two matches of different routes of a table, or of one route, are never equal. */
int sl_match_cmp(const struct sl_match *a, const struct sl_match *b);

/* Accepts NULL, returns NULL. */
struct sl_match_index *sl_match_index_free(struct sl_match_index *index);
/* All matches in order: a new array (free()) of borrowed pointers, for people and tests. Returns 0
 * or -ENOMEM. */
int sl_match_index_list(const struct sl_match_index *index, const struct sl_match ***ret,
			uint32_t *ret_n);

/* ---- building ---- */

/* Thread: control. After -ENOMEM a builder can only be freed. */
struct sl_match_builder;
int sl_match_builder_new(struct sl_match_builder **ret);
/* Accepts NULL, returns NULL. */
struct sl_match_builder *sl_match_builder_free(struct sl_match_builder *b);
/* A sealed route. Its matches belong to one builder at a time. Returns 0 or -ENOMEM. */
int sl_match_builder_add(struct sl_match_builder *b, struct sl_route *r);
/* One that was added before the last build. The caller keeps its reference until after the next.
 * Returns 0 or -ENOMEM. */
int sl_match_builder_remove(struct sl_match_builder *b, struct sl_route *r);
/* The index of what is inside. Returns 0 or -ENOMEM. */
int sl_match_builder_build(struct sl_match_builder *b, struct sl_match_index **ret);
