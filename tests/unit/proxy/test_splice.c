/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state machine of a hop, with the test in the kernel's place: the cells are the test's, and
 * what would be redirected goes by TCP.
 */
#include <errno.h>
#include "proxy/handover.h"
#include "proxy/splice.h"
#include "rig.h"

#define GET    "GET / HTTP/1.1\r\nHost: cart\r\n\r\n"
#define OK     "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define LOOP   77 /* cookie of the rig's namespace */
#define COOKIE 4711

enum { MAX_HOPS = 16, BUDGET = 10000, AFTER = 2 };

/* As the kernel half keeps it. */
struct hop {
	struct sl_splice_lease lease;
	enum sl_splice_hop hop;
	uint32_t state, unfit, waits;
	uint64_t taken, done, app_sent, app_seen, app_cookie, netns;
	bool open, closes, holds; /* holds: something is left in own's queue */
	bool app_closed;
	unsigned n_taken_out;
};

static struct rig r;
static struct rig_peer client, server, other;
static struct hop hops[MAX_HOPS];
static unsigned n_hops, n_hurries, n_max_wanted;
static int n_wanted, open_error, take_out_error, wanted_error, hurry_error;
static enum sl_splice_why why_answer;

static struct hop *hop_of(const struct sl_splice_lease *l)
{
	return l->host;
}

static int open_hop(void *arg, int own, enum sl_splice_hop kind, uint64_t app_netns, uint64_t taken,
		    uint64_t done, struct sl_splice_lease *ret)
{
	struct hop *h = &hops[n_hops];

	(void)own;
	if (open_error)
		return open_error;
	cr_assert_lt(n_hops, MAX_HOPS);
	n_hops++;
	*h = (struct hop){
		.hop = kind, .taken = taken, .done = done, .netns = app_netns, .open = true};
	h->lease = (struct sl_splice_lease){.state = &h->state,
					    .taken = &h->taken,
					    .done = &h->done,
					    .app_sent = &h->app_sent,
					    .app_seen = &h->app_seen,
					    .app_cookie = &h->app_cookie,
					    .waits = &h->waits,
					    .unfit = &h->unfit,
					    .host = h};
	*ret = h->lease;
	return 0;
}

static bool close_hop(void *arg, const struct sl_splice_lease *l, int own, bool closes)
{
	struct hop *h = hop_of(l);

	(void)own;
	cr_assert(h->open);
	if (!closes && h->holds)
		return false;
	if (!closes)
		cr_assert(h->state == SL_SPLICE_CELL_IDLE || h->state == SL_SPLICE_CELL_REFUSED ||
			  h->state == SL_SPLICE_CELL_OUT);
	h->open = false;
	h->closes = closes;
	return true;
}

static int take_out(void *arg, const struct sl_splice_lease *l)
{
	struct hop *h = hop_of(l);

	cr_assert_eq(h->state, SL_SPLICE_CELL_IN);
	cr_assert_eq(h->app_seen, h->done, "something is unread");
	h->n_taken_out++;
	return take_out_error;
}

static bool has_app(void *arg, const struct sl_splice_lease *l)
{
	return !hop_of(l)->app_closed;
}

static enum sl_splice_why why(const struct sl_splice_lease *l)
{
	(void)l;
	return why_answer;
}

static int wanted(void *arg, uint64_t app_netns, bool is_wanted)
{
	cr_assert_eq(app_netns, LOOP);
	if (is_wanted && wanted_error)
		return wanted_error;
	n_wanted += is_wanted ? 1 : -1;
	if (n_wanted > (int)n_max_wanted)
		n_max_wanted = (unsigned)n_wanted;
	return 0;
}

static int hurry(void *arg, uint64_t app_netns)
{
	cr_assert_eq(app_netns, LOOP);
	n_hurries++;
	return hurry_error;
}

static void set_up(void)
{
	client = server = other = RIG_PEER_INIT;
	n_hops = n_hurries = n_max_wanted = 0;
	n_wanted = open_error = take_out_error = wanted_error = hurry_error = 0;
	why_answer = SL_SPLICE_BLOCKING;
	rig_init(&r);
	r.app_protocol = "http";
	r.opts.splice_bytes = BUDGET;
	r.opts.splice_exchanges = AFTER;
	r.splice = (struct sl_splice_host){.open = open_hop,
					   .close = close_hop,
					   .take_out = take_out,
					   .has_app = has_app,
					   .why = why,
					   .wanted = wanted,
					   .hurry = hurry};
}

static void tear_down(void)
{
	rig_close(&client);
	rig_close(&server);
	rig_close(&other);
	rig_stop(&r);
	for (unsigned i = 0; i < n_hops; i++)
		cr_assert_not(hops[i].open, "hop %u was never closed", i);
	cr_assert_eq(n_wanted, 0);
}

TestSuite(splice, .init = set_up, .fini = tear_down);

/* ---- scenes ---- */

static void exchange(void)
{
	rig_send(&r, &client, GET);
	if (server.fd < 0)
		rig_accept(&r, &r.backends[0], &server);
	rig_expect(&r, &server, GET);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
	rig_settle(&r);
}

