/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "conns": each worker writes its connections as lines of JSON, a few a round so that nobody waits
 * for it, and sends them back; the control thread puts the lines of all together.
 */
#include <errno.h>
#include <inttypes.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/utf8.h"
#include "core/views.h"

enum {
	DEFAULT_LIMIT = 1000,
	CONNS_PER_ROUND = 64, /* some 200 us of a worker's time */
	MAX_TEXT_BYTES = 64 << 20,
};

#define PATIENCE_NS (2 * SL_NS_PER_S)

/* One worker's share. The worker's from its mail until it is sent back. */
struct part {
	struct sl_mail mail;
	struct sl_conn_dump *dump;
	struct sl_worker *worker;
	unsigned index;
	struct sl_proxy_cursor cursor;
	struct sl_buf lines;
	uint64_t n;
	bool cut;
	int error;
	bool is_back; /* the control thread's: it may be read */
};

struct sl_conn_dump {
	struct sl_conn_dump *next;
	struct sl_control *control;
	struct sl_admin_later *later; /* NULL: answered */
	struct sl_timer patience;
	uint64_t limit, total;
	char *source; /* whose, "ns/pod" or "ns"; NULL: everybody's */
	uint32_t n_pending, n_parts;
	struct part parts[];
};

/* ---- in the worker: a line of JSON ---- */

static int put_escaped(struct sl_buf *b, struct sl_str s)
{
	int r = sl_buf_append(b, "\"", 1);

	while (s.len && !r) {
		size_t n = sl_utf8_len(s);
		unsigned char c = (unsigned char)*s.ptr;

		if (!n)
			r = sl_buf_append_str(b, SL_STR(SL_UTF8_REPLACEMENT));
		else if (c == '"' || c == '\\')
			r = sl_buf_printf(b, "\\%c", c);
		else if (c < 0x20)
			r = sl_buf_printf(b, "\\u%04x", c);
		else
			r = sl_buf_append(b, s.ptr, n);
		s = sl_str_skip(s, n ? n : 1);
	}
	return r ? r : sl_buf_append(b, "\"", 1);
}

static int put_text(struct sl_buf *b, const char *key, struct sl_str s)
{
	int r;

	if (!s.len)
		return 0;
	r = sl_buf_printf(b, ",\"%s\":", key);
	return r ? r : put_escaped(b, s);
}

static int put_addr(struct sl_buf *b, const char *key, const struct sl_addr *a)
{
	char text[SL_ADDR_TEXT];

	return a ? sl_buf_printf(b, ",\"%s\":\"%s\"", key, sl_addr_format(a, text)) : 0;
}

static int put_pod(struct sl_buf *b, const struct sl_proxy_conn *c)
{
	/* Names of Kubernetes need no escapes. */
	return c->pod.len ? sl_buf_printf(b, ",\"pod\":\"%.*s/%.*s\"", SL_STR_ARG(c->pod_namespace),
					  SL_STR_ARG(c->pod))
			  : 0;
}

static uint64_t to_ms(uint64_t ns)
{
	return ns / SL_NS_PER_MS;
}

static int put_request(struct sl_buf *b, const struct sl_proxy_conn *c)
{
	int r = put_text(b, "method", c->method);

	if (!r)
		r = put_text(b, "authority", c->authority);
	if (!r)
		r = put_text(b, "path", c->path);
	if (!r)
		r = put_text(b, "route", c->route);
	if (!r)
		r = put_text(b, "rule", c->rule);
	if (!r && c->method.len)
		r = sl_buf_printf(b, ",\"request_age_ms\":%" PRIu64, to_ms(c->request_age_ns));
	return r ? r : put_addr(b, "endpoint", c->endpoint);
}

static int put_splice(struct sl_buf *b, const struct sl_proxy_conn *c)
{
	int r = put_text(b, "splice", sl_str_from(c->splice));

	if (!r)
		r = put_text(b, "splice_why", sl_str_from(c->splice_why));
	if (!r)
		r = put_text(b, "endpoint_splice", sl_str_from(c->endpoint_splice));
	return r ? r : put_text(b, "endpoint_splice_why", sl_str_from(c->endpoint_splice_why));
}

