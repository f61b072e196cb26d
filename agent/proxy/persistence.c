/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sessionPersistence: a client that shows a token gets the endpoint that it names, if that is a
 * ready one of the backend which the rule's weights chose. All that is known of the client is in
 * its token, so any agent of the cluster serves it, and one that was started again.
 *
 * A rule with several backends has one cookie or header with a token of each, "." between them:
 * each opens for its own backend alone.
 */
#include <errno.h>
#include <time.h>
#include "base/clock.h"
#include "http/endpoint_token.h"
#include "proxy/state.h"

/* Of a request: the API allows that many backends. */
enum { MAX_TOKENS = 16 };

static uint32_t wall_s(void)
{
	return (uint32_t)time(NULL);
}

static bool in_time(uint64_t timeout_ns, uint32_t since_s, uint32_t now_s)
{
	/* Another agent's clock may be ahead. */
	return !timeout_ns || now_s <= since_s || (now_s - since_s) * SL_NS_PER_S < timeout_ns;
}

static const struct sl_endpoint *find_ready(const struct sl_upstream *up,
					    const struct sl_addr *endpoint)
{
	for (uint32_t i = 0; i < up->n_usable; i++) {
		if (sl_addr_eq(&up->endpoints[i].addr, endpoint))
			return &up->endpoints[i];
	}
	return NULL;
}

/* The next part of *rest, which loses it and the separator behind. */
static struct sl_str next_part(struct sl_str *rest, char separator)
{
	const char *end = rest->len ? memchr(rest->ptr, separator, rest->len) : NULL;
	struct sl_str part = {rest->ptr, end ? (size_t)(end - rest->ptr) : rest->len};

	*rest = sl_str_skip(*rest, part.len + (end != NULL));
	return part;
}

/* Takes note of the first token that is this backend's. Opening costs more than anything else here:
 * *left bounds how often a client makes the agent do it for one request. */
static bool open_one(struct sl_stream *s, struct sl_str value, int *left)
{
	const struct sl_persistence *p = s->persistence;

	for (; value.len && *left > 0; --*left) {
		struct sl_str part = next_part(&value, '.');

		if (sl_endpoint_token_open(p->secret, s->upstream_key, part, &s->token))
			continue;
		s->token_part = part;
		return true;
	}
	return false;
}

static bool is_named(struct sl_str pair, struct sl_str name)
{
	return pair.len > name.len && pair.ptr[name.len] == '=' &&
	       sl_str_eq((struct sl_str){pair.ptr, name.len}, name);
}

/* Cookies of one name may come several times (RFC 6265 section 4.2.2). */
static bool open_cookie(struct sl_stream *s)
{
	struct sl_str name = s->persistence->name;
	const struct sl_header *h = NULL;
	int left = MAX_TOKENS;

	while ((h = sl_headers_next(&s->req.headers, SL_STR("cookie"), h))) {
		struct sl_str rest = h->value;

		while (rest.len) {
			struct sl_str pair = next_part(&rest, ';');

			while (pair.len && pair.ptr[0] == ' ')
				pair = sl_str_skip(pair, 1);
			if (!is_named(pair, name))
				continue;
			s->token_value = sl_str_skip(pair, name.len + 1);
			if (open_one(s, s->token_value, &left))
				return true;
		}
	}
	return false;
}

static bool open_header(struct sl_stream *s)
{
	int left = MAX_TOKENS;
	const struct sl_header *h = sl_headers_find(&s->req.headers, s->persistence->name);

	if (!h)
		return false;
	s->token_value = h->value;
	return open_one(s, h->value, &left);
}

const struct sl_endpoint *sl_persistence_find(struct sl_stream *s, const struct sl_upstream *up)
{
	const struct sl_persistence *p = s->persistence;
	struct sl_metrics_shard *m = s->conn->proxy->metrics;
	const struct sl_endpoint *e = NULL;
	uint32_t now_s = wall_s();

	s->has_token = p->is_header ? open_header(s) : open_cookie(s);
	if (s->has_token && in_time(p->absolute_timeout_ns, s->token.issued_s, now_s) &&
	    in_time(p->idle_timeout_ns, s->token.seen_s, now_s))
		e = find_ready(up, &s->token.endpoint);
	if (!e)
		s->has_token = false;
	sl_metrics_inc(m, e		       ? SL_COUNTER_SESSIONS_KEPT
			  : s->token_value.len ? SL_COUNTER_SESSIONS_MOVED
					       : SL_COUNTER_SESSIONS_BEGUN);
	return e;
}

/* ---- the answer ---- */

/* What else the client has, with "." before each: tokens of the rule's other backends, the latest
 * first. Those that are void fall off the end. */
static int keep_others(struct sl_stream *s, struct sl_buf *value)
{
	struct sl_str rest = s->token_value;
	uint32_t n = 1;

	while (n < s->rule->n_backends && rest.len) {
		struct sl_str part = next_part(&rest, '.');

		if (part.len != SL_ENDPOINT_TOKEN_TEXT || part.ptr == s->token_part.ptr)
			continue;
		if (sl_buf_append(value, ".", 1) || sl_buf_append_str(value, part))
			return -ENOMEM;
		n++;
	}
	return 0;
}

static int write_value(struct sl_stream *s, struct sl_buf *value)
{
	char text[SL_ENDPOINT_TOKEN_TEXT];
	int r = sl_endpoint_token_seal(s->persistence->secret, s->upstream_key, &s->token, text);

	if (!r)
		r = sl_buf_append(value, text, sizeof(text));
	return r ? r : keep_others(s, value);
}

static int set_cookie(struct sl_stream *s, struct sl_str value, uint32_t now_s)
{
	const struct sl_persistence *p = s->persistence;
	uint64_t left_s = p->absolute_timeout_ns / SL_NS_PER_S;
	char max_age[40] = "";
	struct sl_str line;

	if (now_s > s->token.issued_s && now_s - s->token.issued_s <= left_s)
		left_s -= now_s - s->token.issued_s;
	if (p->permanent)
		(void)snprintf(max_age, sizeof(max_age), "; Max-Age=%llu",
			       (unsigned long long)left_s);
	/* Not Secure: in the mesh clients speak cleartext. */
	if (sl_arena_printf(&s->arena, &line, "%.*s=%.*s; Path=%.*s%s; HttpOnly; SameSite=Strict",
			    SL_STR_ARG(p->name), SL_STR_ARG(value), SL_STR_ARG(p->path), max_age))
		return -ENOMEM;
	return sl_headers_append(&s->res.headers, &s->arena, SL_STR("Set-Cookie"), line);
}

int sl_persistence_tell(struct sl_stream *s)
{
	const struct sl_persistence *p = s->persistence;
	bool is_new = !s->has_token || !sl_addr_eq(&s->token.endpoint, &s->attempt.endpoint);
	_cleanup_(sl_buf_deinit) struct sl_buf value = SL_BUF_INIT(0);
	uint32_t now_s = wall_s();
	struct sl_str text;
	int r;

	if (!is_new && (!p->idle_timeout_ns || s->token.seen_s == now_s))
		return 0;
	if (is_new)
		s->token = (struct sl_endpoint_token){.endpoint = s->attempt.endpoint,
						      .issued_s = now_s};
	s->token.seen_s = now_s;
	r = write_value(s, &value);
	if (r)
		return r;
	if (!p->is_header)
		return set_cookie(s, sl_buf_str(&value), now_s);
	r = sl_arena_str(&s->arena, sl_buf_str(&value), &text);
	return r ? r : sl_headers_set(&s->res.headers, &s->arena, p->name, text);
}