static struct hop *hop(enum sl_splice_hop kind)
{
	struct hop *found = NULL;

	for (unsigned i = 0; i < n_hops; i++) {
		if (hops[i].hop == kind)
			found = &hops[i];
	}
	cr_assert_not_null(found);
	return found;
}

static struct hop *client_hop(void)
{
	return hop(SL_SPLICE_CLIENT);
}

static struct hop *endpoint_hop(void)
{
	return hop(SL_SPLICE_ENDPOINT);
}

/* Both hops are asked for. */
static void ask(void)
{
	rig_start(&r);
	rig_connect(&r, &client);
	for (int i = 0; i < AFTER + 1; i++)
		exchange();
	cr_assert_eq(client_hop()->state, SL_SPLICE_CELL_ASK);
	cr_assert_eq(endpoint_hop()->state, SL_SPLICE_CELL_ASK);
}

static void passed(void)
{
	sl_proxy_splice_passed(r.proxy, LOOP);
	rig_settle(&r);
}

static void take_in(struct hop *h)
{
	cr_assert_eq(h->state, SL_SPLICE_CELL_ASK);
	h->app_sent = h->taken;
	h->app_seen = h->done;
	h->app_cookie = COOKIE + h->hop;
	h->state = SL_SPLICE_CELL_IN;
}

/* The app's send shows that it has read everything. */
static void saw_all(struct hop *h)
{
	h->app_seen = h->done;
}

/* The client's hop is in. */
static struct hop *splice_client(void)
{
	ask();
	take_in(client_hop());
	passed();
	return client_hop();
}

static struct sl_sock *client_sock(void)
{
	struct sl_list *conns = &sl_proxy_source(r.proxy, LOOP)->conns;

	cr_assert_not(sl_list_empty(conns));
	return &sl_container_of(conns->next, struct sl_conn, node)->sock;
}

static uint64_t never(enum sl_splice_why w)
{
	return sl_metrics_splice_nevers(r.metrics, w);
}

static uint64_t left(enum sl_splice_why w)
{
	return sl_metrics_splice_lefts(r.metrics, w);
}

static void expect_state(const char *state, enum sl_splice_why w)
{
	cr_assert_str_eq(sl_splice_state_name(client_sock()), state);
	cr_assert_eq(client_sock()->splice_why, w, "why: %s",
		     sl_splice_why_name(client_sock()->splice_why));
}

/* ---- in ---- */

Test(splice, a_connection_is_a_candidate_after_some_exchanges)
{
	rig_start(&r);
	rig_connect(&r, &client);
	for (int i = 0; i < AFTER - 1; i++)
		exchange();
	cr_assert_eq(n_hops, 0);
	expect_state("plain", SL_SPLICE_NONE);
	exchange();
	cr_assert_eq(n_hops, 2);
	expect_state("candidate", SL_SPLICE_NONE);
	cr_assert_eq(client_hop()->netns, LOOP);
	cr_assert_eq(client_hop()->state, SL_SPLICE_CELL_IDLE);
	cr_assert_eq(n_wanted, 0);
	exchange();
	cr_assert_eq(client_hop()->state, SL_SPLICE_CELL_ASK);
	cr_assert_eq(n_wanted, 1, "both hops are in one namespace");
}

Test(splice, counts_are_those_of_the_whole_connection)
{
	ask();
	cr_assert_eq(client_hop()->taken, (AFTER + 1) * strlen(GET));
	cr_assert_eq(client_hop()->done, (AFTER + 1) * strlen(OK));
	cr_assert_eq(endpoint_hop()->taken, (AFTER + 1) * strlen(OK));
	cr_assert_eq(endpoint_hop()->done, (AFTER + 1) * strlen(GET));
}

Test(splice, the_kernel_takes_a_candidate_over)
{
	splice_client();
	expect_state("spliced", SL_SPLICE_NONE);
	cr_assert_eq(rig_counter(&r, SL_COUNTER_SPLICED_CLIENT), 1);
	cr_assert_eq(rig_gauge(&r, SL_GAUGE_SPLICED_CLIENT), 1);
	for (int i = 0; i < 5; i++) {
		exchange();
		saw_all(client_hop());
	}
	expect_state("spliced", SL_SPLICE_NONE);
	rig_close(&client);
	rig_expect_conns(&r, 0);
	cr_assert_eq(rig_gauge(&r, SL_GAUGE_SPLICED_CLIENT), 0);
	cr_assert(client_hop()->closes);
}

Test(splice, a_promotion_that_was_not_noticed_counts_all_the_same)
{
	ask();
	take_in(client_hop());
	take_in(endpoint_hop());
	exchange(); /* no word of the pass */
	expect_state("spliced", SL_SPLICE_NONE);
	cr_assert_eq(rig_counter(&r, SL_COUNTER_SPLICED_ENDPOINT), 1);
	cr_assert_eq(n_wanted, 0);
}

