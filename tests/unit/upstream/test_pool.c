/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include "../../lib/leak.h"
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "upstream/upstream.h"

#define DEADLINE_NS (10 * SL_NS_PER_S)

static size_t n_destroyed;

struct conn {
	struct sl_pooled pooled;
	int peer;
	int id;
};

static struct sl_loop *loop;
static struct sl_pool *pool;
static struct sl_addr here, there;

static void set_up(void)
{
	cr_assert_eq(sl_loop_new(&loop), 0);
	cr_assert_eq(sl_pool_new(loop, NULL, &pool), 0);
	cr_assert_eq(sl_addr_parse(SL_STR("10.0.0.1:80"), &here), 0);
	cr_assert_eq(sl_addr_parse(SL_STR("10.0.0.2:80"), &there), 0);
}

static void use_pool(const struct sl_pool_opts *opts)
{
	pool = sl_pool_free(pool);
	cr_assert_eq(sl_pool_new(loop, opts, &pool), 0);
}

static void tear_down(void)
{
	pool = sl_pool_free(pool);
	loop = sl_loop_free(loop);
}

TestSuite(pool, .init = set_up, .fini = tear_down);

static void destroy(struct sl_pooled *p)
{
	struct conn *c = sl_container_of(p, struct conn, pooled);

	sl_watch_remove(&p->watch);
	(void)close(p->watch.fd);
	(void)close(c->peer);
	free(c);
	n_destroyed++;
}

static void not_ours(struct sl_watch *w, uint32_t events)
{
	(void)w;
	(void)events;
}

static struct conn *adopt(int fd, int peer, uint64_t source, const struct sl_addr *endpoint, int id)
{
	struct conn *c = sl_new(struct conn);

	cr_assert_not_null(c);
	*c = (struct conn){.peer = peer, .id = id};
	c->pooled.source = source;
	c->pooled.endpoint = *endpoint;
	c->pooled.destroy = destroy;
	cr_assert_eq(sl_watch_add(loop, &c->pooled.watch, fd,
				  EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, not_ours),
		     0);
	return c;
}

