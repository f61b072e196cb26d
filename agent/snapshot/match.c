/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/match.h"

#include <errno.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "http/uri.h"
#include "snapshot/match_impl.h"

enum { CACHE_SIZE = 64 };

/* The value of one header or query name in the request at hand, looked up once. */
struct cached_value {
	uint64_t round;
	uint64_t name_hash;
	struct sl_str name; /* of the round's table */
	bool present;
	struct sl_str value;
};

struct sl_match_scratch {
	struct sl_regex_scratch *regex;
	uint64_t n_limits_hit;
	uint64_t round; /* one per request: older cache entries are void */
	bool failed;	/* out of memory: the answer would be a guess */
	struct cached_value cache[2][CACHE_SIZE]; /* BIN_HEADER, BIN_QUERY */
};

struct lookup {
	const struct sl_request *req;
	struct sl_str path;
	struct sl_str service, method; /* of a gRPC request */
	struct sl_match_scratch *scratch;
	struct sl_arena *arena;
	const struct sl_match *best;
};

SL_DEFINE_CLEANUP(struct sl_match_scratch *, sl_match_scratch_free)

int sl_match_scratch_new(struct sl_match_scratch **ret)
{
	_cleanup_(sl_match_scratch_freep) struct sl_match_scratch *s =
		sl_new(struct sl_match_scratch);
	int r;

	if (!s)
		return -ENOMEM;
	r = sl_regex_scratch_new(&s->regex);
	if (r)
		return r;
	*ret = sl_take(s);
	return 0;
}

struct sl_match_scratch *sl_match_scratch_free(struct sl_match_scratch *s)
{
	if (s) {
		sl_regex_scratch_free(s->regex);
		free(s);
	}
	return NULL;
}

uint64_t sl_match_scratch_limits_hit(const struct sl_match_scratch *s)
{
	return s->n_limits_hit;
}

/* ---- values of the request ---- */

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static int hex_value(char c)
{
	return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

/* Whether a raw query name, decoded, is name: without a copy of it. */
static bool query_name_eq(struct sl_str raw, struct sl_str name)
{
	size_t n = 0;

	for (size_t i = 0; i < raw.len; i++, n++) {
		char c = raw.ptr[i];

		if (c == '+') {
			c = ' ';
		} else if (c == '%' && i + 2 < raw.len && is_hex(raw.ptr[i + 1]) &&
			   is_hex(raw.ptr[i + 2])) {
			c = (char)(hex_value(raw.ptr[i + 1]) << 4 | hex_value(raw.ptr[i + 2]));
			i += 2;
		}
		if (n >= name.len || name.ptr[n] != c)
			return false;
	}
	return n == name.len;
}

void match_split_rpc(struct sl_str path, struct sl_str *ret_service, struct sl_str *ret_method)
{
	size_t slash = path.len - 1; /* the first byte is one */

	while (path.ptr[slash] != '/')
		slash--;
	*ret_service = slash ? (struct sl_str){path.ptr + 1, slash - 1} : SL_STR("");
	*ret_method = sl_str_skip(path, slash + 1);
}

int match_find_header(const struct sl_request *req, struct sl_arena *arena, struct sl_str name,
		      struct sl_str *ret)
{
	/* The authority, also where it came as :authority or in the request target, which overrides
	 * a Host line (RFC 9112 section 3.2.2). */
	if (req->authority.len && sl_str_ieq(name, SL_STR("Host"))) {
		*ret = req->authority;
		return 0;
	}
	return sl_headers_join(&req->headers, arena, name, ret);
}

int match_find_query(const struct sl_request *req, struct sl_arena *arena, struct sl_str name,
		     struct sl_str *ret)
{
	struct sl_str raw_name, raw_value;
	size_t pos = 0;

	while (sl_uri_query_next(req->query, &pos, &raw_name, &raw_value)) {
		if (query_name_eq(raw_name, name))
			return sl_uri_query_decode(arena, raw_value, ret);
	}
	return -ENOENT;
}

/* NULL when the request has no such header or parameter. name_hash: the index's. */
static const struct sl_str *request_value(struct lookup *l, enum bin_kind kind, uint64_t name_hash,
					  struct sl_str name)
{
	struct cached_value *c = &l->scratch->cache[kind][name_hash % CACHE_SIZE];
	int r;

	if (c->round != l->scratch->round || c->name_hash != name_hash ||
	    !sl_str_eq(c->name, name)) {
		r = kind == BIN_HEADER ? match_find_header(l->req, l->arena, name, &c->value)
				       : match_find_query(l->req, l->arena, name, &c->value);
		if (r == -ENOMEM)
			l->scratch->failed = true;
		c->round = l->scratch->round;
		c->name_hash = name_hash;
		c->name = name;
		c->present = r == 0;
	}
	return c->present ? &c->value : NULL;
}

/* ---- one match ---- */

static bool regex_matches(struct lookup *l, const struct sl_regex *regex, struct sl_str value)
{
	enum sl_regex_result r = sl_regex_match(regex, value, l->scratch->regex);

	if (r == SL_REGEX_LIMIT)
		l->scratch->n_limits_hit++;
	return r == SL_REGEX_YES;
}

static bool values_match(struct lookup *l, enum bin_kind kind, const struct sl_match_value *values,
			 uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		const struct sl_match_value *want = &values[i];
		const struct sl_str *have = request_value(l, kind, want->name_hash, want->name);

		if (!have || (want->regex ? !regex_matches(l, want->regex, *have)
					  : !sl_str_eq(want->value, *have)))
			return false;
	}
	return true;
}