Test(splice, nothing_is_sent_while_the_kernel_looks)
{
	ask();
	rig_send(&r, &client, GET);
	rig_expect(&r, &server, GET);
	client_hop()->state = SL_SPLICE_CELL_LOOKING;
	rig_send(&r, &server, OK);
	rig_expect_silence(&r, &client);
	client_hop()->state = SL_SPLICE_CELL_ASK; /* bytes were under way */
	passed();
	rig_expect(&r, &client, OK);
	cr_assert_eq(client_hop()->state, SL_SPLICE_CELL_ASK);
	expect_state("candidate", SL_SPLICE_NONE);
}

Test(splice, the_answer_goes_on_when_the_kernel_took_it_over_meanwhile)
{
	ask();
	rig_send(&r, &client, GET);
	rig_expect(&r, &server, GET);
	client_hop()->state = SL_SPLICE_CELL_LOOKING;
	rig_send(&r, &server, OK);
	rig_expect_silence(&r, &client);
	client_hop()->state = SL_SPLICE_CELL_ASK;
	take_in(client_hop());
	passed();
	rig_expect(&r, &client, OK);
	expect_state("spliced", SL_SPLICE_NONE);
}

Test(splice, one_that_is_refused_stays_plain_for_life)
{
	ask();
	client_hop()->state = SL_SPLICE_CELL_REFUSED;
	passed();
	expect_state("plain", SL_SPLICE_BLOCKING);
	cr_assert_eq(never(SL_SPLICE_BLOCKING), 1);
	cr_assert_not(client_hop()->open);
	cr_assert_not(client_hop()->closes);
	for (int i = 0; i < 5; i++)
		exchange();
	cr_assert_eq(n_hops, 2);
}

Test(splice, a_refusal_is_seen_when_something_is_to_be_sent)
{
	ask();
	client_hop()->state = SL_SPLICE_CELL_REFUSED;
	exchange();
	expect_state("plain", SL_SPLICE_BLOCKING);
}

Test(splice, passes_in_vain_end)
{
	ask();
	why_answer = SL_SPLICE_BUSY;
	for (int i = 0; i < 200; i++)
		sl_proxy_splice_passed(r.proxy, LOOP);
	expect_state("plain", SL_SPLICE_BUSY);
	cr_assert_eq(n_wanted, 0);
	exchange();
}

Test(splice, passes_elsewhere_do_not_count)
{
	ask();
	for (int i = 0; i < 200; i++)
		sl_proxy_splice_passed(r.proxy, LOOP + 1);
	expect_state("candidate", SL_SPLICE_NONE);
}

static const struct {
	int error;
	enum sl_splice_why why;
} open_errors[] = {
	{-ENOSPC, SL_SPLICE_NO_SLOT},	  {-ENOMEM, SL_SPLICE_MEMORY}, {-EBUSY, SL_SPLICE_FOREIGN},
	{-EOPNOTSUPP, SL_SPLICE_CLOSING}, {-EPERM, SL_SPLICE_ERROR},
};

Test(splice, what_the_kernel_does_not_take_note_of_stays_plain)
{
	rig_start(&r);
	for (size_t i = 0; i < sizeof(open_errors) / sizeof(*open_errors); i++) {
		open_error = open_errors[i].error;
		rig_connect(&r, &client);
		for (int n = 0; n < AFTER + 1; n++)
			exchange();
		expect_state("plain", open_errors[i].why);
		rig_close(&client);
		rig_close(&server);
		rig_expect_conns(&r, 0);
		rig_expect_idle(&r, 0);
	}
}

Test(splice, without_memory_to_say_so_it_asks_the_next_time)
{
	wanted_error = -ENOMEM;
	rig_start(&r);
	rig_connect(&r, &client);
	for (int i = 0; i < AFTER + 2; i++)
		exchange();
	cr_assert_eq(client_hop()->state, SL_SPLICE_CELL_IDLE);
	wanted_error = 0;
	exchange();
	cr_assert_eq(client_hop()->state, SL_SPLICE_CELL_ASK);
}

/* ---- reading ---- */

Test(splice, a_short_read_proves_nothing_while_more_was_sent)
{
	struct hop *h = splice_client();
	struct sl_sock *own = client_sock();

	own->splice->in_since_ns = 0; /* long ago */
	h->app_sent = own->n_received + 2 * strlen(GET);
	cr_assert(sl_splice_may_hold_more(own));
	exchange();
	cr_assert(sl_splice_may_hold_more(own));
	exchange();
	cr_assert_not(sl_splice_may_hold_more(own));
}

Test(splice, in_the_first_second_reading_goes_on_until_nothing_is_there)
{
	splice_client();
	cr_assert(sl_splice_may_hold_more(client_sock()));
	exchange();
	cr_assert_not(client_sock()->can_read);
}

