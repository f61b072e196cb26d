/* SPDX-License-Identifier: Apache-2.0 */
/* Balancers by what they choose, ejection, limits. */
#include <errno.h>
#include "../../lib/leak.h"
#include "balanced.h"
#include "base/alloc.h"

enum { PICKS = 20000 };

static const struct sl_lb_ask nothing;

static void count(struct balanced *b, const struct sl_lb_ask *ask, uint32_t n, uint32_t *picks)
{
	for (uint32_t i = 0; i < n; i++) {
		int at = balanced_pick(b, ask);

		cr_assert_geq(at, 0);
		picks[at]++;
	}
}

/* ---- distributions ---- */

Test(balance, equal_endpoints_get_equal_shares)
{
	static const enum sl_balancer balancers[] = {
		SL_BALANCER_ROUND_ROBIN, SL_BALANCER_LEAST_REQUEST, SL_BALANCER_PEAK_EWMA};

	for (size_t k = 0; k < sizeof(balancers) / sizeof(*balancers); k++) {
		struct balanced b = balanced_new(balancers[k], 5);
		uint32_t picks[5] = {0};

		count(&b, &nothing, PICKS, picks);
		for (int i = 0; i < 5; i++)
			cr_expect(picks[i] > PICKS / 5 * 9 / 10 && picks[i] < PICKS / 5 * 11 / 10,
				  "balancer %zu, endpoint %d: %u", k, i, picks[i]);
		balanced_free(&b);
	}
	check_leaks();
}

Test(balance, the_busier_of_two_is_left_alone)
{
	struct balanced b = balanced_new(SL_BALANCER_LEAST_REQUEST, 4);
	uint32_t picks[4] = {0};

	atomic_store(&b.balance->loads[2]->requests, 10);
	count(&b, &nothing, PICKS, picks);
	cr_expect_eq(picks[2], 0, "there is always a better one beside it");
	balanced_free(&b);
}

Test(balance, latency_and_requests_weigh_together)
{
	struct balanced b = balanced_new(SL_BALANCER_PEAK_EWMA, 2);
	uint32_t picks[2] = {0};

	for (int i = 0; i < 2; i++) {
		atomic_store(&b.balance->loads[i]->latency_ns, (i ? 10 : 1) * SL_NS_PER_MS);
		atomic_store(&b.balance->loads[i]->latency_at_ns, b.now_ns);
	}
	count(&b, &nothing, 100, picks);
	cr_expect_eq(picks[1], 0, "ten times slower");
	atomic_store(&b.balance->loads[0]->requests, 20);
	count(&b, &nothing, 100, picks);
	cr_expect_eq(picks[1], 100, "twenty wait at the fast one");
	balanced_free(&b);
}

Test(balance, a_bad_latency_is_forgotten)
{
	struct balanced b = balanced_new(SL_BALANCER_PEAK_EWMA, 2);
	const struct sl_endpoint *e = &b.endpoints[0];
	struct sl_lb_lease l = {0};
	uint64_t peak;

	cr_assert_eq(sl_lb_begin(&l, b.up, e), SL_LB_GRANTED);
	(void)sl_lb_end(&l, SL_OUTCOME_OK, SL_NS_PER_S, b.now_ns);
	peak = atomic_load(&b.balance->loads[0]->latency_ns);
	cr_expect_eq(peak, SL_NS_PER_S, "at once");
	for (int i = 0; i < 3000; i++) {
		b.now_ns += 10 * SL_NS_PER_MS;
		cr_assert_eq(sl_lb_begin(&l, b.up, e), SL_LB_GRANTED);
		(void)sl_lb_end(&l, SL_OUTCOME_OK, SL_NS_PER_MS, b.now_ns);
	}
	cr_expect_lt(atomic_load(&b.balance->loads[0]->latency_ns), 100 * SL_NS_PER_MS,
		     "30 s of good ones later");
	balanced_free(&b);
}