static int put_line(struct sl_buf *b, unsigned worker, const struct sl_proxy_conn *c)
{
	int r = sl_buf_printf(b, "{\"id\":\"%" PRIx64 "-%" PRIx64 "-%u\",\"worker\":%u", c->source,
			      c->opened_ns, c->client->port, worker);

	if (!r)
		r = put_addr(b, "client", c->client);
	if (!r)
		r = put_pod(b, c);
	if (!r)
		r = put_text(b, "service", c->service);
	if (!r)
		r = put_addr(b, "original", c->original);
	if (!r)
		r = sl_buf_printf(b,
				  ",\"state\":\"%s\",\"protocol\":\"%s\",\"age_ms\":%" PRIu64
				  ",\"requests\":%" PRIu32 ",\"received\":%" PRIu64
				  ",\"sent\":%" PRIu64,
				  c->state, c->protocol, to_ms(c->age_ns), c->n_requests,
				  c->n_received, c->n_sent);
	if (!r)
		r = put_splice(b, c);
	if (!r)
		r = put_request(b, c);
	return r ? r : sl_buf_append(b, "}\n", 2);
}

static bool is_wanted(const char *source, const struct sl_proxy_conn *c)
{
	struct sl_str want = sl_str_from(source);

	if (!source)
		return true;
	if (!sl_str_starts(want, c->pod_namespace) || !c->pod_namespace.len)
		return false;
	want = sl_str_skip(want, c->pod_namespace.len);
	return !want.len || (want.ptr[0] == '/' && sl_str_eq(sl_str_skip(want, 1), c->pod));
}

static void add_conn(void *arg, const struct sl_proxy_conn *c)
{
	struct part *p = arg;

	if (p->error || !is_wanted(p->dump->source, c))
		return;
	if (p->dump->limit && p->n == p->dump->limit) {
		p->cut = true;
		return;
	}
	p->error = put_line(&p->lines, p->index, c);
	p->n++;
}

static void on_collected(struct sl_mail *m);

static void on_collect(struct sl_mail *m)
{
	struct part *p = sl_container_of(m, struct part, mail);
	bool more = sl_proxy_each_conn(sl_worker_proxy(p->worker), &p->cursor, CONNS_PER_ROUND,
				       add_conn, p);

	if (more && !p->error && !p->cut) {
		sl_worker_post(p->worker, m);
		return;
	}
	m->fn = on_collected;
	sl_mailbox_post(p->dump->control->mailbox, m);
}

/* ---- in the control thread ---- */

static void dump_free(struct sl_conn_dump *d)
{
	struct sl_conn_dump **at = &d->control->dumps;

	while (*at && *at != d)
		at = &(*at)->next;
	if (*at)
		*at = d->next;
	for (uint32_t i = 0; i < d->n_parts; i++)
		sl_buf_deinit(&d->parts[i].lines);
	sl_timer_cancel(&d->patience);
	free(d->source);
	free(d);
}

/* Lines up to the limit, with commas between them. */
static int join_part(const struct part *p, uint64_t limit, uint64_t *n, struct sl_buf *out)
{
	struct sl_str rest = sl_buf_str(&p->lines);
	int r = p->error;

	while (rest.len && !r && !(limit && *n == limit)) {
		size_t len = (size_t)((char *)memchr(rest.ptr, '\n', rest.len) - rest.ptr);

		r = sl_buf_append(out, ",", *n ? 1 : 0);
		if (!r)
			r = sl_buf_append(out, rest.ptr, len);
		rest = sl_str_skip(rest, len + 1);
		++*n;
	}
	return r;
}

