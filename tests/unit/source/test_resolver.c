/* SPDX-License-Identifier: Apache-2.0 */
/* The resolver and a DNS server in one loop. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include "base/alloc.h"
#include "base/clock.h"
#include "loop/loop.h"
#include "resource/decode.h"
#include "source/resolver.h"

enum { NXDOMAIN = 3, SERVFAIL = 2, TYPE_A = 1 };

struct fixture {
	struct sl_loop *loop;
	struct sl_watch watch;
	struct sl_resolver *resolver;
	struct sl_model *model;
	uint8_t code, last_byte; /* of the answers: 10.0.0.last_byte */
	unsigned n_asked, n_changed;
};

static void on_query(struct sl_watch *w, uint32_t events)
{
	struct fixture *f = sl_container_of(w, struct fixture, watch);
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	uint8_t m[1024];
	ssize_t n = recvfrom(w->fd, m, 512, 0, (struct sockaddr *)&from, &len);
	size_t end = 12;

	if (n < 12)
		return;
	while (m[end])
		end += m[end] + 1u;
	end += 5; /* the root label, type, class */
	f->n_asked++;
	m[2] = 0x81;
	m[3] = 0x80 | f->code;
	m[7] = !f->code && m[end - 3] == TYPE_A;
	memset(m + 8, 0, 4);
	if (m[7]) {
		const uint8_t record[] = {0xc0, 12, 0, 1, 0,  1, 0, 0,
					  0,	0,  0, 4, 10, 0, 0, f->last_byte};

		memcpy(m + end, record, sizeof(record));
		end += sizeof(record);
	}
	(void)sendto(w->fd, m, end, 0, (struct sockaddr *)&from, len);
}

static void on_changed(void *arg)
{
	((struct fixture *)arg)->n_changed++;
}

static void set_up(struct fixture *f)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	char servers[64];
	struct sl_resolver_opts opts = {.servers = servers, .changed = on_changed, .arg = f};

	*f = (struct fixture){.watch = SL_WATCH_INIT, .last_byte = 1};
	cr_assert_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	(void)snprintf(servers, sizeof(servers), "127.0.0.1:%u", ntohs(at.sin_port));
	cr_assert_eq(sl_loop_new(&f->loop), 0);
	cr_assert_eq(sl_model_new(&f->model), 0);
	cr_assert_eq(sl_watch_add(f->loop, &f->watch, fd, EPOLLIN, on_query), 0);
	cr_assert_eq(sl_resolver_new(f->loop, &opts, &f->resolver), 0);
}

static void tear_down(struct fixture *f)
{
	int fd = f->watch.fd;

	sl_resolver_free(f->resolver);
	sl_watch_remove(&f->watch);
	(void)close(fd);
	sl_model_free(f->model);
	sl_loop_free(f->loop);
}

static void name(struct fixture *f, const char *object, const char *host)
{
	struct sl_object *o;

	cr_assert_eq(sl_object_new(SL_KIND_XBACKEND, &o), 0);
	o->meta.namespace = SL_STR("shop");
	o->meta.name = sl_str_from(object);
	((struct sl_xbackend *)o)->hostname = sl_str_from(host);
	cr_assert_eq(sl_model_put(f->model, o), 0);
	sl_object_unref(o);
}

static const struct sl_host *host_of(const struct fixture *f, const char *host)
{
	return sl_hosts_get(sl_resolver_hosts(f->resolver), sl_str_from(host));
}

static bool is_at(const struct fixture *f, const char *host, uint8_t last_byte)
{
	const struct sl_host *h = host_of(f, host);

	return h && h->n_addrs == 1 && h->addrs[0].ip[15] == last_byte;
}

#define ROUNDS_UNTIL(f, condition)                                                    \
	do {                                                                          \
		uint64_t end = sl_clock_now_ns() + 20 * SL_NS_PER_S;                  \
                                                                                      \
		while (!(condition) && sl_clock_now_ns() < end)                       \
			cr_assert_eq(sl_loop_round((f)->loop, 50 * SL_NS_PER_MS), 0); \
		cr_assert(condition);                                                 \
	} while (0)