Test(balance, one_that_begins_gets_its_share_little_by_little)
{
	static const enum sl_balancer balancers[] = {SL_BALANCER_ROUND_ROBIN,
						     SL_BALANCER_LEAST_REQUEST};

	for (size_t k = 0; k < sizeof(balancers) / sizeof(*balancers); k++) {
		struct balanced b = balanced_new(balancers[k], 4);
		uint32_t first = 0;

		b.balance->slow_start_ns = 10 * SL_NS_PER_S;
		for (int i = 0; i < 3; i++)
			atomic_store(&b.balance->loads[i]->since_ns, 1);
		for (int s = 0; s <= 10; s += 5) {
			uint32_t picks[4] = {0};

			/* What they have to do makes the share of a balancer that looks at it. */
			for (int i = 0; i < 4; i++)
				atomic_store(&b.balance->loads[i]->requests, 3);
			count(&b, &nothing, PICKS, picks);
			if (s == 0)
				cr_expect_lt(picks[3], PICKS / 20, "at first: %u", picks[3]);
			else if (s == 10)
				cr_expect_gt(picks[3], PICKS / 5, "at last: %u", picks[3]);
			else
				cr_expect_geq(picks[3], first);
			first = picks[3];
			b.now_ns += 5 * SL_NS_PER_S;
		}
		balanced_free(&b);
	}
}

/* ---- consistent hashing ---- */

enum { KEYS = 20000 };

static struct sl_lb_ask ask_key(uint32_t key)
{
	return (struct sl_lb_ask){.hashed = true, .hash = sl_balance_hash(SL_KEY(&key))};
}

Test(hash, a_key_keeps_its_endpoint_and_keys_spread_evenly)
{
	struct balanced b = balanced_new(SL_BALANCER_HASH, 10);
	struct balanced other = balanced_new(SL_BALANCER_HASH, 10);
	uint32_t picks[10] = {0};

	for (uint32_t k = 0; k < KEYS; k++) {
		struct sl_lb_ask ask = ask_key(k);
		int at = balanced_pick(&b, &ask);

		cr_assert_eq(balanced_pick(&b, &ask), at);
		cr_assert_eq(balanced_pick(&other, &ask), at, "in another worker");
		picks[at]++;
	}
	for (int i = 0; i < 10; i++)
		cr_expect(picks[i] > KEYS / 10 * 93 / 100 && picks[i] < KEYS / 10 * 107 / 100,
			  "endpoint %d: %u", i, picks[i]);
	balanced_free(&b);
	balanced_free(&other);
}

/* Of 10 endpoints one comes or goes: a tenth of the keys has to move. */
Test(hash, few_keys_move_when_an_endpoint_comes_or_goes)
{
	struct balanced all = balanced_new(SL_BALANCER_HASH, 11);
	struct balanced fewer = balanced_new(SL_BALANCER_HASH, 10);
	uint32_t moved = 0, astray = 0;

	for (uint32_t k = 0; k < KEYS; k++) {
		struct sl_lb_ask ask = ask_key(k);
		int with = balanced_pick(&all, &ask), without = balanced_pick(&fewer, &ask);

		moved += with != without;
		astray += with != without && with != 10;
	}
	cr_expect_gt(moved, KEYS / 11 * 9 / 10);
	cr_expect_lt(moved, KEYS / 11 * 13 / 10, "moved %u of %d", moved, KEYS);
	cr_expect_lt(astray, KEYS / 40, "%u keys of endpoints that stayed", astray);
	cr_log_info(
		"10 endpoints and one more: %.2f %% of the keys move, %.2f %% between endpoints "
		"that stay",
		100.0 * moved / KEYS, 100.0 * astray / KEYS);
	balanced_free(&all);
	balanced_free(&fewer);
}

Test(hash, only_keys_of_an_ejected_endpoint_move)
{
	struct balanced b = balanced_new(SL_BALANCER_HASH, 10);
	uint32_t picks[10] = {0};

	for (uint32_t k = 0; k < KEYS; k++) {
		struct sl_lb_ask ask = ask_key(k);
		int before = balanced_pick(&b, &ask), after;

		atomic_store(&b.balance->loads[3]->ejected_until_ns, b.now_ns + 1);
		after = balanced_pick(&b, &ask);
		atomic_store(&b.balance->loads[3]->ejected_until_ns, 0);
		cr_assert(before == 3 ? after != 3 : after == before);
		picks[after] += before == 3;
	}
	for (int i = 0; i < 10; i++)
		cr_expect(i == 3 || picks[i] > KEYS / 10 / 9 / 2, "they spread over all: %u",
			  picks[i]);
	balanced_free(&b);
}

