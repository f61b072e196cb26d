/* SPDX-License-Identifier: Apache-2.0 */
#include "core/handover_wire.h"

#include <errno.h>

/* One field of a struct that travels. Tags are for ever, each within its type of frame. */
enum form { U16, U32, U64, BOOL, TEXT, ADDR };

struct field {
	uint16_t tag;
	uint8_t form;
	uint16_t offset;
};

#define FIELD(tag, form, type, member)                \
	{                                             \
		(tag), (form), offsetof(type, member) \
	}
#define N_OF(table) (sizeof(table) / sizeof(*(table)))

enum { FIELD_HEADER_BYTES = 6, ADDR_BYTES = 18 };

static const struct field hello_fields[] = {
	FIELD(1, U32, struct sl_wire_hello, version),
	FIELD(2, U32, struct sl_wire_hello, min_version),
	FIELD(3, U32, struct sl_wire_hello, abi),
	FIELD(4, U64, struct sl_wire_hello, pins_dev),
	FIELD(5, U64, struct sl_wire_hello, pins_ino),
	FIELD(6, TEXT, struct sl_wire_hello, software),
};

static const struct field text_fields[] = {
	FIELD(1, TEXT, struct sl_wire_text, text),
};

static const struct field source_fields[] = {
	FIELD(1, U64, struct sl_wire_source, cookie), FIELD(2, U16, struct sl_wire_source, port4),
	FIELD(3, U16, struct sl_wire_source, port6),  FIELD(4, U16, struct sl_wire_source, n_addr4),
	FIELD(5, TEXT, struct sl_wire_source, name),
};

static const struct field socket_fields[] = {
	FIELD(1, U16, struct sl_wire_socket, kind),
	FIELD(2, TEXT, struct sl_wire_socket, path),
	FIELD(3, ADDR, struct sl_wire_socket, addr),
};

static const struct field id_fields[] = {
	FIELD(1, U64, struct sl_wire_id, id),
};

static const struct field accepted_fields[] = {
	FIELD(1, U64, struct sl_wire_accepted, source),
	FIELD(2, ADDR, struct sl_wire_accepted, peer),
};

static const struct field handed_fields[] = {
	FIELD(1, U32, struct sl_handed, kind),
	FIELD(2, U64, struct sl_handed, id),
	FIELD(3, U64, struct sl_handed, source),
	FIELD(4, ADDR, struct sl_handed, peer),
	FIELD(5, ADDR, struct sl_handed, original),
	FIELD(6, U64, struct sl_handed, cgroup_id),
	FIELD(7, U64, struct sl_handed, accepted_ns),
	FIELD(8, U64, struct sl_handed, deadline_ns),
	FIELD(9, U32, struct sl_handed, n_requests),
	FIELD(10, BOOL, struct sl_handed, head_begun),
	FIELD(11, ADDR, struct sl_handed, endpoint),
	FIELD(12, U64, struct sl_handed, tunnel_up_bytes),
	FIELD(13, U64, struct sl_handed, tunnel_down_bytes),
	FIELD(14, BOOL, struct sl_handed, served),
	FIELD(20, TEXT, struct sl_handed, down.in),
	FIELD(21, TEXT, struct sl_handed, down.out),
	FIELD(22, U64, struct sl_handed, down.n_received),
	FIELD(23, U64, struct sl_handed, down.n_sent),
	FIELD(24, BOOL, struct sl_handed, down.eof),
	FIELD(25, BOOL, struct sl_handed, down.shut),
	FIELD(30, TEXT, struct sl_handed, up.in),
	FIELD(31, TEXT, struct sl_handed, up.out),
	FIELD(32, U64, struct sl_handed, up.n_received),
	FIELD(33, U64, struct sl_handed, up.n_sent),
	FIELD(34, BOOL, struct sl_handed, up.eof),
	FIELD(35, BOOL, struct sl_handed, up.shut),
	FIELD(40, U16, struct sl_handed, request.version),
	FIELD(41, U16, struct sl_handed, request.status),
	FIELD(42, U32, struct sl_handed, request.n_tries),
	FIELD(43, U64, struct sl_handed, request.started_ns),
	FIELD(44, U64, struct sl_handed, request.first_byte_ns),
	FIELD(45, U64, struct sl_handed, request.req_bytes),
	FIELD(46, U64, struct sl_handed, request.res_bytes),
	FIELD(47, ADDR, struct sl_handed, request.endpoint),
	FIELD(48, TEXT, struct sl_handed, request.method),
	FIELD(49, TEXT, struct sl_handed, request.authority),
	FIELD(50, TEXT, struct sl_handed, request.path),
	FIELD(51, TEXT, struct sl_handed, request.user_agent),
	FIELD(52, TEXT, struct sl_handed, request.route),
	FIELD(53, TEXT, struct sl_handed, request.rule),
	FIELD(54, TEXT, struct sl_handed, request.backend),
};
_Static_assert(sizeof(enum sl_handed_kind) == sizeof(uint32_t), "wire: kind travels as U32");

