/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLSRoute: the server's name in the first message of the client says where the connection goes. It
 * goes there as it came: the agent has no part in it.
 */
#include "proxy/state.h"
#include "tls/client_hello.h"

enum { RECORD_HEAD_BYTES = 5 };

static enum sl_detected decline(struct sl_conn *c, unsigned char alert, enum sl_end_reason reason)
{
	char record[SL_ALERT_BYTES];

	sl_alert_write(alert, record);
	if (sl_buf_append(&c->sock.out, record, sizeof(record)))
		sl_conn_kill(c, SL_END_INTERNAL);
	else
		sl_tunnel_decline(c, reason);
	return SL_DETECT_DONE;
}

static enum sl_detected route(struct sl_conn *c, struct sl_str name)
{
	const struct sl_rule *rule = name.len ? sl_route_table_match_name(c->table, name) : NULL;

	if (!rule)
		return decline(c, SL_ALERT_UNRECOGNIZED_NAME,
			       c->table->fallback_status == 404 ? SL_END_NO_ROUTE
								: SL_END_NO_BACKEND);
	sl_detect_learn(c, c->frontend);
	/* Dialled in case the server speaks first, and at the Service itself. */
	sl_upconn_close(sl_take(c->up), false);
	sl_tunnel_route(c, rule);
	return SL_DETECT_DONE;
}

static enum sl_detected give_up(struct sl_conn *c, enum sl_end_reason reason)
{
	sl_tunnel_refuse(c, reason);
	return SL_DETECT_DONE;
}

/* Not all of it is there. What began is TLS: it may not become anything else. */
static enum sl_detected wait(struct sl_conn *c, size_t need)
{
	bool begun = sl_buf_len(&c->sock.in);

	/* Before a record's head is there, each byte may tell that it is none. */
	c->hello_need = need > RECORD_HEAD_BYTES ? need : 0;
	if (c->sock.eof)
		return begun ? give_up(c, SL_END_CLIENT_CLOSED) : SL_DETECT_OTHER;
	if (c->timed_out && begun)
		return give_up(c, SL_END_CLIENT_TIMEOUT);
	if (c->timed_out) {
		sl_conn_finish(c);
		return SL_DETECT_DONE;
	}
	if (!begun)
		return SL_DETECT_MORE;
	sl_upconn_close(sl_take(c->up), false);
	if (!c->head_begun) {
		c->head_begun = true;
		sl_timer_arm(c->proxy->loop, &c->timer,
			     sl_loop_now(c->proxy->loop) + c->proxy->opts.header_timeout_ns);
	}
	return SL_DETECT_WAIT;
}

enum sl_detected sl_detect_tls(struct sl_conn *c)
{
	const struct sl_buf *in = &c->sock.in;
	struct sl_client_hello hello;

	/* Each byte of it is not looked at again with each byte that comes. */
	if (sl_buf_len(in) < c->hello_need)
		return wait(c, c->hello_need);
	switch (sl_client_hello_parse(sl_buf_ptr(in), sl_buf_len(in), &hello)) {
	case SL_CLIENT_HELLO_DONE:
		return route(c, hello.name);
	case SL_CLIENT_HELLO_BAD:
		return decline(c, SL_ALERT_DECODE_ERROR, SL_END_CLIENT_INVALID);
	case SL_CLIENT_HELLO_NOT_TLS:
		return SL_DETECT_OTHER;
	case SL_CLIENT_HELLO_MORE:
		break;
	}
	return wait(c, hello.need);
}
