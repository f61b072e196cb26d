/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The index behind sl_route_table_match(): all matches of a route table, in order of precedence,
 * found by path and, where many share one, by an exact header or query value. Immutable once built.
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
	uint32_t name_id;	/* the index's: same number, same name */
};

struct sl_match {
	const struct sl_rule *rule;
	enum sl_match_class class;
	struct sl_str path; /* PREFIX: without trailing "/", so "" is every path */
	struct sl_regex *path_regex;
	enum sl_method method;		/* SL_METHOD_OTHER: any */
	struct sl_match_value *headers; /* no two of one name, without case */
	struct sl_match_value *queries; /* no two of one name */
	uint32_t n_headers, n_queries;
	uint32_t rank; /* the index's: place in the order */
};

/*
 * matches: sorted by precedence (class first, prefixes by length first), in the same arena, kept
 * and numbered by the index. Takes a reference of each regular expression. Returns 0 or -ENOMEM (no
 * reference taken then).
 */
int sl_match_index_new(struct sl_arena *arena, struct sl_match *matches, uint32_t n,
		       struct sl_match_index **ret);
/* Gives the references back; memory is the arena's. Accepts NULL. */
void sl_match_index_deinit(struct sl_match_index *index);
/* All matches in order, for dumps. */
const struct sl_match *sl_match_index_matches(const struct sl_match_index *index, uint32_t *ret_n);
