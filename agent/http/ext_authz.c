/* SPDX-License-Identifier: Apache-2.0 */
#include "http/ext_authz.h"

#include <errno.h>
#include "base/cleanup.h"
#include "base/utf8.h"
#include "http/chars.h"

/* Wire types of protocol buffers. */
enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

enum { GRPC_PREFIX_BYTES = 5 };

/* ---- writing ---- */

static int put_varint(struct sl_buf *b, uint64_t v)
{
	char bytes[10];
	size_t n = 0;

	do {
		bytes[n] = (char)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
		v >>= 7;
		n++;
	} while (v);
	return sl_buf_append(b, bytes, n);
}

static int put_number(struct sl_buf *b, unsigned field, uint64_t v)
{
	int r = put_varint(b, field << 3 | VARINT);

	return r ? r : put_varint(b, v);
}

static int put_bytes(struct sl_buf *b, unsigned field, struct sl_str s)
{
	int r = put_varint(b, field << 3 | BYTES);

	if (!r)
		r = put_varint(b, s.len);
	return r ? r : sl_buf_append_str(b, s);
}

static bool is_utf8(struct sl_str s)
{
	while (s.len) {
		size_t n = sl_utf8_len(s);

		if (!n)
			return false;
		s = sl_str_skip(s, n);
	}
	return true;
}

/* A string must be UTF-8, or the whole message is refused. */
static int put_text(struct sl_buf *b, unsigned field, struct sl_str s)
{
	size_t at;
	int r;

	if (!s.len)
		return 0;
	r = put_bytes(b, field, s);
	if (r || is_utf8(s))
		return r;
	at = sl_buf_len(b) - s.len;
	for (size_t n; s.len; s = sl_str_skip(s, n), at += n) {
		n = sl_utf8_len(s);
		if (!n) {
			sl_buf_ptr(b)[at] = '?';
			n = 1;
		}
	}
	return 0;
}

static int put_message(struct sl_buf *b, unsigned field, const struct sl_buf *message)
{
	return put_bytes(b, field, sl_buf_str(message));
}

/* Peer.address.socket_address */
static int put_peer(struct sl_buf *b, unsigned field, const struct sl_authz_peer *peer)
{
	_cleanup_(sl_buf_deinit) struct sl_buf sock = SL_BUF_INIT(0), addr = SL_BUF_INIT(0),
					       out = SL_BUF_INIT(0);
	int r = put_text(&sock, 2, peer->address);

	if (!r)
		r = put_number(&sock, 3, peer->port);
	if (!r)
		r = put_message(&addr, 1, &sock);
	if (!r)
		r = put_message(&out, 1, &addr);
	return r ? r : put_message(b, field, &out);
}

/* An entry of a map has key and value; keys are in lower case. */
static int put_header(struct sl_buf *b, const struct sl_header *h)
{
	_cleanup_(sl_buf_deinit) struct sl_buf entry = SL_BUF_INIT(0);
	int r = put_text(&entry, 1, h->name);

	for (size_t i = sl_buf_len(&entry) - h->name.len; !r && i < sl_buf_len(&entry); i++) {
		char *c = sl_buf_ptr(&entry) + i;

		if (*c >= 'A' && *c <= 'Z')
			*c |= 0x20;
	}
	if (!r)
		r = put_text(&entry, 2, h->value);
	return r ? r : put_message(b, 3, &entry);
}

static int put_http(struct sl_buf *b, const struct sl_authz_check *c)
{
	int r = put_text(b, 2, c->method);

	for (uint32_t i = 0; i < c->headers.n && !r; i++)
		r = put_header(b, &c->headers.items[i]);
	if (!r)
		r = put_text(b, 4, c->path);
	if (!r)
		r = put_text(b, 5, c->host);
	if (!r)
		r = put_text(b, 6, c->scheme);
	if (!r)
		r = put_number(b, 9, (uint64_t)c->size);
	if (!r)
		r = put_text(b, 10, c->protocol);
	if (r || !c->body.len)
		return r;
	return put_bytes(b, is_utf8(c->body) ? 11 : 12, c->body);
}

static int put_attributes(struct sl_buf *b, const struct sl_authz_check *c)
{
	_cleanup_(sl_buf_deinit) struct sl_buf http = SL_BUF_INIT(0), request = SL_BUF_INIT(0);
	int r = put_peer(b, 1, &c->source);

	if (!r)
		r = put_peer(b, 2, &c->destination);
	if (!r)
		r = put_http(&http, c);
	if (!r)
		r = put_message(&request, 2, &http);
	return r ? r : put_message(b, 4, &request);
}