/* ---- writing ---- */

static void put(struct sl_wire_out *o, const void *p, size_t n)
{
	if (!o->error && n && sl_buf_append(&o->buf, p, n))
		o->error = -ENOMEM;
}

static void store(uint8_t *to, uint64_t v, unsigned n_bytes)
{
	for (unsigned i = 0; i < n_bytes; i++)
		to[i] = (uint8_t)(v >> (8 * i));
}

static void put_field(struct sl_wire_out *o, uint16_t tag, const void *value, size_t n)
{
	uint8_t header[FIELD_HEADER_BYTES];

	store(header, tag, 2);
	store(header + 2, n, 4);
	put(o, header, sizeof(header));
	put(o, value, n);
}

static void put_number(struct sl_wire_out *o, uint16_t tag, uint64_t v, unsigned n_bytes)
{
	uint8_t bytes[8];

	if (!v)
		return; /* as good as missing */
	store(bytes, v, n_bytes);
	put_field(o, tag, bytes, n_bytes);
}

static void put_addr(struct sl_wire_out *o, uint16_t tag, const struct sl_addr *a)
{
	uint8_t bytes[ADDR_BYTES];

	memcpy(bytes, a->ip, sizeof(a->ip));
	store(bytes + sizeof(a->ip), a->port, 2);
	put_field(o, tag, bytes, sizeof(bytes));
}

static void put_member(struct sl_wire_out *o, const struct field *f, const void *from)
{
	const void *p = (const char *)from + f->offset;
	const struct sl_str *text;

	switch ((enum form)f->form) {
	case U16:
		put_number(o, f->tag, *(const uint16_t *)p, 2);
		break;
	case U32:
		put_number(o, f->tag, *(const uint32_t *)p, 4);
		break;
	case U64:
		put_number(o, f->tag, *(const uint64_t *)p, 8);
		break;
	case BOOL:
		put_number(o, f->tag, *(const bool *)p, 1);
		break;
	case TEXT:
		text = p;
		if (text->len)
			put_field(o, f->tag, text->ptr, text->len);
		break;
	case ADDR:
		put_addr(o, f->tag, p);
		break;
	}
}

static void put_frame(struct sl_wire_out *o, enum sl_wire_type type, unsigned n_fds,
		      const struct field *fields, size_t n, const void *from)
{
	uint8_t header[SL_WIRE_HEADER_BYTES] = {0};
	size_t start = sl_buf_len(&o->buf);

	store(header + 4, type, 2);
	store(header + 6, n_fds, 2);
	put(o, header, sizeof(header));
	for (size_t i = 0; i < n; i++)
		put_member(o, &fields[i], from);
	if (!o->error)
		store((uint8_t *)sl_buf_ptr(&o->buf) + start,
		      sl_buf_len(&o->buf) - start - sizeof(header), 4);
}

