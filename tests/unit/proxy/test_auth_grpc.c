/* SPDX-License-Identifier: Apache-2.0 */
/* Authorizations over gRPC. What the messages hold is tests/unit/http/test_ext_authz.c's business.
 */
#include "h2_side.h"

#define RULE                                                                       \
	"  - filters:\n    - {type: ExternalAuth, externalAuth: {protocol: GRPC, " \
	"forwardBody: {maxSize: 8}, backendRef: {name: cart, port: 80}}}\n"        \
	"    backendRefs: [{name: v1, port: 80}]\n"
#define POST "POST /a?b HTTP/1.1\r\nHost: shop\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nhi"
#define OK   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

static struct rig r;
static struct rig_peer client, server;
static struct h2_side guard;
static struct h2_side *const sides[] = {&guard, NULL};

static void set_up(void)
{
	client = server = RIG_PEER_INIT;
	guard = H2_SIDE_INIT;
	rig_init(&r);
}

static void tear_down(void)
{
	rig_close(&client);
	rig_close(&server);
	h2_side_deinit(&guard);
	rig_stop(&r);
}

TestSuite(auth_grpc, .init = set_up, .fini = tear_down);

/* The call that a request leads to. */
static struct h2_call *begin(void)
{
	struct h2_call *c = &guard.calls[0];

	(void)rig_add_backend(&r, "cart", false);
	rig_start(&r);
	rig_configure(&r, RULE);
	rig_connect(&r, &client);
	rig_send(&r, &client, POST);
	h2_side_accept(&r, &r.backends[1], &guard);
	h2_until(&r, sides, guard.n_calls && c->h2.ended_in);
	return c;
}

static void answer(struct h2_call *c, struct sl_str message, const char *status)
{
	struct sl_response res = {.status = 200, .body = SL_BODY_CHUNKED};
	struct sl_headers trailers = {0};

	cr_assert_eq(
		sl_headers_append(&trailers, &c->arena, SL_STR("grpc-status"), sl_str_from(status)),
		0);
	cr_assert_eq(sl_h2_respond(&c->h2, &res, false), 0);
	cr_assert_eq(sl_h2_write_text(&c->h2, message), 0);
	cr_assert_eq(sl_h2_end(&c->h2, &trailers), 0);
	h2_until(&r, sides, c->h2.closed);
}

static bool asks(const struct h2_call *c, struct sl_str text)
{
	return memmem(sl_buf_ptr(&c->h2.in), sl_buf_len(&c->h2.in), text.ptr, text.len);
}

Test(auth_grpc, what_is_allowed_goes_on_with_what_the_service_adds)
{
	struct h2_call *c = begin();

	cr_assert(sl_str_eqc(c->req.path, "/envoy.service.auth.v3.Authorization/Check"));
	cr_assert(sl_str_eqc(c->req.authority, "cart.shop"));
	cr_assert(sl_str_eqc(sl_headers_find(&c->req.headers, SL_STR("content-type"))->value,
			     "application/grpc"));
	cr_assert(c->req.te_trailers);
	cr_assert(asks(c, SL_STR("\x12\x04POST")) && asks(c, SL_STR("/a?b*\x04shop")) &&
		  asks(c, SL_STR("\x03x-a\x12\x01\x31")) && asks(c, SL_STR("Z\x02hi")));
	cr_assert(!rig_pending(&r, &r.backends[0]));
	answer(c, SL_STR("\0\0\0\0\x16\x1a\x14\x12\x0b\n\x09\n\x03x-a\x12\x02me*\x05hosts"), "0");
	rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server,
		   "POST /a?b HTTP/1.1\r\nHost: shop\r\nx-a: me\r\nContent-Length: 2\r\n\r\nhi");
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
	cr_assert_eq(rig_counter(&r, SL_COUNTER_AUTH_ALLOWED), 1);
}

Test(auth_grpc, what_is_denied_gets_what_the_service_says)
{
	answer(begin(),
	       SL_STR("\0\0\0\0001\n\x06\x08\x07\x12\x02no\x12'"
		      "\n\x03\x08\x91\x03\x12\x1b\n\x19\n\x10"
		      "www-authenticate\x12\x05"
		      "Basic\x1a\x03why"),
	       "0");
	rig_expect(&r, &client,
		   "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Basic\r\n"
		   "Content-Length: 3\r\n\r\nwhy");
	cr_assert(!rig_pending(&r, &r.backends[0]));
	cr_assert_eq(rig_ended(&r, SL_END_DENIED), 1);
}

static void expect_failure(struct sl_str message, const char *status)
{
	answer(begin(), message, status);
	rig_expect_own(&r, &client, "403 Forbidden",
		       "the authorization service did not answer, or not clearly", false);
	cr_assert(!rig_pending(&r, &r.backends[0]));
	cr_assert_eq(rig_ended(&r, SL_END_AUTH_FAILED), 1);
}

Test(auth_grpc, a_failed_call_fails_closed)
{
	expect_failure(SL_STR("\0\0\0\0\0"), "14");
}

Test(auth_grpc, no_message_fails_closed)
{
	expect_failure(SL_STR(""), "0");
}

Test(auth_grpc, nonsense_fails_closed)
{
	expect_failure(SL_STR("\0\0\0\0\2\n\5"), "0");
}