Test(splice, once_it_may_be_out_reading_goes_on_until_nothing_is_there)
{
	struct hop *h = splice_client();
	struct sl_sock *own = client_sock();

	own->splice->in_since_ns = 0; /* long ago */
	h->app_sent = own->n_received;
	cr_assert_not(sl_splice_may_hold_more(own));
	own->splice->state = SL_SPLICE_LEAVING;
	cr_assert(sl_splice_may_hold_more(own), "TCP bytes, counted by nobody, behind others");
	own->splice->state = SL_SPLICE_OUT;
	cr_assert(sl_splice_may_hold_more(own));
	own->splice->state = SL_SPLICE_CANDIDATE;
	cr_assert_not(sl_splice_may_hold_more(own), "all of it is TCP's");
	own->splice->state = SL_SPLICE_IN;
}

/* ---- out ---- */

static char *answer_of(size_t n)
{
	static char text[4 * BUDGET];
	int head =
		snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", n);

	memset(text + head, 'x', n);
	text[(size_t)head + n] = '\0';
	return text;
}

static void request(struct hop *h)
{
	rig_send(&r, &client, GET);
	saw_all(h);
	rig_expect(&r, &server, GET);
}

Test(splice, an_answer_within_the_budget_stays_in)
{
	struct hop *h = splice_client();

	for (int i = 0; i < 10; i++) {
		request(h);
		rig_send(&r, &server, answer_of(BUDGET / 2));
		rig_expect(&r, &client, answer_of(BUDGET / 2));
	}
	expect_state("spliced", SL_SPLICE_NONE);
}

Test(splice, before_a_longer_answer_it_leaves_by_evidence)
{
	struct hop *h = splice_client();

	request(h);
	rig_send(&r, &server, answer_of(2 * BUDGET));
	rig_expect(&r, &client, answer_of(2 * BUDGET));
	cr_assert_eq(h->n_taken_out, 1);
	cr_assert_eq(h->state, SL_SPLICE_CELL_OUT);
	expect_state("left", SL_SPLICE_LENGTH);
	cr_assert_eq(left(SL_SPLICE_LENGTH), 1);
	cr_assert_eq(rig_gauge(&r, SL_GAUGE_SPLICED_CLIENT), 0);
	exchange();
	cr_assert_not(h->open, "the kernel knows nothing of it any more");
	cr_assert_eq(n_hops, 2, "TCP for life");
	expect_state("left", SL_SPLICE_LENGTH);
}

Test(splice, what_was_redirected_to_us_is_read_before_the_kernel_forgets_it)
{
	struct hop *h = splice_client();

	h->holds = true;
	request(h);
	rig_send(&r, &server, answer_of(2 * BUDGET));
	rig_expect(&r, &client, answer_of(2 * BUDGET));
	exchange();
	cr_assert(h->open);
	expect_state("left", SL_SPLICE_LENGTH);
	h->holds = false;
	exchange();
	cr_assert_not(h->open);
}

Test(splice, without_evidence_it_waits_until_the_app_has_read_everything)
{
	struct hop *h = splice_client();

	exchange(); /* whose answer nobody is seen to read */
	rig_send(&r, &client, GET);
	rig_expect(&r, &server, GET);
	rig_send(&r, &server, answer_of(2 * BUDGET));
	rig_expect_silence(&r, &client);
	expect_state("leaving", SL_SPLICE_NONE);
	cr_assert_eq(h->state, SL_SPLICE_CELL_ASK_OUT);
	cr_assert_eq(h->n_taken_out, 0);
	cr_assert_eq(n_hurries, 1);
	passed(); /* not yet */
	rig_pass(&r, 10 * SL_NS_PER_MS);
	cr_assert_eq(n_hurries, 2, "it looks again");
	rig_expect_silence(&r, &client);
	h->state = SL_SPLICE_CELL_LOOKING;
	passed();
	rig_expect_silence(&r, &client);
	h->state = SL_SPLICE_CELL_OUT;
	passed();
	rig_expect(&r, &client, answer_of(2 * BUDGET));
	expect_state("left", SL_SPLICE_LENGTH);
}

Test(splice, without_memory_to_hurry_it_tries_again)
{
	struct hop *h = splice_client();

	hurry_error = -ENOMEM;
	exchange();
	rig_send(&r, &client, GET);
	rig_expect(&r, &server, GET);
	rig_send(&r, &server, answer_of(2 * BUDGET));
	rig_expect_silence(&r, &client);
	rig_pass(&r, 20 * SL_NS_PER_MS);
	cr_assert_gt(n_hurries, 1);
	h->state = SL_SPLICE_CELL_OUT;
	passed();
	rig_expect(&r, &client, answer_of(2 * BUDGET));
}

Test(splice, when_it_cannot_be_taken_out_a_pass_does_it)
{
	struct hop *h = splice_client();

	take_out_error = -EPERM;
	request(h);
	rig_send(&r, &server, answer_of(2 * BUDGET));
	rig_expect_silence(&r, &client);
	cr_assert_eq(h->state, SL_SPLICE_CELL_ASK_OUT);
	h->state = SL_SPLICE_CELL_OUT;
	passed();
	rig_expect(&r, &client, answer_of(2 * BUDGET));
}