void sl_wire_put_hello(struct sl_wire_out *o, const struct sl_wire_hello *m)
{
	put_frame(o, SL_WIRE_HELLO, 0, hello_fields, N_OF(hello_fields), m);
}

void sl_wire_put_text(struct sl_wire_out *o, enum sl_wire_type type, const char *text)
{
	struct sl_wire_text m = {sl_str_from(text)};

	put_frame(o, type, 0, text_fields, N_OF(text_fields), &m);
}

void sl_wire_put_source(struct sl_wire_out *o, const struct sl_wire_source *m, unsigned n_fds)
{
	put_frame(o, SL_WIRE_SOURCE, n_fds, source_fields, N_OF(source_fields), m);
}

void sl_wire_put_socket(struct sl_wire_out *o, const struct sl_wire_socket *m)
{
	put_frame(o, SL_WIRE_SOCKET, 1, socket_fields, N_OF(socket_fields), m);
}

void sl_wire_put_id(struct sl_wire_out *o, const struct sl_wire_id *m)
{
	put_frame(o, SL_WIRE_HAS, 0, id_fields, N_OF(id_fields), m);
}

void sl_wire_put_accepted(struct sl_wire_out *o, const struct sl_wire_accepted *m)
{
	put_frame(o, SL_WIRE_ACCEPTED, 1, accepted_fields, N_OF(accepted_fields), m);
}

unsigned sl_wire_handed_fds(const struct sl_handed *m, int ret[2])
{
	unsigned n = 0;

	if (m->kind != SL_HANDED_POOLED)
		ret[n++] = m->down.fd;
	if (m->kind == SL_HANDED_POOLED || m->kind == SL_HANDED_TUNNEL)
		ret[n++] = m->up.fd;
	return n;
}

void sl_wire_put_handed(struct sl_wire_out *o, const struct sl_handed *m)
{
	int fds[2];

	put_frame(o, SL_WIRE_HANDED, sl_wire_handed_fds(m, fds), handed_fields, N_OF(handed_fields),
		  m);
}

void sl_wire_put_bare(struct sl_wire_out *o, enum sl_wire_type type, unsigned n_fds)
{
	put_frame(o, type, n_fds, NULL, 0, NULL);
}

/* ---- reading ---- */

static uint64_t load(const char *from, size_t n_bytes)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n_bytes; i++)
		v |= (uint64_t)(uint8_t)from[i] << (8 * i);
	return v;
}

ssize_t sl_wire_parse(struct sl_str bytes, struct sl_wire_frame *ret)
{
	size_t n;

	if (bytes.len < SL_WIRE_HEADER_BYTES)
		return 0;
	n = load(bytes.ptr, 4);
	ret->type = (uint16_t)load(bytes.ptr + 4, 2);
	ret->n_fds = (uint16_t)load(bytes.ptr + 6, 2);
	if (n > SL_WIRE_MAX_BYTES || ret->n_fds > SL_WIRE_MAX_FDS)
		return -EBADMSG;
	if (bytes.len < SL_WIRE_HEADER_BYTES + n)
		return 0;
	ret->body = (struct sl_str){bytes.ptr + SL_WIRE_HEADER_BYTES, n};
	return (ssize_t)(SL_WIRE_HEADER_BYTES + n);
}

/* A number may come wider or narrower than we have it, as long as its value fits. */
static int get_number(struct sl_str value, uint64_t max, uint64_t *ret)
{
	uint64_t v;

	if (value.len > sizeof(v))
		return -EBADMSG;
	v = load(value.ptr, value.len);
	if (v > max)
		return -EBADMSG;
	*ret = v;
	return 0;
}

