/* SPDX-License-Identifier: Apache-2.0 */
#include "source/kube_split.h"

#include <errno.h>

/* Deeper than any object of the API; a limit keeps hostile input from what parses the piece. */
enum { MAX_DEPTH = 512 };

void sl_kube_split_init(struct sl_kube_split *s, bool is_list, size_t limit_bytes,
			sl_kube_piece_fn fn, void *arg)
{
	*s = (struct sl_kube_split){
		.is_list = is_list,
		.fn = fn,
		.arg = arg,
		.piece = SL_BUF_INIT(limit_bytes),
	};
}

void sl_kube_split_deinit(struct sl_kube_split *s)
{
	sl_buf_deinit(&s->piece);
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool key_is(const struct sl_kube_split *s, const char *name)
{
	return s->key_len == strlen(name) && memcmp(s->key, name, s->key_len) == 0;
}

/* Whether an opening bracket at the present depth begins a piece. */
static bool begins_piece(struct sl_kube_split *s, char c)
{
	if (c != '{' || s->in_piece)
		return false;
	if (!s->is_list) {
		s->kind = SL_KUBE_PIECE_ITEM;
		return s->depth == 0;
	}
	if (s->depth == 1 && key_is(s, "metadata")) {
		s->kind = SL_KUBE_PIECE_METADATA;
		return true;
	}
	s->kind = SL_KUBE_PIECE_ITEM;
	return s->depth == 2 && key_is(s, "items");
}

static int keep(struct sl_kube_split *s, const char *from, size_t n)
{
	int r;

	if (!s->in_piece || s->skipping || !n)
		return 0;
	r = sl_buf_append(&s->piece, from, n);
	if (r != -ENOBUFS)
		return r;
	s->skipping = true;
	s->n_too_long++;
	return 0;
}

static int end_piece(struct sl_kube_split *s)
{
	int r = 0;

	s->in_piece = false;
	if (!s->skipping)
		r = s->fn(s->arg, s->kind, sl_buf_str(&s->piece));
	s->skipping = false;
	sl_buf_consume(&s->piece, sl_buf_len(&s->piece));
	return r;
}

static int on_open(struct sl_kube_split *s, char c)
{
	if (s->ended || s->depth == MAX_DEPTH)
		return -EBADMSG;
	if (!s->depth && c != '{')
		return -EBADMSG;
	if (begins_piece(s, c)) {
		s->in_piece = true;
		s->base = s->depth;
	}
	s->depth++;
	s->wants_key = s->depth == 1;
	return 0;
}

static int on_close(struct sl_kube_split *s)
{
	if (!s->depth)
		return -EBADMSG;
	s->depth--;
	if (!s->depth && s->is_list)
		s->ended = true;
	return 0;
}

/* One byte outside of strings. *ret_piece: the byte is the last of a piece. */
static int on_byte(struct sl_kube_split *s, char c, bool *ret_piece)
{
	int r = 0;

	switch (c) {
	case '"':
		if (!s->depth)
			return -EBADMSG;
		s->in_string = true;
		if (s->wants_key)
			s->key_len = 0;
		return 0;
	case '{':
	case '[':
		return on_open(s, c);
	case '}':
	case ']':
		r = on_close(s);
		*ret_piece = !r && s->in_piece && s->depth == s->base;
		return r;
	case ':':
		s->wants_key = false;
		return s->depth ? 0 : -EBADMSG;
	case ',':
		s->wants_key = s->depth == 1;
		return s->depth ? 0 : -EBADMSG;
	default:
		return s->depth || is_space(c) ? 0 : -EBADMSG;
	}
}

static void on_string_byte(struct sl_kube_split *s, char c)
{
	if (s->escaped) {
		s->escaped = false;
	} else if (c == '\\') {
		s->escaped = true;
	} else if (c == '"') {
		s->in_string = false;
		return;
	}
	/* A name that is cut short or escaped is none that is looked for. */
	if (s->wants_key && s->depth == 1 && s->key_len < sizeof(s->key))
		s->key[s->key_len++] = c;
}

int sl_kube_split_feed(struct sl_kube_split *s, struct sl_str bytes)
{
	const char *from = bytes.ptr; /* of what is not kept yet */

	for (size_t i = 0; i < bytes.len; i++) {
		const char *at = bytes.ptr + i;
		bool was_in_piece = s->in_piece, ends = false;
		int r;

		if (s->in_string) {
			on_string_byte(s, *at);
			continue;
		}
		r = on_byte(s, *at, &ends);
		if (r)
			return r;
		if (!was_in_piece && s->in_piece)
			from = at;
		if (!ends)
			continue;
		r = keep(s, from, (size_t)(at + 1 - from));
		if (!r)
			r = end_piece(s);
		if (r)
			return r;
		from = at + 1;
	}
	return keep(s, from, (size_t)(bytes.ptr + bytes.len - from));
}

int sl_kube_split_end(const struct sl_kube_split *s)
{
	return s->depth || (s->is_list && !s->ended) ? -EBADMSG : 0;
}