Test(hash, without_a_key_they_take_turns)
{
	struct balanced b = balanced_new(SL_BALANCER_HASH, 4);
	uint32_t picks[4] = {0};

	count(&b, &nothing, 400, picks);
	for (int i = 0; i < 4; i++)
		cr_expect_eq(picks[i], 100);
	balanced_free(&b);
}

/* ---- sessionAffinity ---- */

static struct sl_addr client_addr(uint8_t host)
{
	return (struct sl_addr){.ip = {[10] = 0xff, 0xff, 10, 9, 0, host}};
}

Test(affinity, a_client_stays_while_endpoints_come)
{
	struct balanced b = balanced_new(SL_BALANCER_ROUND_ROBIN, 8);
	int before[200];

	b.balance->affinity_ns = 60 * SL_NS_PER_S;
	b.up->n_usable = 4;
	balanced_slots(&b);
	for (int i = 0; i < 200; i++) {
		struct sl_addr client = client_addr((uint8_t)i);
		struct sl_lb_ask ask = {.client = &client};

		before[i] = balanced_pick(&b, &ask);
		client.port = 4242;
		cr_assert_eq(balanced_pick(&b, &ask), before[i]);
	}
	b.up->n_usable = 8;
	balanced_slots(&b);
	b.now_ns += 50 * SL_NS_PER_S;
	for (int i = 0; i < 200; i++) {
		struct sl_addr client = client_addr((uint8_t)i);

		cr_assert_eq(balanced_pick(&b, &(struct sl_lb_ask){.client = &client}), before[i]);
	}
	balanced_free(&b);
	check_leaks();
}

Test(affinity, it_ends_after_its_time)
{
	struct balanced b = balanced_new(SL_BALANCER_ROUND_ROBIN, 8);
	uint32_t n_moved = 0;

	b.balance->affinity_ns = 60 * SL_NS_PER_S;
	for (int step = 0; step < 2; step++) {
		b.up->n_usable = step ? 8 : 1;
		balanced_slots(&b);
		for (int i = 0; i < 200; i++) {
			struct sl_addr client = client_addr((uint8_t)i);

			n_moved += balanced_pick(&b, &(struct sl_lb_ask){.client = &client}) > 0;
		}
		b.now_ns += 61 * SL_NS_PER_S;
	}
	cr_expect_gt(n_moved, 100);
	balanced_free(&b);
}

Test(affinity, out_of_memory_hashing_alone_decides)
{
	struct balanced b = balanced_new(SL_BALANCER_ROUND_ROBIN, 8);
	struct sl_addr client = client_addr(7);
	struct sl_lb_ask ask = {.client = &client};

	b.balance->affinity_ns = 60 * SL_NS_PER_S;
	balanced_slots(&b);
	for (long n = 0; n < 6; n++) {
		(void)sl_alloc_fail_after(n);
		cr_expect_geq(balanced_pick(&b, &ask), 0);
	}
	(void)sl_alloc_fail_after(-1);
	balanced_free(&b);
	check_leaks();
}

/* ---- ejection ---- */

static void set_outliers(struct balanced *b)
{
	b->balance->outliers = (struct sl_outliers){.in_a_row = {3, 2, 1},
						    .interval_ns = 10 * SL_NS_PER_S,
						    .ejection_ns = 5 * SL_NS_PER_S,
						    .max_ejection_ns = 12 * SL_NS_PER_S,
						    .max_percent = 50};
}

static bool report(struct balanced *b, uint32_t endpoint, enum sl_outcome outcome)
{
	struct sl_lb_lease l = {0};

	cr_assert_eq(sl_lb_begin(&l, b->up, &b->endpoints[endpoint]), SL_LB_GRANTED);
	return sl_lb_end(&l, outcome, 0, b->now_ns);
}