static bool text_matches(struct lookup *l, const struct sl_match_text *want, struct sl_str have)
{
	if (!want->text.len)
		return true;
	return want->regex ? regex_matches(l, want->regex, have) : sl_str_eq(want->text, have);
}

/* Everything but an exact path or prefix, which the bucket stands for. */
static bool match_applies(struct lookup *l, const struct sl_match *m)
{
	if (m->method != SL_METHOD_OTHER && m->method != l->req->method)
		return false;
	if (!values_match(l, BIN_HEADER, m->headers, m->n_headers) ||
	    !values_match(l, BIN_QUERY, m->queries, m->n_queries))
		return false;
	if (m->is_rpc)
		return text_matches(l, &m->rpc_service, l->service) &&
		       text_matches(l, &m->rpc_method, l->method);
	return !m->path_regex || regex_matches(l, m->path_regex, l->path);
}

/* ---- candidates ---- */

static void try_list(struct lookup *l, const struct match_list *list)
{
	for (uint32_t i = 0; i < list->n; i++) {
		if (l->best && sl_match_cmp(list->items[i], l->best) > 0)
			return;
		if (match_applies(l, list->items[i])) {
			l->best = list->items[i];
			return;
		}
	}
}

/* The bin of the request's own value. False: there is none. */
static bool find_bin(struct lookup *l, const struct dimension *d, struct bin_key *key)
{
	const char method = (char)l->req->method;
	const struct sl_str *have;

	switch (d->kind) {
	case BIN_HEADER:
	case BIN_QUERY:
		have = request_value(l, d->kind, d->name_id, d->name);
		return have && bin_key_set(key, d->kind, d->name_id, *have);
	case BIN_METHOD:
		return bin_key_set(key, BIN_METHOD, 0, (struct sl_str){&method, 1});
	case BIN_HEAD:
		return d->name_id <= l->path.len &&
		       bin_key_set(key, BIN_HEAD, d->name_id,
				   (struct sl_str){l->path.ptr, d->name_id});
	case BIN_TAIL:
		return d->name_id <= l->path.len &&
		       bin_key_set(key, BIN_TAIL, d->name_id,
				   sl_str_skip(l->path, l->path.len - d->name_id));
	}
	return false;
}

static bool try_bucket(struct lookup *l, const struct bucket *b)
{
	for (uint32_t i = 0; i < b->n_dimensions; i++) {
		const struct sl_part *bin;
		struct bin_key key;

		if (!find_bin(l, &b->dimensions[i], &key))
			continue;
		bin = sl_pmap_get(&b->bins, bin_key_str(&key));
		if (bin)
			try_list(l, match_list_of(bin));
	}
	if (b->rest)
		try_list(l, b->rest);
	return l->best;
}