Test(resolver, follows_what_the_model_names)
{
	struct fixture f;

	set_up(&f);
	cr_expect(sl_resolver_is_settled(f.resolver));
	name(&f, "x", "a.example");
	name(&f, "y", "a.example");
	name(&f, "pods", "");
	cr_assert_eq(sl_resolver_follow(f.resolver, f.model), 0);
	cr_expect_not(sl_resolver_is_settled(f.resolver));
	ROUNDS_UNTIL(&f, sl_resolver_is_settled(f.resolver) && f.n_changed == 1);
	cr_expect(is_at(&f, "a.example", 1));
	cr_expect_eq(f.n_asked, 2, "one name, A and AAAA");
	name(&f, "y", "b.example");
	sl_model_remove(f.model, SL_KIND_XBACKEND, SL_STR("shop"), SL_STR("x"));
	cr_assert_eq(sl_resolver_follow(f.resolver, f.model), 0);
	cr_expect_null(host_of(&f, "a.example"));
	ROUNDS_UNTIL(&f, is_at(&f, "b.example", 1));
	tear_down(&f);
}

Test(resolver, asks_again_and_tells_of_what_is_new)
{
	struct fixture f;
	const struct sl_host *before;
	unsigned n_asked;

	set_up(&f);
	name(&f, "x", "a.example");
	cr_assert_eq(sl_resolver_follow(f.resolver, f.model), 0);
	ROUNDS_UNTIL(&f, f.n_changed == 1);
	before = host_of(&f, "a.example");
	n_asked = f.n_asked;
	ROUNDS_UNTIL(&f, f.n_asked >= n_asked + 2);
	f.last_byte = 2;
	cr_expect_eq(f.n_changed, 1, "the same is nothing new");
	cr_expect_eq(host_of(&f, "a.example"), before);
	ROUNDS_UNTIL(&f, is_at(&f, "a.example", 2) && f.n_changed == 2);
	f.code = SERVFAIL;
	n_asked = f.n_asked;
	ROUNDS_UNTIL(&f, f.n_asked >= n_asked + 4);
	cr_expect(is_at(&f, "a.example", 2), "no answer leaves the last one");
	f.code = NXDOMAIN;
	ROUNDS_UNTIL(&f, f.n_changed == 3);
	cr_expect_eq(host_of(&f, "a.example")->n_addrs, 0);
	tear_down(&f);
}

Test(resolver, may_end_while_it_asks)
{
	struct fixture f;

	set_up(&f);
	name(&f, "x", "a.example");
	name(&f, "y", "b.example");
	cr_assert_eq(sl_resolver_follow(f.resolver, f.model), 0);
	cr_assert_eq(sl_loop_round(f.loop, 0), 0);
	cr_assert_eq(sl_loop_round(f.loop, 10 * SL_NS_PER_MS), 0);
	/* One that nobody wants any more, one that is wanted still. */
	sl_model_remove(f.model, SL_KIND_XBACKEND, SL_STR("shop"), SL_STR("x"));
	cr_assert_eq(sl_resolver_follow(f.resolver, f.model), 0);
	tear_down(&f);
}

Test(resolver, memory_can_end_anywhere)
{
	struct fixture f;

	set_up(&f);
	name(&f, "x", "a.example");
	name(&f, "y", "b.example");
	for (long n = 0;; n++) {
		int r;

		(void)sl_alloc_fail_after(n);
		r = sl_resolver_follow(f.resolver, f.model);
		(void)sl_alloc_fail_after(-1);
		if (!r)
			break;
		cr_assert_eq(r, -ENOMEM);
	}
	for (long n = 0; n < 8; n++) {
		(void)sl_alloc_fail_after(n);
		(void)sl_loop_round(f.loop, SL_NS_PER_MS);
		(void)sl_alloc_fail_after(-1);
	}
	ROUNDS_UNTIL(&f, is_at(&f, "a.example", 1) && is_at(&f, "b.example", 1));
	tear_down(&f);
}

Test(resolver, servers_have_to_be_addresses)
{
	struct sl_resolver_opts opts = {.servers = "no address", .changed = on_changed};
	struct sl_resolver *r = NULL;
	struct sl_loop *loop;

	cr_assert_eq(sl_loop_new(&loop), 0);
	cr_expect_eq(sl_resolver_new(loop, &opts, &r), -EINVAL);
	cr_expect_null(r);
	sl_loop_free(loop);
}