Test(outlier, errors_in_a_row_eject)
{
	static const struct {
		const char *name, *outcomes; /* 5xx, gateway, connect, ok, none */
		bool ejected;
	} cases[] = {
		{"two of three", "55", false},
		{"three", "555", true},
		{"with a good one", "5o55", false},
		{"nothing learned between", "5n5n5", true},
		{"gateway", "gg", true},
		{"one gateway", "5g", false},
		{"gateway counts as 5xx", "5g5", true},
		{"5xx between gateways", "g5g", true},
		{"connect", "c", true},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct balanced b = balanced_new(SL_BALANCER_ROUND_ROBIN, 2);
		bool ejected = false;

		set_outliers(&b);
		for (const char *c = cases[i].outcomes; *c; c++)
			ejected = report(&b, 0,
					 *c == '5'   ? SL_OUTCOME_5XX
					 : *c == 'g' ? SL_OUTCOME_GATEWAY
					 : *c == 'c' ? SL_OUTCOME_CONNECT
					 : *c == 'o' ? SL_OUTCOME_OK
						     : SL_OUTCOME_NONE);
		cr_expect_eq(ejected, cases[i].ejected, "%s", cases[i].name);
		cr_expect_eq(sl_lb_is_ejected(b.up, 0, b.now_ns), cases[i].ejected, "%s",
			     cases[i].name);
		balanced_free(&b);
	}
}

Test(outlier, errors_far_apart_are_not_in_a_row)
{
	struct balanced b = balanced_new(SL_BALANCER_ROUND_ROBIN, 2);

	set_outliers(&b);
	for (int i = 0; i < 10; i++) {
		cr_expect_not(report(&b, 0, SL_OUTCOME_5XX));
		b.now_ns += 11 * SL_NS_PER_S;
	}
	balanced_free(&b);
}

Test(outlier, an_ejected_endpoint_comes_back_and_goes_for_longer)
{
	static const uint64_t seconds[] = {5, 10, 12, 12};
	struct balanced b = balanced_new(SL_BALANCER_ROUND_ROBIN, 2);

	set_outliers(&b);
	for (size_t k = 0; k < sizeof(seconds) / sizeof(*seconds); k++) {
		uint32_t picks[2] = {0};

		cr_expect(report(&b, 0, SL_OUTCOME_CONNECT));
		count(&b, &nothing, 10, picks);
		cr_expect_eq(picks[0], 0);
		b.now_ns += seconds[k] * SL_NS_PER_S - 1;
		cr_expect(sl_lb_is_ejected(b.up, 0, b.now_ns), "ejection %zu", k);
		b.now_ns += 1;
		count(&b, &nothing, 10, picks);
		cr_expect_eq(picks[0], 5, "ejection %zu", k);
	}
	b.now_ns += 12 * SL_NS_PER_S;
	cr_expect(report(&b, 0, SL_OUTCOME_CONNECT));
	cr_expect_not(sl_lb_is_ejected(b.up, 0, b.now_ns + 5 * SL_NS_PER_S),
		      "it was well for long");
	balanced_free(&b);
}

Test(outlier, only_a_part_is_ejected)
{
	struct balanced b = balanced_new(SL_BALANCER_ROUND_ROBIN, 5);
	uint32_t n = 0;

	set_outliers(&b);
	for (uint32_t i = 0; i < 5; i++)
		n += report(&b, i, SL_OUTCOME_CONNECT);
	cr_expect_eq(n, 2, "half of five");
	balanced_free(&b);
}

Test(outlier, when_all_are_ejected_none_is)
{
	struct balanced b = balanced_new(SL_BALANCER_LEAST_REQUEST, 3);
	uint32_t picks[3] = {0};

	set_outliers(&b);
	b.balance->outliers.max_percent = 100;
	for (uint32_t i = 0; i < 3; i++)
		cr_expect(report(&b, i, SL_OUTCOME_CONNECT));
	count(&b, &nothing, 300, picks);
	cr_expect(picks[0] && picks[1] && picks[2]);
	balanced_free(&b);
}

/* ---- limits ---- */