static int join(const struct sl_conn_dump *d, struct sl_buf *out)
{
	uint64_t n = 0, n_found = 0;
	uint32_t n_missing = 0;
	bool cut = false;
	int r = sl_buf_append_str(out, SL_STR("{\"connections\":["));

	for (uint32_t i = 0; i < d->n_parts && !r; i++) {
		const struct part *p = &d->parts[i];

		if (!p->is_back) {
			n_missing++;
			continue;
		}
		n_found += p->n;
		cut |= p->cut;
		r = join_part(p, d->limit, &n, out);
	}
	if (r)
		return r;
	return sl_buf_printf(
		out, "],\"total\":%" PRIu64 ",\"left_out\":%s,\"workers_missing\":%" PRIu32 "}",
		d->total, cut || n < n_found ? "true" : "false", n_missing);
}

static void answer(struct sl_conn_dump *d)
{
	struct sl_buf out = SL_BUF_INIT(0);
	struct sl_admin_later *later = sl_take(d->later);

	sl_timer_cancel(&d->patience);
	if (!join(d, &out)) {
		sl_admin_answer(later, &out);
		return;
	}
	sl_buf_deinit(&out);
	sl_admin_answer_error(later, "the list of connections does not fit into memory");
}

static void on_patience(struct sl_timer *t)
{
	answer(sl_container_of(t, struct sl_conn_dump, patience));
}

static void on_collected(struct sl_mail *m)
{
	struct part *p = sl_container_of(m, struct part, mail);
	struct sl_conn_dump *d = p->dump;

	p->is_back = true;
	if (--d->n_pending)
		return;
	if (d->later)
		answer(d);
	dump_free(d);
}

static int dump_new(struct sl_control *c, const json_t *request, struct sl_conn_dump **ret)
{
	const char *source = json_string_value(json_object_get(request, "source"));
	const json_t *limit = json_object_get(request, "limit");
	struct sl_conn_dump *d = sl_calloc(1, sizeof(*d) + c->n_workers * sizeof(*d->parts));

	if (!d)
		return -ENOMEM;
	d->control = c;
	d->patience = SL_TIMER_INIT(on_patience);
	d->limit = json_is_integer(limit) && json_integer_value(limit) >= 0
			   ? (uint64_t)json_integer_value(limit)
			   : DEFAULT_LIMIT;
	d->n_parts = d->n_pending = c->n_workers;
	if (source)
		d->source = sl_strdup(source);
	if (source && !d->source) {
		dump_free(d);
		return -ENOMEM;
	}
	*ret = d;
	return 0;
}

int sl_view_conns(void *control, const json_t *request, json_t **ret)
{
	struct sl_control *c = control;
	struct sl_conn_dump *d = NULL;
	int r;

	if (!c->n_workers) {
		*ret = json_string("there are no workers yet");
		return *ret ? SL_ADMIN_REFUSED : -ENOMEM;
	}
	r = dump_new(c, request, &d);
	if (r)
		return r;
	r = sl_admin_defer(c->admin, &d->later, ret);
	if (r) {
		dump_free(d);
		return r;
	}
	d->next = c->dumps;
	c->dumps = d;
	sl_timer_arm(c->loop, &d->patience, sl_loop_now(c->loop) + PATIENCE_NS);
	for (uint32_t i = 0; i < d->n_parts; i++) {
		struct part *p = &d->parts[i];

		*p = (struct part){.mail = {.fn = on_collect},
				   .dump = d,
				   .worker = c->workers[i],
				   .index = i,
				   .lines = SL_BUF_INIT(MAX_TEXT_BYTES)};
		d->total += sl_worker_n_conns(c->workers[i]);
	}
	for (uint32_t i = 0; i < d->n_parts; i++)
		sl_worker_post(d->parts[i].worker, &d->parts[i].mail);
	return SL_ADMIN_LATER;
}

void sl_conn_dumps_free(struct sl_control *c)
{
	while (c->dumps) {
		if (c->dumps->later)
			sl_admin_answer_error(sl_take(c->dumps->later), "the agent stops");
		dump_free(c->dumps);
	}
}