int sl_authz_write_check(struct sl_buf *out, const struct sl_authz_check *check)
{
	_cleanup_(sl_buf_deinit) struct sl_buf attributes = SL_BUF_INIT(0),
					       message = SL_BUF_INIT(0);
	char prefix[GRPC_PREFIX_BYTES] = {0};
	size_t n;
	int r = put_attributes(&attributes, check);

	if (!r)
		r = put_message(&message, 1, &attributes);
	if (r)
		return r;
	n = sl_buf_len(&message);
	for (unsigned i = 1; i < GRPC_PREFIX_BYTES; i++)
		prefix[i] = (char)(n >> (8 * (GRPC_PREFIX_BYTES - 1 - i)));
	r = sl_buf_append(out, prefix, sizeof(prefix));
	return r ? r : sl_buf_append_str(out, sl_buf_str(&message));
}

/* ---- reading ---- */

struct field {
	unsigned number, type;
	uint64_t value;	     /* VARINT */
	struct sl_str bytes; /* BYTES */
};

static bool take_varint(struct sl_str *s, uint64_t *ret)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64 && s->len; shift += 7) {
		unsigned char c = (unsigned char)*s->ptr;

		*s = sl_str_skip(*s, 1);
		v |= (uint64_t)(c & 0x7f) << shift;
		if (!(c & 0x80)) {
			*ret = v;
			return true;
		}
	}
	return false;
}

