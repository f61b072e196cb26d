/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The index's inside, shared by match_builder.c (makes it), match_index.c and match.c (walk it)
 * only, and what match.c shares with explain.c: how a request's values are read. */
#include "snapshot/match_index.h"

/* What a bin is chosen by. */
enum bin_kind {
	BIN_HEADER,
	BIN_QUERY,
	BIN_METHOD,
	BIN_HEAD, /* of paths that a regular expression matches */
	BIN_TAIL,
};

/* Key of a bin in its bucket: a struct bin_prefix, then the value's bytes. Longer values are no
 * keys; such a match goes by something else. */
enum { BIN_VALUE_MAX = 512 };
struct bin_prefix {
	uint64_t name; /* header or query: hash of the name; head or tail: length */
	uint64_t kind;
};
struct bin_key {
	struct bin_prefix prefix;
	char value[BIN_VALUE_MAX];
	size_t len; /* of prefix and value */
};
/* False when the value is too long. */
bool bin_key_set(struct bin_key *key, enum bin_kind kind, uint64_t name, struct sl_str value);
static inline struct sl_str bin_key_str(const struct bin_key *key)
{
	return (struct sl_str){(const char *)key, key->len};
}

/* Some of a bucket's matches, in order of precedence; a reference of each one's route. */
struct match_list {
	struct sl_part part;
	struct sl_str key; /* in the bucket's bins; the bytes follow the items */
	uint32_t n;
	const struct sl_match *items[];
};

/* What bins of a bucket go by. */
struct dimension {
	enum bin_kind kind;
	uint64_t name_id;   /* as in struct bin_prefix */
	struct sl_str name; /* of the header or query parameter */
};

/* The matches of one exact path, of one prefix, or with a regular expression. When they are many,
 * each is in the bin of its rarest value, or in rest when it has none. */
struct bucket {
	struct sl_part part;
	struct sl_str path;	       /* the bytes follow the dimensions, as do names */
	const struct match_list *rest; /* NULL: empty */
	struct sl_pmap bins;	       /* struct match_list by key */
	uint32_t n_dimensions;
	struct dimension dimensions[];
};

struct sl_match_index {
	struct sl_pmap exact, prefix; /* struct bucket by path */
	const struct bucket *regex;   /* NULL: none */
	uint32_t n_prefix_lengths;
	uint32_t prefix_lengths[]; /* that occur, longest first */
};

static inline const struct bucket *bucket_of(const struct sl_part *p)
{
	return (const struct bucket *)p; /* embedded first */
}

static inline const struct match_list *match_list_of(const struct sl_part *p)
{
	return (const struct match_list *)p; /* embedded first */
}

/* "/service/method": the method is behind the last slash. */
void match_split_rpc(struct sl_str path, struct sl_str *ret_service, struct sl_str *ret_method);
/* The value of the header, joined when it is repeated, or of the first query parameter of that
 * name. Returns 0, -ENOENT, or -ENOMEM. */
int match_find_header(const struct sl_request *req, struct sl_arena *arena, struct sl_str name,
		      struct sl_str *ret);
int match_find_query(const struct sl_request *req, struct sl_arena *arena, struct sl_str name,
		     struct sl_str *ret);