Test(splice, an_answer_of_unknown_length_pauses_at_the_budget)
{
	struct hop *h = splice_client();
	char chunk[1100];
	size_t sent = 0, got;

	request(h);
	rig_send(&r, &server, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
	memset(chunk, 'y', sizeof(chunk));
	while (sent < 3 * BUDGET) {
		rig_send(&r, &server, "44c\r\n");
		rig_send_bytes(&r, &server, chunk, sizeof(chunk));
		rig_send(&r, &server, "\r\n");
		rig_settle(&r);
		sent += sizeof(chunk);
	}
	rig_peek(&client);
	got = client.n_got;
	cr_assert_gt(got, 1000);
	cr_assert_lt(got, BUDGET, "%zu bytes went to an app that has read none", got);
	expect_state("leaving", SL_SPLICE_NONE);
	h->state = SL_SPLICE_CELL_OUT;
	passed();
	rig_send(&r, &server, "0\r\n\r\n");
	rig_skip_to(&r, &client, "\r\n0\r\n\r\n");
	expect_state("left", SL_SPLICE_BUDGET);
}

Test(splice, each_message_counts_beside_its_bytes)
{
	struct hop *h = splice_client();
	unsigned n = 0;

	request(h);
	rig_send(&r, &server, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
	while (!strcmp(sl_splice_state_name(client_sock()), "spliced") && n < BUDGET) {
		rig_send(&r, &server, "1\r\nz\r\n");
		rig_settle(&r);
		n++;
	}
	cr_assert_lt(n, BUDGET / 1024 + 2);
	h->state = SL_SPLICE_CELL_OUT;
	passed();
}

Test(splice, all_hops_together_have_a_budget)
{
	struct hop *h;

	r.opts.splice_total_bytes = 3000;
	h = splice_client();
	request(h);
	rig_send(&r, &server, answer_of(2500));
	rig_expect(&r, &client, answer_of(2500));
	expect_state("left", SL_SPLICE_TOTAL);
	cr_assert_eq(r.proxy->splice_unread, 0);
}

Test(splice, an_app_that_becomes_unfit_is_let_go)
{
	struct hop *h = splice_client();

	request(h);
	h->unfit = 1;
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
	expect_state("left", SL_SPLICE_BLOCKING);
}

Test(splice, a_tunnel_is_never_spliced)
{
	rig_free(&r);
	set_up();
	r.app_protocol = NULL;
	rig_add_backend(&r, "cart", false);
	rig_start(&r);
	rig_connect(&r, &client);
	rig_send(&r, &client, "\x16\x03\x01");
	rig_accept(&r, &r.backends[1], &server);
	rig_expect(&r, &server, "\x16\x03\x01");
	expect_state("plain", SL_SPLICE_TUNNEL);
}

#define UPGRADE	 "GET / HTTP/1.1\r\nHost: cart\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"
#define SWITCHES "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"

Test(splice, an_upgrade_leaves_and_takes_a_plain_connection)
{
	struct hop *h = splice_client();

	take_in(endpoint_hop());
	passed();
	rig_send(&r, &client, UPGRADE);
	saw_all(h);
	rig_accept(&r, &r.backends[0], &other);
	rig_skip_to(&r, &other, "\r\n\r\n");
	rig_send(&r, &other, SWITCHES "hello");
	rig_skip_to(&r, &client, "hello");
	expect_state("left", SL_SPLICE_TUNNEL);
	rig_send(&r, &client, "world");
	rig_expect(&r, &other, "world");
	cr_assert_eq(endpoint_hop()->state, SL_SPLICE_CELL_IN);
}

Test(splice, a_connection_that_becomes_http2_leaves)
{
	static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\n"
				     "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n";

	saw_all(splice_client());
	rig_send(&r, &client,
		 "GET / HTTP/1.1\r\nHost: cart\r\nConnection: Upgrade, HTTP2-Settings\r\n"
		 "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n");
	rig_expect(&r, &client, answer);
	expect_state("left", SL_SPLICE_PROTOCOL);
}

Test(splice, a_large_request_takes_a_plain_connection)
{
	struct hop *h = splice_client();
	char body[BUDGET];

	take_in(endpoint_hop());
	passed();
	memset(body, 'b', sizeof(body));
	rig_send(&r, &client, "POST / HTTP/1.1\r\nHost: cart\r\nContent-Length: 10000\r\n\r\n");
	saw_all(h);
	rig_accept(&r, &r.backends[0], &other);
	rig_send_bytes(&r, &client, body, sizeof(body));
	rig_skip_to(&r, &other, "\r\n\r\n");
	rig_expect_bytes(&r, &other, body, sizeof(body));
	rig_send(&r, &other, OK);
	rig_expect(&r, &client, OK);
	cr_assert_eq(endpoint_hop()->state, SL_SPLICE_CELL_IN);
	cr_assert_eq(endpoint_hop()->n_taken_out, 0);
}

Test(splice, a_hop_that_waits_for_the_apps_lock_tries_again_and_then_leaves)
{
	struct hop *h = splice_client();
	struct sl_sock *own = client_sock();

	cr_assert_not(sl_splice_is_busy(own, EPIPE), "the program did not wait");
	for (unsigned i = 0; i < 6; i++) {
		h->waits++;
		cr_assert(sl_splice_is_busy(own, EPIPE));
		cr_assert_eq(own->splice->leave, SL_SPLICE_NONE);
	}
	cr_assert_not(sl_splice_is_busy(own, EPIPE), "this one is TCP's");
	h->waits++;
	cr_assert(sl_splice_is_busy(own, EPIPE));
	cr_assert_eq(own->splice->leave, SL_SPLICE_LOCKED);
	request(h);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
	expect_state("left", SL_SPLICE_LOCKED);
	h->waits++;
	cr_assert_not(sl_splice_is_busy(own, EPIPE), "no redirect, no excuse");
}

Test(splice, a_pod_at_its_memory_limit_is_waited_for_and_then_left_to_tcp)
{
	struct hop *h = splice_client();

	for (unsigned i = 0; i < 7; i++)
		cr_assert(sl_splice_is_busy(client_sock(), i % 2 ? ENOMEM : EAGAIN));
	request(h);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
	expect_state("left", SL_SPLICE_CROWDED);
}

/* ---- the end ---- */

static const enum sl_splice_cell cells[] = {
	SL_SPLICE_CELL_IDLE, SL_SPLICE_CELL_ASK, SL_SPLICE_CELL_LOOKING,
	SL_SPLICE_CELL_IN,   SL_SPLICE_CELL_OUT, SL_SPLICE_CELL_REFUSED,
};

Test(splice, a_close_in_each_state_ends_the_hop)
{
	rig_start(&r);
	for (size_t i = 0; i < sizeof(cells) / sizeof(*cells); i++) {
		n_hops = 0;
		rig_connect(&r, &client);
		for (int n = 0; n < AFTER + 1; n++)
			exchange();
		client_hop()->state = cells[i];
		rig_close(&client);
		rig_expect_conns(&r, 0);
		cr_assert_not(client_hop()->open, "state %zu", i);
		cr_assert(client_hop()->closes, "state %zu", i);
		rig_close(&server);
		rig_expect_idle(&r, 0);
		cr_assert_not(endpoint_hop()->open, "state %zu", i);
	}
	cr_assert_eq(rig_gauge(&r, SL_GAUGE_SPLICED_CLIENT), 0);
	cr_assert_eq(rig_gauge(&r, SL_GAUGE_SPLICED_ENDPOINT), 0);
}

Test(splice, a_verdict_after_the_close_changes_nothing)
{
	ask();
	client_hop()->state = SL_SPLICE_CELL_LOOKING;
	rig_close(&client);
	rig_expect_conns(&r, 0);
	client_hop()->state = SL_SPLICE_CELL_IN;
	passed();
	cr_assert_eq(rig_gauge(&r, SL_GAUGE_SPLICED_CLIENT), 0);
}

Test(splice, a_close_while_it_leaves_ends_the_hop)
{
	struct hop *h = splice_client();

	exchange();
	rig_send(&r, &client, GET);
	rig_expect(&r, &server, GET);
	rig_send(&r, &server, answer_of(2 * BUDGET));
	rig_settle(&r);
	expect_state("leaving", SL_SPLICE_NONE);
	rig_reset(&client);
	rig_expect_conns(&r, 0);
	cr_assert_not(h->open);
	cr_assert_eq(r.proxy->splice_unread, 0);
}

Test(splice, an_app_that_closes_with_something_unread_is_not_waited_for)
{
	struct hop *h = splice_client();

	exchange();
	rig_send(&r, &client, GET);
	rig_expect(&r, &server, GET);
	rig_send(&r, &server, answer_of(2 * BUDGET));
	rig_settle(&r);
	expect_state("leaving", SL_SPLICE_NONE);
	rig_shut(&client); /* it may read on */
	rig_settle(&r);
	expect_state("leaving", SL_SPLICE_NONE);
	h->app_closed = true;
	passed();
	rig_expect(&r, &client, answer_of(2 * BUDGET));
	rig_expect_eof(&r, &client);
	rig_close(&client);
	rig_expect_conns(&r, 0);
}

Test(splice, an_endpoint_whose_address_goes_is_cut_off)
{
	struct sl_addr here;

	rig_start(&r);
	rig_connect(&r, &client);
	for (int i = 0; i < AFTER + 1; i++)
		exchange();
	take_in(endpoint_hop());
	passed();
	rig_move_source(&r, "10.1.1.1"); /* the backend is on loopback, which stays */
	exchange();
	cr_assert_eq(sl_addr_parse_ip(SL_STR("10.1.1.1"), 0, &here), 0);
	sl_container_of(sl_container_of(r.proxy->splice_quiet.prev, struct sl_splice, node)->sock,
			struct sl_upconn, sock)
		->pooled.endpoint = here;
	rig_move_source(&r, "10.1.1.1");
	exchange();
	rig_move_source(&r, "10.1.1.2");
	rig_expect_reset(&r, &server);
}

Test(splice, a_client_that_calls_splice_is_cut_off)
{
	splice_client();
	sl_proxy_splice_cut(r.proxy, COOKIE + 99); /* somebody else */
	exchange();
	sl_proxy_splice_cut(r.proxy, COOKIE + SL_SPLICE_CLIENT);
	rig_expect_reset(&r, &client);
	rig_expect_conns(&r, 0);
}

Test(splice, a_socket_without_a_cookie_is_nobodys)
{
	ask(); /* not in: the hops know no cookie */
	sl_proxy_splice_cut(r.proxy, 0);
	exchange();
	cr_assert_eq(sl_proxy_n_conns(r.proxy), 1);
}

Test(splice, an_idle_endpoint_that_calls_splice_is_cut_off)
{
	ask();
	take_in(endpoint_hop());
	passed();
	sl_proxy_splice_cut(r.proxy, COOKIE + SL_SPLICE_ENDPOINT);
	rig_expect_reset(&r, &server);
	rig_expect_idle(&r, 0);
}

Test(splice, an_endpoint_that_calls_splice_during_a_request_is_cut_off)
{
	ask();
	take_in(endpoint_hop());
	passed();
	rig_send(&r, &client, "POST / HTTP/1.1\r\nHost: cart\r\nContent-Length: 1\r\n\r\nx");
	rig_skip_to(&r, &server, "\r\n\r\nx");
	sl_proxy_splice_cut(r.proxy, COOKIE + SL_SPLICE_ENDPOINT);
	rig_expect_reset(&r, &server);
	rig_skip_to(&r, &client, "HTTP/1.1 502");
}

/* ---- another process goes on ---- */

static unsigned n_given;

static int give(void *arg, const struct sl_handed *h)
{
	(void)arg;
	n_given++;
	cr_assert(h->kind == SL_HANDED_HTTP1 || h->kind == SL_HANDED_POOLED);
	return 0;
}

/* The client's hop is in, and the agent is to give everything away. */
static struct hop *splice_and_give(void)
{
	struct hop *h;

	n_given = 0;
	r.give = give;
	h = splice_client();
	return h;
}

Test(splice, one_that_left_by_evidence_is_given_at_once)
{
	struct hop *h = splice_and_give();

	exchange();
	saw_all(h);
	sl_proxy_hand_over(r.proxy, 1);
	rig_settle(&r);
	cr_assert_eq(h->n_taken_out, 1);
	cr_assert_not(h->open);
	cr_assert_eq(n_given, 2, "the client's connection and the endpoint's");
}

Test(splice, one_whose_app_may_have_something_to_read_is_given_after_a_pass)
{
	struct hop *h = splice_and_give();

	exchange();
	sl_proxy_hand_over(r.proxy, 1);
	rig_settle(&r);
	cr_assert_eq(h->state, SL_SPLICE_CELL_ASK_OUT);
	cr_assert_eq(n_given, 1, "the endpoint's was only a candidate");
	passed();
	cr_assert_eq(n_given, 1);
	h->state = SL_SPLICE_CELL_OUT;
	passed();
	cr_assert_eq(n_given, 2);
	cr_assert_not(h->open);
}

Test(splice, an_idle_endpoint_that_is_in_is_closed_rather_than_waited_for)
{
	splice_and_give();
	take_in(endpoint_hop());
	passed();
	exchange();
	saw_all(client_hop());
	sl_proxy_hand_over(r.proxy, 1);
	rig_settle(&r);
	cr_assert_eq(n_given, 1);
	cr_assert(endpoint_hop()->closes);
	rig_expect_eof(&r, &server);
}

/* ---- who may ---- */

static const struct {
	const char *name, *annotations;
	bool vouched_only;
	const char *more;
	enum sl_splice_why client, endpoint;
} policies[] = {
	{"by default", NULL, false, NULL, SL_SPLICE_NONE, SL_SPLICE_NONE},
	{"the Service says no", "sluice.dev/splice: disabled", false, NULL, SL_SPLICE_SERVICE,
	 SL_SPLICE_NONE},
	{"nobody vouches", NULL, true, NULL, SL_SPLICE_NOT_VOUCHED, SL_SPLICE_NOT_VOUCHED},
	{"a Service speaks for its servers alone", "sluice.dev/splice: enabled", true, NULL,
	 SL_SPLICE_NOT_VOUCHED, SL_SPLICE_NOT_VOUCHED},
	{"a Pod speaks for itself", NULL, true,
	 "---\napiVersion: v1\nkind: Pod\n"
	 "metadata: {name: caller, namespace: shop, annotations: {sluice.dev/splice: enabled}}\n"
	 "status: {podIP: 10.1.1.1}\n",
	 SL_SPLICE_NONE, SL_SPLICE_NOT_VOUCHED},
	{"a Pod says no", NULL, false,
	 "---\napiVersion: v1\nkind: Pod\n"
	 "metadata: {name: caller, namespace: shop, annotations: {sluice.dev/splice: disabled}}\n"
	 "status: {podIP: 10.1.1.1}\n",
	 SL_SPLICE_POD, SL_SPLICE_NONE},
};

static const struct hop *find(enum sl_splice_hop kind)
{
	for (unsigned i = 0; i < n_hops; i++) {
		if (hops[i].hop == kind)
			return &hops[i];
	}
	return NULL;
}

Test(splice, option_and_annotations_decide_who_may)
{
	for (size_t i = 0; i < sizeof(policies) / sizeof(*policies); i++) {
		set_up();
		r.annotations = policies[i].annotations;
		r.splice.vouched_only = policies[i].vouched_only;
		r.more = policies[i].more;
		rig_start(&r);
		rig_move_source(&r, "10.1.1.1");
		rig_connect(&r, &client);
		for (int n = 0; n < AFTER + 1; n++)
			exchange();
		cr_assert_eq(client_sock()->splice_why, policies[i].client, "%s: client: %s",
			     policies[i].name, sl_splice_why_name(client_sock()->splice_why));
		cr_assert_eq(!find(SL_SPLICE_CLIENT), policies[i].client != 0, "%s",
			     policies[i].name);
		cr_assert_eq(!find(SL_SPLICE_ENDPOINT), policies[i].endpoint != 0, "%s",
			     policies[i].name);
		if (i + 1 == sizeof(policies) / sizeof(*policies))
			return; /* the fixture ends it */
		rig_close(&client);
		rig_close(&server);
		rig_stop(&r);
	}
}

Test(splice, off_is_off)
{
	r.splice = (struct sl_splice_host){0};
	rig_start(&r);
	rig_connect(&r, &client);
	for (int i = 0; i < AFTER + 2; i++)
		exchange();
	expect_state("plain", SL_SPLICE_OFF);
}

Test(splice, a_change_of_the_annotation_ends_it)
{
	struct hop *h = splice_client();

	r.annotations = "sluice.dev/splice: disabled";
	rig_configure(&r, NULL);
	request(h);
	rig_send(&r, &server, OK);
	rig_expect(&r, &client, OK);
	expect_state("left", SL_SPLICE_SERVICE);
}

Test(splice, an_endpoint_elsewhere_stays_plain)
{
	struct sl_upconn u = {0};
	struct sl_stream s = {0};
	struct sl_conn c = {0};

	rig_start(&r);
	c.proxy = r.proxy;
	c.source = sl_proxy_source(r.proxy, LOOP);
	s.conn = &c;
	u.proxy = r.proxy;
	u.n_exchanges = AFTER;
	cr_assert_eq(sl_addr_parse(SL_STR("10.9.9.9:80"), &u.pooled.endpoint), 0);
	sl_splice_consider_endpoint(&s, &u);
	cr_assert_eq(u.sock.splice_why, SL_SPLICE_REMOTE);
	cr_assert_eq(n_hops, 0);
}

/* ---- memory ---- */

/* One connection's life: candidate, in, out. Whatever fails, it goes on or ends; it never hangs. */
static bool life(void)
{
	bool goes_on = true;

	rig_connect(&r, &client);
	for (int i = 0; i < AFTER + 4 && goes_on; i++) {
		uint64_t deadline = 0;

		if (send(client.fd, GET, strlen(GET), MSG_NOSIGNAL) < 0)
			break;
		while (rig_waiting(&r, &deadline)) {
			rig_peek(&client);
			if (client.eof || client.error || client.n_got >= strlen(OK))
				break;
			if (server.fd < 0)
				(void)rig_try_accept(&r.backends[0], &server);
			if (server.fd < 0)
				continue;
			rig_peek(&server);
			if (server.eof || server.error) {
				rig_close(&server);
			} else if (server.n_got >= strlen(GET)) {
				server.n_got = 0;
				(void)send(server.fd, OK, strlen(OK), MSG_NOSIGNAL);
			}
		}
		goes_on = client.n_got == strlen(OK);
		client.n_got = 0;
		for (unsigned h = 0; h < n_hops; h++) {
			if (hops[h].open && hops[h].state == SL_SPLICE_CELL_ASK)
				take_in(&hops[h]);
			if (hops[h].open)
				saw_all(&hops[h]);
			hops[h].unfit = i > AFTER + 1;
		}
		sl_proxy_splice_passed(r.proxy, LOOP);
	}
	rig_close(&client);
	rig_close(&server);
	rig_settle(&r);
	return goes_on;
}

Test(splice, each_allocation_may_fail)
{
	bool whole = false;

	rig_start(&r);
	for (long n = 0; n < 400 && !whole; n++) {
		n_hops = 0;
		(void)sl_alloc_fail_after(n);
		whole = life();
		whole &= sl_alloc_fail_after(-1) <= (size_t)n;
		rig_expect_conns(&r, 0);
		for (unsigned h = 0; h < n_hops; h++)
			cr_assert_not(hops[h].open && hops[h].hop == SL_SPLICE_CLIENT);
		rig_expect_idle(&r, 0);
	}
	cr_assert(whole, "there are more allocations than were tried");
	cr_assert_eq(rig_gauge(&r, SL_GAUGE_SPLICED_CLIENT), 0);
}