/* Element-wise: the prefix ends where the path does, or before a "/". */
static bool is_boundary(struct sl_str path, size_t len)
{
	return len == path.len || (len < path.len && path.ptr[len] == '/');
}

static bool try_prefix(struct lookup *l, const struct sl_match_index *index, uint32_t len)
{
	const struct bucket *b;

	if (!is_boundary(l->path, len))
		return false;
	b = bucket_of(sl_pmap_get(&index->prefix, (struct sl_str){l->path.ptr, len}));
	return b && try_bucket(l, b);
}

/* Patterns precede prefixes of up to that length. */
static void try_others(struct lookup *l, const struct sl_match_index *index, uint32_t pattern_len)
{
	const struct bucket *patterns = index->regex;

	for (uint32_t i = 0; i < index->n_prefix_lengths; i++) {
		uint32_t len = index->prefix_lengths[i];

		if (patterns && len <= pattern_len) {
			if (try_bucket(l, patterns))
				return;
			patterns = NULL;
		}
		if (try_prefix(l, index, len))
			return;
	}
	if (patterns)
		(void)try_bucket(l, patterns); /* l->best tells */
}

static struct lookup begin(const struct sl_request *req, struct sl_str path,
			   struct sl_match_scratch *scratch, struct sl_arena *arena)
{
	struct lookup l = {.req = req, .path = path, .scratch = scratch, .arena = arena};

	if (!path.len || path.ptr[0] != '/')
		l.path = SL_STR("/"); /* CONNECT and "OPTIONS *" name the whole server */
	scratch->round++;
	scratch->failed = false;
	return l;
}

const struct sl_match *sl_route_table_find(const struct sl_route_table *t,
					   const struct sl_request *req, struct sl_str path,
					   struct sl_match_scratch *scratch, struct sl_arena *arena)
{
	struct lookup l = begin(req, path, scratch, arena);
	const struct sl_match_index *index = t->index;
	const struct bucket *exact;

	if (t->kind == SL_ROUTE_GRPC)
		match_split_rpc(l.path, &l.service, &l.method);
	exact = bucket_of(sl_pmap_get(&index->exact, l.path));
	/* A prefix of a gRPC path is a service by name, or none. */
	if (!exact || !try_bucket(&l, exact))
		try_others(&l, index, t->kind == SL_ROUTE_GRPC ? 0 : UINT32_MAX);
	return scratch->failed ? NULL : l.best;
}

const struct sl_rule *sl_route_table_match(const struct sl_route_table *t,
					   const struct sl_request *req, struct sl_str path,
					   struct sl_match_scratch *scratch, struct sl_arena *arena)
{
	const struct sl_match *m = sl_route_table_find(t, req, path, scratch, arena);

	return m ? m->rule : NULL;
}

const struct sl_match *sl_trial_find(const struct sl_trial *t,
				     const struct sl_route_table *in_force,
				     const struct sl_match *now, const struct sl_request *req,
				     struct sl_str path, struct sl_match_scratch *scratch,
				     struct sl_arena *arena)
{
	const struct sl_match *m = sl_route_table_find(t->shadow, req, path, scratch, arena);
	const struct sl_match *rival = now;

	if (t->enforced != in_force)
		rival = t->enforced ? sl_route_table_find(t->enforced, req, path, scratch, arena)
				    : NULL;
	return !m || (rival && sl_match_cmp(rival, m) < 0) ? rival : m;
}

bool sl_match_fits(const struct sl_match *m, const struct sl_request *req, struct sl_str path,
		   struct sl_match_scratch *scratch, struct sl_arena *arena)
{
	struct lookup l = begin(req, path, scratch, arena);

	if (m->is_rpc)
		match_split_rpc(l.path, &l.service, &l.method);
	else if (m->class == SL_MATCH_EXACT && !sl_str_eq(l.path, m->path))
		return false;
	else if (m->class == SL_MATCH_PREFIX &&
		 (!sl_str_starts(l.path, m->path) || !is_boundary(l.path, m->path.len)))
		return false;
	return match_applies(&l, m) && !scratch->failed;
}