static struct conn *give(uint64_t source, const struct sl_addr *endpoint, int id)
{
	struct conn *c;
	int fds[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	c = adopt(fds[0], fds[1], source, endpoint, id);
	sl_pool_give(pool, &c->pooled);
	return c;
}

/* Id of the connection taken (which is destroyed), or -1. */
static int take_for(uint64_t source, const struct sl_addr *endpoint, bool again)
{
	struct sl_pooled *p = sl_pool_take(pool, source, endpoint, 0, again, NULL);
	int id;

	if (!p)
		return -1;
	id = sl_container_of(p, struct conn, pooled)->id;
	cr_assert_eq(p->source, source);
	destroy(p);
	return id;
}

static int take(uint64_t source, const struct sl_addr *endpoint)
{
	return take_for(source, endpoint, false);
}

static void rounds_until_idle_is(size_t n)
{
	uint64_t deadline = sl_clock_now_ns() + DEADLINE_NS;

	while (sl_pool_n_idle(pool) != n) {
		cr_assert_lt(sl_clock_now_ns(), deadline, "%zu idle, not %zu", sl_pool_n_idle(pool),
			     n);
		cr_assert_eq(sl_loop_round(loop, SL_NS_PER_S), 0);
	}
}

/* ---- leasing ---- */

Test(pool, the_most_recently_used_comes_first)
{
	for (int id = 0; id < 3; id++)
		(void)give(1, &here, id);
	cr_assert_eq(sl_pool_n_idle(pool), 3);
	cr_assert_eq(take(1, &here), 2);
	cr_assert_eq(take(1, &here), 1);
	(void)give(1, &here, 7);
	cr_assert_eq(take(1, &here), 7);
	cr_assert_eq(take(1, &here), 0);
	cr_assert_eq(take(1, &here), -1);
	cr_assert_eq(sl_pool_n_idle(pool), 0);
}

Test(pool, sources_endpoints_and_ports_share_nothing)
{
	struct sl_addr other_port = here;

	other_port.port++;
	(void)give(1, &here, 0);
	cr_assert_eq(take(2, &here), -1);
	cr_assert_eq(take(1, &there), -1);
	cr_assert_eq(take(1, &other_port), -1);
	cr_assert_eq(take(1, &here), 0);
}

Test(pool, a_lease_keeps_the_watch)
{
	struct conn *c = give(1, &here, 0);
	struct sl_pooled *p = sl_pool_take(pool, 1, &here, 0, false, NULL);

	cr_assert_eq(p, &c->pooled);
	cr_assert_eq(p->watch.loop, loop);
	sl_pool_give(pool, p);
	cr_assert_eq(sl_pool_n_idle(pool), 1);
	cr_assert_eq(take(1, &here), 0);
}

/* ---- what peers do ---- */

Test(pool, a_connection_that_is_only_writable_stays)
{
	(void)give(1, &here, 0);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(sl_loop_round(loop, 0), 0);
	cr_assert_eq(sl_pool_n_idle(pool), 1);
}

Test(pool, what_the_peer_closes_goes)
{
	struct conn *closed = give(1, &here, 0);

	(void)give(1, &here, 1);
	cr_assert_eq(shutdown(closed->peer, SHUT_RDWR), 0);
	rounds_until_idle_is(1);
	cr_assert_eq(take(1, &here), 1);
}

Test(pool, what_the_peer_half_closes_goes)
{
	struct conn *c = give(1, &here, 0);

	cr_assert_eq(shutdown(c->peer, SHUT_WR), 0);
	rounds_until_idle_is(0);
}

Test(pool, what_speaks_unasked_goes)
{
	struct conn *c = give(1, &here, 0);

	cr_assert_eq(send(c->peer, "x", 1, 0), 1);
	rounds_until_idle_is(0);
}

Test(pool, a_close_that_the_loop_has_not_seen_is_found_when_taking)
{
	struct conn *closed, *spoke;

	(void)give(1, &here, 0);
	closed = give(1, &here, 1);
	spoke = give(1, &here, 2);
	cr_assert_eq(shutdown(closed->peer, SHUT_WR), 0);
	cr_assert_eq(send(spoke->peer, "x", 1, 0), 1);
	n_destroyed = 0;
	cr_assert_eq(take(1, &here), 0);
	cr_assert_eq(n_destroyed, 3);
	cr_assert_eq(sl_pool_n_idle(pool), 0);
}

/* What may be sent again goes to one that the loop has looked at, without another look. */
Test(pool, what_happened_since_the_last_look_is_not_seen_where_it_does_no_harm)
{
	struct conn *looked_at = give(1, &here, 0), *fresh;

	looked_at->pooled.served = true;
	cr_assert_eq(sl_loop_round(loop, 0), 0);
	fresh = give(1, &here, 1);
	fresh->pooled.served = true;
	cr_assert_eq(shutdown(looked_at->peer, SHUT_WR), 0);
	cr_assert_eq(take_for(1, &here, true), 0, "the one that came back just now is taken");
	/* It is all there is: asked for. */
	cr_assert_eq(take_for(1, &here, true), 1);
	looked_at = give(1, &here, 2);
	looked_at->pooled.served = true;
	cr_assert_eq(sl_loop_round(loop, 0), 0);
	cr_assert_eq(shutdown(looked_at->peer, SHUT_WR), 0);
	cr_assert_eq(take_for(1, &here, false), -1, "sent once, and that to a closed connection");
}

Test(pool, one_that_came_back_just_now_is_looked_at_when_taking)
{
	struct conn *closed = give(1, &here, 0);

	closed->pooled.served = true;
	cr_assert_eq(shutdown(closed->peer, SHUT_WR), 0);
	cr_assert_eq(take_for(1, &here, true), -1);
}

/* A request that it fails is not sent again, so it must not fail. */
Test(pool, one_that_has_not_served_is_looked_at_when_taking)
{
	struct conn *closed = give(1, &here, 0);

	cr_assert_eq(sl_loop_round(loop, 0), 0);
	cr_assert_eq(shutdown(closed->peer, SHUT_WR), 0);
	cr_assert_eq(take_for(1, &here, true), -1);
}

Test(pool, what_closed_before_the_last_look_is_gone)
{
	struct conn *closed = give(1, &here, 0);

	closed->pooled.served = true;
	cr_assert_eq(sl_loop_round(loop, 0), 0);
	cr_assert_eq(shutdown(closed->peer, SHUT_WR), 0);
	cr_assert_eq(sl_loop_round(loop, 0), 0);
	cr_assert_eq(take_for(1, &here, true), -1);
}

Test(pool, a_tcp_reset_ends_it)
{
	struct linger reset = {.l_onoff = 1};
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sin);
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0), peer;
	struct conn *c;

	cr_assert_eq(bind(listener, (struct sockaddr *)&sin, len), 0);
	cr_assert_eq(listen(listener, 1), 0);
	cr_assert_eq(getsockname(listener, (struct sockaddr *)&sin, &len), 0);
	cr_assert_eq(connect(fd, (struct sockaddr *)&sin, len), 0);
	peer = accept(listener, NULL, NULL);
	cr_assert_geq(peer, 0);
	c = adopt(fd, -1, 1, &here, 0);
	sl_pool_give(pool, &c->pooled);
	cr_assert_eq(sl_loop_round(loop, 0), 0);
	cr_assert_eq(sl_pool_n_idle(pool), 1);
	cr_assert_eq(setsockopt(peer, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
	(void)close(peer);
	rounds_until_idle_is(0);
	(void)close(listener);
}

/* ---- limits ---- */

Test(pool, the_oldest_of_an_endpoint_goes_first_at_its_limit)
{
	use_pool(&(struct sl_pool_opts){.max_idle_per_key = 2});
	for (int id = 0; id < 4; id++)
		(void)give(1, &here, id);
	(void)give(1, &there, 9);
	cr_assert_eq(sl_pool_n_idle(pool), 3);
	cr_assert_eq(take(1, &here), 3);
	cr_assert_eq(take(1, &here), 2);
	cr_assert_eq(take(1, &here), -1);
	cr_assert_eq(take(1, &there), 9);
}

Test(pool, the_oldest_of_all_goes_first_at_the_total_limit)
{
	use_pool(&(struct sl_pool_opts){.max_idle = 2});
	(void)give(1, &here, 0);
	(void)give(2, &here, 1);
	(void)give(3, &there, 2);
	cr_assert_eq(sl_pool_n_idle(pool), 2);
	cr_assert_eq(take(1, &here), -1);
	cr_assert_eq(take(2, &here), 1);
	cr_assert_eq(take(3, &there), 2);
}

Test(pool, many_endpoints_in_turn_stay_within_the_limits)
{
	struct sl_addr a = here;

	use_pool(&(struct sl_pool_opts){.max_idle = 4});
	for (uint16_t port = 1; port < 200; port++) {
		a.port = port;
		(void)give(1, &a, port);
		if (port % 3 == 0)
			cr_assert_eq(take(1, &a), port);
		cr_assert_leq(sl_pool_n_idle(pool), 4);
	}
}

Test(pool, idle_connections_expire_oldest_first)
{
	use_pool(&(struct sl_pool_opts){.idle_timeout_ns = 30 * SL_NS_PER_MS});
	(void)give(1, &here, 0);
	(void)give(2, &there, 1);
	rounds_until_idle_is(0);
	/* And what comes later expires too, also in what was emptied meanwhile. */
	(void)give(1, &here, 2);
	rounds_until_idle_is(0);
}

Test(pool, use_puts_expiry_off)
{
	const uint64_t timeout_ns = 200 * SL_NS_PER_MS;
	uint64_t start = sl_clock_now_ns(), given = sl_loop_now(loop);
	struct sl_pooled *p;
	int n = 0;

	use_pool(&(struct sl_pool_opts){.idle_timeout_ns = timeout_ns});
	(void)give(1, &here, n++);
	while (sl_clock_now_ns() < start + timeout_ns * 3 / 2) {
		cr_assert_eq(sl_loop_round(loop, 5 * SL_NS_PER_MS), 0);
		p = sl_pool_take(pool, 1, &here, 0, false, NULL);
		if (p) {
			sl_pool_give(pool, p);
		} else {
			/* This very test was held up for so long: from the start. */
			cr_assert_geq(sl_clock_now_ns(), given + timeout_ns);
			cr_assert_lt(n, 100, "a pooled connection does not stay");
			(void)give(1, &here, n++);
			start = sl_clock_now_ns();
		}
		given = sl_loop_now(loop);
	}
	rounds_until_idle_is(0);
	cr_assert_geq(sl_clock_now_ns(), given + timeout_ns);
}

/* ---- what goes away ---- */

Test(pool, dropping_a_source_leaves_the_others)
{
	(void)give(1, &here, 0);
	(void)give(1, &there, 1);
	(void)give(2, &here, 2);
	cr_assert_eq(take(1, &there), 1);
	sl_pool_drop_source(pool, 1);
	cr_assert_eq(sl_pool_n_idle(pool), 1);
	cr_assert_eq(take(1, &here), -1);
	cr_assert_eq(take(2, &here), 2);
	(void)give(1, &here, 3);
	cr_assert_eq(take(1, &here), 3);
}

/* One upstream with one or two endpoints. */
struct fixture {
	struct sl_endpoint endpoints[2];
	struct sl_upstream up;
	struct sl_snapshot snap;
};

static void make_snapshot(struct fixture *f, const struct sl_addr *one, const struct sl_addr *two)
{
	*f = (struct fixture){.endpoints[0].addr = *one};
	if (two)
		f->endpoints[1].addr = *two;
	f->up.key = SL_STR("a/b:80");
	f->up.endpoints = f->endpoints;
	f->up.n_endpoints = two ? 2 : 1; /* none is ready: that alone closes nothing */
	sl_part_init(&f->up.part, NULL);
	cr_assert_eq(sl_pmap_put(&f->snap.upstreams, f->up.key, &f->up.part), 0);
}

static void snapshots_free(struct fixture *a, struct fixture *b)
{
	sl_pmap_deinit(&a->snap.upstreams);
	sl_pmap_deinit(&b->snap.upstreams);
}

Test(pool, pruning_closes_what_an_upstream_lost)
{
	struct fixture before, after;

	(void)give(1, &here, 0);
	(void)give(1, &there, 1);
	(void)give(2, &there, 2);
	make_snapshot(&before, &here, &there);
	make_snapshot(&after, &here, NULL);
	sl_pool_prune(pool, NULL, &before.snap);
	sl_pool_prune(pool, &before.snap, &before.snap);
	sl_pool_prune(pool, &after.snap, &before.snap);
	cr_assert_eq(sl_pool_n_idle(pool), 3);
	sl_pool_prune(pool, &before.snap, &after.snap);
	cr_assert_eq(sl_pool_n_idle(pool), 1);
	cr_assert_eq(take(1, &here), 0);
	sl_pool_prune(pool, &before.snap, &after.snap);
	snapshots_free(&before, &after);
}

Test(pool, pruning_closes_what_a_lost_upstream_had)
{
	struct sl_snapshot none = {0};
	struct fixture before, other;

	use_pool(&(struct sl_pool_opts){.max_idle = 6});
	for (uint64_t source = 1; source <= 6; source++)
		(void)give(source, source % 2 ? &here : &there, 0);
	for (uint64_t source = 7; source <= 12; source++) {
		(void)give(source, &there, 0);
		(void)take(source, &there);
	}
	make_snapshot(&before, &here, &there);
	make_snapshot(&other, &here, NULL);
	sl_pool_prune(pool, &before.snap, &other.snap);
	sl_pool_prune(pool, &other.snap, &none);
	cr_assert_eq(sl_pool_n_idle(pool), 0);
	snapshots_free(&before, &other);
}

struct shared {
	struct sl_shared c;
	bool full, retired;
};

static bool has_room(const struct sl_shared *c)
{
	return !sl_container_of(c, struct shared, c)->full;
}

static void retire(struct sl_shared *c)
{
	cr_assert_null(c->key, "it is out of the pool already");
	sl_container_of(c, struct shared, c)->retired = true;
}

static void share(struct shared *s, uint64_t source, const struct sl_addr *endpoint)
{
	*s = (struct shared){.c = {.source = source,
				   .endpoint = *endpoint,
				   .has_room = has_room,
				   .retire = retire}};
	cr_assert_eq(sl_pool_share(pool, &s->c), 0);
}

Test(pool, connections_of_another_tls_are_never_given)
{
	static struct shared plain, secret; /* likewise */
	int fds[2];
	struct conn *c;

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	c = adopt(fds[0], fds[1], 1, &here, 0);
	c->pooled.tls = 7;
	sl_pool_give(pool, &c->pooled);
	cr_assert_eq(take(1, &here), -1);
	cr_assert_null(sl_pool_take(pool, 1, &here, 8, false, NULL));
	cr_assert_eq(sl_pool_take(pool, 1, &here, 7, false, NULL), &c->pooled);
	destroy(&c->pooled);
	share(&plain, 1, &here);
	secret = plain;
	secret.c.key = NULL;
	secret.c.tls = 7;
	cr_assert_eq(sl_pool_share(pool, &secret.c), 0);
	cr_assert_eq(sl_pool_find_shared(pool, 1, &here, 7), &secret.c);
	cr_assert_eq(sl_pool_find_shared(pool, 1, &here, 0), &plain.c);
	cr_assert_null(sl_pool_find_shared(pool, 1, &here, 8));
	sl_pool_unshare(&plain.c);
	sl_pool_unshare(&secret.c);
}

Test(pool, pruning_closes_what_speaks_another_tls)
{
	struct fixture before, after;

	(void)give(1, &here, 0);
	make_snapshot(&before, &here, &there);
	make_snapshot(&after, &here, &there);
	after.up.tls = (struct sl_tls_context *)&after; /* it is only told from others */
	sl_pool_prune(pool, &before.snap, &after.snap);
	cr_assert_eq(sl_pool_n_idle(pool), 0);
	after.up.tls = NULL;
	snapshots_free(&before, &after);
}

Test(pool, pruning_without_memory_closes_everything)
{
	struct fixture before, after;

	(void)give(1, &here, 0);
	make_snapshot(&before, &here, &there);
	make_snapshot(&after, &here, NULL);
	(void)sl_alloc_fail_after(0);
	sl_pool_prune(pool, &before.snap, &after.snap);
	(void)sl_alloc_fail_after(-1);
	cr_assert_eq(sl_pool_n_idle(pool), 0);
	snapshots_free(&before, &after);
}

Test(pool, freeing_destroys_what_is_inside)
{
	(void)give(1, &here, 0);
	(void)give(2, &there, 0);
	n_destroyed = 0;
	pool = sl_pool_free(pool);
	cr_assert_eq(n_destroyed, 2);
	cr_assert_null(sl_pool_free(NULL));
}

Test(pool, giving_without_memory_destroys)
{
	struct sl_pool *p = NULL;
	bool kept = false;

	(void)sl_alloc_fail_after(0);
	cr_assert_eq(sl_pool_new(loop, NULL, &p), -ENOMEM);
	(void)sl_alloc_fail_after(-1);
	for (long n = 0; !kept; n++) {
		struct conn *c;
		int fds[2];

		cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
		c = adopt(fds[0], fds[1], 1, &here, 0);
		n_destroyed = 0;
		(void)sl_alloc_fail_after(n);
		sl_pool_give(pool, &c->pooled);
		(void)sl_alloc_fail_after(-1);
		kept = sl_pool_n_idle(pool) == 1;
		cr_assert_eq(n_destroyed, kept ? 0 : 1);
		cr_assert_lt(n, 10);
	}
	pool = sl_pool_free(pool);
	check_leaks();
}

/* ---- connections that exchanges share ---- */

Test(pool, the_oldest_with_room_is_shared)
{
	static struct shared a, b, other; /* the pool lives longer than the test */

	cr_assert_null(sl_pool_find_shared(pool, 1, &here, 0));
	share(&a, 1, &here);
	share(&b, 1, &here);
	share(&other, 2, &here);
	cr_assert_eq(sl_pool_find_shared(pool, 1, &here, 0), &a.c);
	a.full = true;
	cr_assert_eq(sl_pool_find_shared(pool, 1, &here, 0), &b.c);
	b.full = true;
	cr_assert_null(sl_pool_find_shared(pool, 1, &here, 0));
	cr_assert_null(sl_pool_find_shared(pool, 1, &there, 0));
	a.full = b.full = false;
	sl_pool_unshare(&a.c);
	sl_pool_unshare(&a.c); /* once is enough */
	cr_assert_eq(sl_pool_find_shared(pool, 1, &here, 0), &b.c);
	cr_assert_not(a.retired || b.retired || other.retired);
}

Test(pool, shared_and_idle_connections_are_told_apart)
{
	struct shared a;

	(void)give(1, &here, 1);
	share(&a, 1, &here);
	cr_assert_eq(sl_pool_n_idle(pool), 1);
	cr_assert_eq(sl_pool_find_shared(pool, 1, &here, 0), &a.c);
	sl_pool_drop_source(pool, 2);
	cr_assert_eq(sl_pool_n_idle(pool), 1);
	cr_assert_not(a.retired);
	sl_pool_unshare(&a.c);
	cr_assert_eq(sl_pool_n_idle(pool), 1);
	cr_assert_null(sl_pool_find_shared(pool, 1, &here, 0));
}

Test(pool, a_source_takes_its_shared_connections_along)
{
	struct shared a, b;

	share(&a, 1, &here);
	share(&b, 2, &here);
	sl_pool_drop_source(pool, 1);
	cr_assert(a.retired && !b.retired);
	cr_assert_null(sl_pool_find_shared(pool, 1, &here, 0));
	cr_assert_eq(sl_pool_find_shared(pool, 2, &here, 0), &b.c);
	pool = sl_pool_free(pool);
	cr_assert(b.retired);
	use_pool(NULL);
}

Test(pool, sharing_without_memory_fails)
{
	struct shared a = {
		.c = {.source = 1, .endpoint = here, .has_room = has_room, .retire = retire}};
	long n = 0;
	int r;

	do {
		(void)sl_alloc_fail_after(n++);
		r = sl_pool_share(pool, &a.c);
		(void)sl_alloc_fail_after(-1);
		cr_assert_eq(!r, sl_pool_find_shared(pool, 1, &here, 0) == &a.c);
	} while (r);
	cr_assert_gt(n, 1);
	sl_pool_unshare(&a.c);
}