static int get_member(const struct field *f, struct sl_str value, void *to)
{
	void *p = (char *)to + f->offset;
	struct sl_addr *addr;
	uint64_t v = 0;
	int r = 0;

	switch ((enum form)f->form) {
	case U16:
		r = get_number(value, UINT16_MAX, &v);
		*(uint16_t *)p = (uint16_t)v;
		break;
	case U32:
		r = get_number(value, UINT32_MAX, &v);
		*(uint32_t *)p = (uint32_t)v;
		break;
	case U64:
		r = get_number(value, UINT64_MAX, &v);
		*(uint64_t *)p = v;
		break;
	case BOOL:
		r = get_number(value, 1, &v);
		*(bool *)p = v;
		break;
	case TEXT:
		*(struct sl_str *)p = value;
		break;
	case ADDR:
		if (value.len != ADDR_BYTES)
			return -EBADMSG;
		addr = p;
		memcpy(addr->ip, value.ptr, sizeof(addr->ip));
		addr->port = (uint16_t)load(value.ptr + sizeof(addr->ip), 2);
		break;
	}
	return r;
}

static int get_frame(const struct sl_wire_frame *f, const struct field *fields, size_t n, void *to)
{
	struct sl_str left = f->body;

	while (left.len) {
		uint16_t tag;
		size_t len;
		int r = 0;

		if (left.len < FIELD_HEADER_BYTES)
			return -EBADMSG;
		tag = (uint16_t)load(left.ptr, 2);
		len = load(left.ptr + 2, 4);
		left = sl_str_skip(left, FIELD_HEADER_BYTES);
		if (len > left.len)
			return -EBADMSG;
		for (size_t i = 0; i < n && !r; i++) {
			if (fields[i].tag == tag)
				r = get_member(&fields[i], (struct sl_str){left.ptr, len}, to);
		}
		if (r)
			return r;
		left = sl_str_skip(left, len);
	}
	return 0;
}

int sl_wire_get_hello(const struct sl_wire_frame *f, struct sl_wire_hello *ret)
{
	*ret = (struct sl_wire_hello){0};
	return get_frame(f, hello_fields, N_OF(hello_fields), ret);
}

int sl_wire_get_text(const struct sl_wire_frame *f, struct sl_wire_text *ret)
{
	*ret = (struct sl_wire_text){0};
	return get_frame(f, text_fields, N_OF(text_fields), ret);
}

int sl_wire_get_source(const struct sl_wire_frame *f, struct sl_wire_source *ret)
{
	*ret = (struct sl_wire_source){0};
	return get_frame(f, source_fields, N_OF(source_fields), ret);
}

int sl_wire_get_socket(const struct sl_wire_frame *f, struct sl_wire_socket *ret)
{
	*ret = (struct sl_wire_socket){0};
	return get_frame(f, socket_fields, N_OF(socket_fields), ret);
}

int sl_wire_get_id(const struct sl_wire_frame *f, struct sl_wire_id *ret)
{
	*ret = (struct sl_wire_id){0};
	return get_frame(f, id_fields, N_OF(id_fields), ret);
}

int sl_wire_get_accepted(const struct sl_wire_frame *f, struct sl_wire_accepted *ret)
{
	*ret = (struct sl_wire_accepted){0};
	return f->n_fds == 1 ? get_frame(f, accepted_fields, N_OF(accepted_fields), ret) : -EBADMSG;
}

int sl_wire_get_handed(const struct sl_wire_frame *f, const int *fds, struct sl_handed *ret)
{
	struct sl_handed h = {.down.fd = -1, .up.fd = -1};
	int none[2], r = get_frame(f, handed_fields, N_OF(handed_fields), &h);
	unsigned n = 0;

	if (r)
		return r;
	if (h.kind < SL_HANDED_DETECT || h.kind >= SL_HANDED_KIND_MAX ||
	    f->n_fds != sl_wire_handed_fds(&h, none))
		return -EBADMSG;
	if (h.kind != SL_HANDED_POOLED)
		h.down.fd = fds[n++];
	if (n < f->n_fds)
		h.up.fd = fds[n];
	*ret = h;
	return 0;
}