Test(breaker, requests_of_service_and_endpoint_are_limited)
{
	struct balanced b = balanced_new(SL_BALANCER_ROUND_ROBIN, 2);
	struct sl_lb_lease l[4] = {0};

	b.balance->limits = (struct sl_breaker){.requests = 3, .endpoint_requests = 2};
	cr_expect_eq(sl_lb_begin(&l[0], b.up, &b.endpoints[0]), SL_LB_GRANTED);
	cr_expect_eq(sl_lb_begin(&l[1], b.up, &b.endpoints[0]), SL_LB_GRANTED);
	cr_expect_eq(sl_lb_begin(&l[2], b.up, &b.endpoints[0]), SL_LB_REQUESTS);
	cr_expect_eq(balanced_pick(&b, &nothing), 1, "the full one is passed over");
	cr_expect_eq(balanced_pick(&b, &(struct sl_lb_ask){.avoid = &b.endpoints[1].addr}), 1,
		     "even if the other is to be avoided");
	cr_expect_eq(sl_lb_begin(&l[2], b.up, &b.endpoints[1]), SL_LB_GRANTED);
	cr_expect_eq(sl_lb_begin(&l[3], b.up, &b.endpoints[1]), SL_LB_REQUESTS);
	(void)sl_lb_end(&l[0], SL_OUTCOME_OK, 0, b.now_ns);
	cr_expect_eq(sl_lb_begin(&l[3], b.up, &b.endpoints[1]), SL_LB_GRANTED);
	cr_expect_eq(sl_lb_begin(&l[0], b.up, &b.endpoints[0]), SL_LB_REQUESTS);
	for (int i = 0; i < 4; i++)
		(void)sl_lb_end(&l[i], SL_OUTCOME_OK, 0, b.now_ns);
	cr_expect_eq(atomic_load(&b.balance->load->requests), 0);
	cr_expect_eq(atomic_load(&b.balance->loads[0]->requests), 0);
	balanced_free(&b);
	check_leaks();
}

Test(breaker, connections_and_those_who_wait_are_limited)
{
	struct balanced b = balanced_new(SL_BALANCER_ROUND_ROBIN, 2);
	struct sl_lb_lease request[2] = {0}, conn[3] = {0};

	b.balance->limits = (struct sl_breaker){.connections = 2,
						.endpoint_connections = 1,
						.pending = 1,
						.requests_per_connection = 9};
	for (int i = 0; i < 2; i++)
		cr_assert_eq(sl_lb_begin(&request[i], b.up, &b.endpoints[i]), SL_LB_GRANTED);
	cr_expect_eq(sl_lb_connect(&conn[0], &request[0]), SL_LB_GRANTED);
	cr_expect_eq(sl_lb_connect(&conn[1], &request[0]), SL_LB_CONNECTIONS);
	cr_expect_eq(sl_lb_connect(&conn[1], &request[1]), SL_LB_GRANTED);
	cr_expect_eq(sl_lb_connect(&conn[2], &request[1]), SL_LB_CONNECTIONS);
	cr_expect_eq(sl_lb_wait(&request[0]), SL_LB_GRANTED);
	cr_expect_eq(sl_lb_wait(&request[0]), SL_LB_GRANTED, "it does already");
	cr_expect_eq(sl_lb_wait(&request[1]), SL_LB_PENDING);
	sl_lb_waited(&request[0]);
	cr_expect_eq(sl_lb_wait(&request[1]), SL_LB_GRANTED);
	cr_expect_eq(sl_lb_requests_per_connection(&conn[0]), 9);
	for (int i = 0; i < 2; i++) {
		(void)sl_lb_end(&request[i], SL_OUTCOME_NONE, 0, b.now_ns);
		sl_lb_disconnect(&conn[i]);
		sl_lb_disconnect(&conn[i]);
	}
	cr_expect_eq(atomic_load(&b.balance->load->pending), 0);
	cr_expect_eq(atomic_load(&b.balance->load->connections), 0);
	balanced_free(&b);
	check_leaks();
}

Test(breaker, without_a_policy_nothing_is_leased)
{
	struct balanced b = balanced_new(SL_BALANCER_ROUND_ROBIN, 2);
	struct sl_lb_lease l = {0}, conn = {0};
	struct sl_upstream plain = {.endpoints = b.endpoints, .n_endpoints = 2, .n_usable = 2};

	cr_expect_eq(sl_lb_begin(&l, &plain, &b.endpoints[0]), SL_LB_GRANTED);
	cr_expect_eq(sl_lb_connect(&conn, &l), SL_LB_GRANTED);
	cr_expect_eq(sl_lb_wait(&l), SL_LB_GRANTED);
	cr_expect_not(sl_lb_end(&l, SL_OUTCOME_CONNECT, 0, 1));
	sl_lb_disconnect(&conn);
	cr_expect_null(l.up);
	balanced_free(&b);
}
