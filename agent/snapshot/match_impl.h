/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The index's inside, shared by match_index.c (builds it) and match.c (walks it) only, and what
 * match.c shares with explain.c: how a request's values are read. */
#include "snapshot/match_index.h"

/* Some of the matches, in order of precedence. */
struct match_list {
	const struct sl_match **items;
	uint32_t n;
};

enum value_kind { VALUE_HEADER, VALUE_QUERY };

/* The matches of a bucket that need this exact value; key is the value. */
struct value_node {
	uint64_t hash;
	enum value_kind kind;
	uint32_t name_id;
	struct sl_str value;
	uint32_t n_users; /* how many matches name it, while building */
	struct match_list list;
};

/* A header or query name that value nodes of a bucket are about. */
struct dimension {
	enum value_kind kind;
	uint32_t name_id;
	struct sl_str name;
};

/* Many matches on one path: each is filed under its rarest exact value, or in rest when it has
 * none. */
struct fan {
	struct dimension *dimensions;
	uint32_t n_dimensions;
	struct value_node **slots;
	uint32_t mask;
	struct match_list rest;
};

/* The matches of one exact path, of one prefix, or with a regular expression. */
struct bucket {
	uint64_t hash;
	struct sl_str path;
	struct match_list list;
	struct fan *fan; /* NULL: the list is short */
};

struct bucket_table {
	struct bucket **slots;
	uint32_t mask;
	uint32_t n;
};

struct sl_match_index {
	struct sl_match *matches;
	uint32_t n_matches;
	struct bucket_table exact, prefix;
	struct bucket regex;
	uint32_t *prefix_lengths; /* that occur, longest first */
	uint32_t n_prefix_lengths;
};

/* NULL when absent. */
const struct bucket *bucket_find(const struct bucket_table *t, struct sl_str path);
const struct value_node *value_find(const struct fan *f, enum value_kind kind, uint32_t name_id,
				    struct sl_str value);

/* The request's value of a header or query name, as matches compare it. Returns 0, -ENOENT when the
 * request has none, -ENOMEM. */
int match_find_header(const struct sl_request *req, struct sl_arena *arena, struct sl_str name,
		      struct sl_str *ret);
int match_find_query(const struct sl_request *req, struct sl_arena *arena, struct sl_str name,
		     struct sl_str *ret);