/* Returns 1 with a field, 0 at the end, -EINVAL. */
static int next_field(struct sl_str *s, struct field *ret)
{
	uint64_t tag, n = 0;

	if (!s->len)
		return 0;
	if (!take_varint(s, &tag) || tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
		return -EINVAL;
	*ret = (struct field){.number = (unsigned)(tag >> 3), .type = tag & 7};
	switch (ret->type) {
	case VARINT:
		return take_varint(s, &ret->value) ? 1 : -EINVAL;
	case FIXED64:
		n = 8;
		break;
	case FIXED32:
		n = 4;
		break;
	case BYTES:
		if (!take_varint(s, &n))
			return -EINVAL;
		break;
	default:
		return -EINVAL;
	}
	if (n > s->len)
		return -EINVAL;
	ret->bytes = (struct sl_str){s->ptr, n};
	*s = sl_str_skip(*s, n);
	return 1;
}

/* The number in a field of a message; 0 where it is absent. */
static int number_in(struct sl_str message, unsigned number, uint64_t *ret)
{
	struct field f;
	int r;

	*ret = 0;
	while ((r = next_field(&message, &f)) > 0) {
		if (f.number == number && f.type == VARINT)
			*ret = f.value;
	}
	return r;
}

static int read_header(struct sl_str message, struct sl_header *ret)
{
	struct field f;
	int r;

	*ret = (struct sl_header){SL_STR(""), SL_STR("")};
	while ((r = next_field(&message, &f)) > 0) {
		if (f.type != BYTES)
			continue;
		if (f.number == 1)
			ret->name = f.bytes;
		else if ((f.number == 2 && !ret->value.len) || f.number == 3)
			ret->value = f.bytes; /* raw_value counts for more */
	}
	if (r)
		return r;
	ret->value = sl_str_trim(ret->value);
	if (!ret->name.len || !sl_chars_all(ret->name, SL_CHAR_TOKEN) ||
	    !sl_chars_value(ret->value))
		return -EINVAL;
	return 0;
}

static int edit_append(struct sl_arena *a, const struct sl_authz_edit *from,
		       struct sl_authz_edits *to)
{
	struct sl_authz_edit *e = sl_arena_new(a, struct sl_authz_edit);

	if (!e)
		return -ENOMEM;
	*e = *from;
	if (to->last)
		to->last->next = e;
	else
		to->first = e;
	to->last = e;
	return 0;
}

/* HeaderValueOption. usual: where it says nothing, which cannot be told from ADD. */
static int read_option(struct sl_arena *a, struct sl_str message, enum sl_authz_action usual,
		       struct sl_authz_edits *to)
{
	struct sl_header h = {SL_STR_NULL, SL_STR_NULL};
	struct sl_authz_edit edit = {.action = usual};
	bool has_append = false;
	uint64_t append = 0, action = SL_AUTHZ_ADD;
	struct field f;
	int r;

	while ((r = next_field(&message, &f)) > 0) {
		int err = 0;

		if (f.number == 1 && f.type == BYTES) {
			err = read_header(f.bytes, &h);
		} else if (f.number == 2 && f.type == BYTES) {
			has_append = true;
			err = number_in(f.bytes, 1, &append);
		} else if (f.number == 3 && f.type == VARINT) {
			action = f.value;
		}
		if (err)
			return err;
	}
	if (r || !h.name.len)
		return r;
	if (action > SL_AUTHZ_SET_IF_PRESENT)
		return -EINVAL;
	if (has_append) /* the older field counts for more, as with Envoy */
		edit.action = append ? SL_AUTHZ_ADD : SL_AUTHZ_SET;
	else if (action)
		edit.action = (enum sl_authz_action)action;
	edit.name = h.name;
	edit.value = h.value;
	return edit_append(a, &edit, to);
}

/* QueryParameter */
static int read_parameter(struct sl_arena *a, struct sl_str message, struct sl_headers *to)
{
	struct sl_str key = SL_STR(""), value = SL_STR("");
	struct field f;
	int r;

	while ((r = next_field(&message, &f)) > 0) {
		if (f.type == BYTES && f.number == 1)
			key = f.bytes;
		else if (f.type == BYTES && f.number == 2)
			value = f.bytes;
	}
	if (r)
		return r;
	return key.len ? sl_headers_append(to, a, key, value) : -EINVAL;
}

static int read_denied(struct sl_arena *a, struct sl_str message, struct sl_authz_verdict *v)
{
	uint64_t status = 0;
	struct field f;
	int r;

	while ((r = next_field(&message, &f)) > 0) {
		int err = 0;

		if (f.type != BYTES)
			continue;
		if (f.number == 1)
			err = number_in(f.bytes, 1, &status);
		else if (f.number == 2)
			err = read_option(a, f.bytes, SL_AUTHZ_SET, &v->edits);
		else if (f.number == 3)
			v->body = f.bytes;
		if (err)
			return err;
	}
	if (r)
		return r;
	if (status && (status < 200 || status > 599))
		return -EINVAL;
	if (status)
		v->status = (uint16_t)status;
	return 0;
}

static int read_ok(struct sl_arena *a, struct sl_str message, struct sl_authz_verdict *v)
{
	struct field f;
	int r;

	while ((r = next_field(&message, &f)) > 0) {
		int err = 0;

		if (f.type != BYTES)
			continue;
		if (f.number == 2)
			err = read_option(a, f.bytes, SL_AUTHZ_SET, &v->edits);
		else if (f.number == 5)
			err = sl_headers_append(&v->removed, a, f.bytes, SL_STR(""));
		else if (f.number == 6)
			err = read_option(a, f.bytes, SL_AUTHZ_ADD, &v->of_answer);
		else if (f.number == 7)
			err = read_parameter(a, f.bytes, &v->query_set);
		else if (f.number == 8)
			err = sl_headers_append(&v->query_removed, a, f.bytes, SL_STR(""));
		if (err)
			return err;
	}
	return r;
}

static int unframe(struct sl_str *message)
{
	uint64_t n = 0;

	if (message->len < GRPC_PREFIX_BYTES || message->ptr[0])
		return -EINVAL;
	for (unsigned i = 1; i < GRPC_PREFIX_BYTES; i++)
		n = n << 8 | (unsigned char)message->ptr[i];
	*message = sl_str_skip(*message, GRPC_PREFIX_BYTES);
	return n == message->len ? 0 : -EINVAL;
}

int sl_authz_read_verdict(struct sl_arena *a, struct sl_str message, struct sl_authz_verdict *ret)
{
	struct sl_authz_verdict v = {.status = 403};
	struct sl_str denied = SL_STR_NULL, ok = SL_STR_NULL;
	uint64_t code = 0;
	struct field f;
	int r = unframe(&message);

	if (r)
		return r;
	while ((r = next_field(&message, &f)) > 0) {
		int err = 0;

		if (f.type != BYTES)
			continue;
		if (f.number == 1)
			err = number_in(f.bytes, 1, &code);
		else if (f.number == 2)
			denied = f.bytes;
		else if (f.number == 3)
			ok = f.bytes;
		if (err)
			return err;
	}
	if (r)
		return r;
	v.allowed = !code;
	r = v.allowed ? read_ok(a, ok, &v) : read_denied(a, denied, &v);
	if (!r)
		*ret = v;
	return r;
}
