/* SPDX-License-Identifier: Apache-2.0 */
/* Splicing: who is taken into the map and who is not, in what order bytes arrive, how many may
 * wait. */
#include "hop.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/sendfile.h>
#include <unistd.h>
#include "base/alloc.h"

/* No application can have what the kernel does not: nothing is left to be refused. */
#define HAS_NONE(what) check(true, "%s: this kernel has none", what)

static int pinned(const struct scene *s, const char *name)
{
	char path[400];

	snprintf(path, sizeof(path), "%s/%s", s->bed.pins, name);
	return bpf_obj_get(path);
}

static void test_quiet(struct scene *s, struct sl_hops *table)
{
	const struct sl_hop *hop;
	struct hop h;

	test_begin("nobody is taken in while bytes are under way");
	check(hop_client(&h, s, table), "a hop");
	hop = h.lease.hop;
	check(hop_ask(&h, SL_HOP_ASK) == SL_HOP_ASK && hop->verdict == SL_HOP_UNNUMBERED_VERDICT,
	      "not before own has sent");
	check(own_send(&h, "1") && hop_ask(&h, SL_HOP_ASK) == SL_HOP_ASK &&
		      hop->verdict == SL_HOP_NOT_EMPTY_VERDICT,
	      "not while the app has not read");
	check(app_recv(&h, "1") && app_send(&h, "2") && hop_ask(&h, SL_HOP_ASK) == SL_HOP_ASK,
	      "not while own has not taken");
	check(own_recv(&h, "2"), "taken");
	h.lease.hop->taken--;
	check(hop_ask(&h, SL_HOP_ASK) == SL_HOP_ASK, "nor before it has said so");
	h.lease.hop->taken++;
	h.lease.hop->done++;
	check(hop_ask(&h, SL_HOP_ASK) == SL_HOP_ASK, "nor with a byte on its way to the app");
	h.lease.hop->done--;
	check(hop_ask(&h, SL_HOP_IDLE) == SL_HOP_IDLE, "nor unasked");
	check(hop_ask(&h, SL_HOP_ASK) == SL_HOP_IN && hop->verdict == SL_HOP_TAKEN_IN_VERDICT,
	      "but then");
	check(own_send(&h, "3") && app_recv(&h, "3") && hop->own_redirected == 1, "to the app");
	check(app_send(&h, "4") && own_recv(&h, "4") && hop->app_redirected == 1, "and back");
	hop_close(&h);
}

struct misfit {
	enum sl_unfit_bit bit;
	int level, option, value;
};

static const struct misfit misfits[] = {
	{SL_UNFIT_BIT_ZEROCOPY, SOL_SOCKET, SO_ZEROCOPY, 1},
	{SL_UNFIT_BIT_LOW_WATER, SOL_SOCKET, SO_RCVLOWAT, 2},
	{SL_UNFIT_BIT_PEEK_OFF, SOL_SOCKET, SO_PEEK_OFF, 1},
	{SL_UNFIT_BIT_TIMESTAMPS, SOL_SOCKET, SO_TIMESTAMP, 1},
	{SL_UNFIT_BIT_INQUIRY, IPPROTO_TCP, TCP_INQ, 1},
};

static bool misfit_set(int fd, const struct misfit *m)
{
	return setsockopt(fd, m->level, m->option, &m->value, sizeof(m->value)) == 0;
}

/* Refused with that bit and no other. */
static void expect_unfit(struct hop *h, enum sl_unfit_bit bit)
{
	const struct sl_hop *hop = h->lease.hop;
	char got[8];

	check(hop_ask(h, SL_HOP_ASK) == SL_HOP_REFUSED && hop->verdict == SL_HOP_UNFIT_VERDICT &&
		      hop->app_unfit == 1U << bit,
	      "%s is refused", sl_unfit_name(bit));
	check(sl_hops_shut(&h->lease), "nothing is on its way");
	sl_hops_release(h->table, &h->lease, h->own, true);
	h->leased = false;
	check(send(h->own, "tcp", 3, 0) == 3 && recv_next(h->app, got, sizeof(got)) == 3,
	      "it goes on over TCP");
	hop_close(h);
}

static bool tcp_exchange(struct hop *h)
{
	return own_send(h, "x") && app_recv(h, "x") && app_send(h, "y") && own_recv(h, "y");
}

static void test_unfit(struct scene *s, struct sl_hops *table)
{
	struct sock_filter all = {.code = BPF_RET | BPF_K, .k = 0xffffffff};
	struct sock_fprog filter = {.len = 1, .filter = &all};
	struct hop h;

	test_begin("unfit sockets");
	check(hop_client(&h, s, table) && tcp_exchange(&h) && !fcntl(h.app, F_SETFL, 0), "a hop");
	expect_unfit(&h, SL_UNFIT_BIT_BLOCKING);
	for (size_t i = 0; i < sizeof(misfits) / sizeof(*misfits); i++) {
		check(hop_client(&h, s, table) && tcp_exchange(&h), "a hop");
		if (misfit_set(h.app, &misfits[i])) {
			expect_unfit(&h, misfits[i].bit);
		} else {
			HAS_NONE(sl_unfit_name(misfits[i].bit));
			hop_close(&h);
		}
	}
	check(hop_client(&h, s, table) &&
		      !setsockopt(h.app, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)),
	      "a hop");
	expect_unfit(&h, SL_UNFIT_BIT_FILTER);
	check(hop_client(&h, s, table) && tcp_exchange(&h) && send(h.own, "!", 1, MSG_OOB) == 1,
	      "a hop");
	h.lease.hop->done = ++h.done;
	expect_unfit(&h, SL_UNFIT_BIT_URGENT);
	check(hop_client(&h, s, table) && tcp_exchange(&h), "a hop");
	if (!setsockopt(h.app, SOL_TCP, TCP_ULP, "tls", 4)) {
		expect_unfit(&h, SL_UNFIT_BIT_ULP);
	} else {
		HAS_NONE("ulp");
		hop_close(&h);
	}
}

static void test_unfit_later(struct scene *s, struct sl_hops *table)
{
	struct hop h;

	test_begin("sockets that become unfit");
	for (size_t i = 0; i < sizeof(misfits) / sizeof(*misfits); i++) {
		check(hop_client(&h, s, table) && hop_take_in(&h), "spliced");
		if (misfit_set(h.app, &misfits[i]))
			check(!h.lease.hop->app_unfit && app_send(&h, "x") && own_recv(&h, "x") &&
				      h.lease.hop->app_unfit == 1U << misfits[i].bit,
			      "%s is seen at the next send", sl_unfit_name(misfits[i].bit));
		else
			HAS_NONE(sl_unfit_name(misfits[i].bit));
		hop_close(&h);
	}
	check(hop_client(&h, s, table) && hop_take_in(&h) && !fcntl(h.app, F_SETFL, 0), "spliced");
	check(app_send(&h, "x") && own_recv(&h, "x") &&
		      h.lease.hop->app_unfit == SL_UNFIT(BLOCKING),
	      "blocking is seen at the next send");
	check(!fcntl(h.app, F_SETFL, O_NONBLOCK) && app_send(&h, "y") && own_recv(&h, "y") &&
		      h.lease.hop->app_unfit == SL_UNFIT(BLOCKING),
	      "and not forgotten");
	hop_close(&h);
}

static void test_foreign(struct scene *s, struct sl_hops *table)
{
	int map = bpf_map_create(BPF_MAP_TYPE_SOCKHASH, "foreign", 8, 8, 4, NULL);
	uint64_t key = 1, fd;
	struct hop h;

	test_begin("a socket of somebody else's map");
	check(map >= 0 && hop_client(&h, s, table) && own_send(&h, "x") && app_recv(&h, "x"),
	      "a hop");
	fd = h.app;
	check(!bpf_map_update_elem(map, &key, &fd, BPF_ANY), "is in another map");
	check(hop_ask(&h, SL_HOP_ASK) == SL_HOP_REFUSED &&
		      h.lease.hop->verdict == SL_HOP_FOREIGN_VERDICT,
	      "and refused");
	check(own_send(&h, "y") && app_recv(&h, "y") && app_send(&h, "z") && own_recv(&h, "z"),
	      "which hurts nobody");
	hop_close(&h);
	fd = h.own = sock(AF_INET, SOCK_STREAM);
	sock_close(&h.own);
	close(map);
}

/* Another connection with the same addresses and ports, in another network namespace. */
static void test_stranger(struct scene *s, struct sl_hops *table)
{
	int other = bed_netns_new(), listener, stranger = sock(AF_INET, SOCK_STREAM), got;
	char from[SL_ADDR_TEXT], to[SL_ADDR_TEXT];
	uint64_t cookie = 0;
	struct sl_addr a;
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct hop h;

	test_begin("a stranger with the same addresses and ports");
	bed_enter(s->bed.pod);
	check(hop_client(&h, s, table), "a hop");
	getpeername(h.own, (struct sockaddr *)&ss, &len);
	sl_addr_from_sockaddr(&ss, &a);
	sl_addr_format(&a, from);
	len = sizeof(ss);
	getsockname(h.own, (struct sockaddr *)&ss, &len);
	sl_addr_from_sockaddr(&ss, &a);
	sl_addr_format(&a, to);
	bed_enter(other);
	listener = sock_listen(to);
	sock_close(&stranger);
	stranger = sock(AF_INET, SOCK_STREAM | SOCK_NONBLOCK);
	check(!sock_bind(stranger, from) && sock_connect(stranger, to) == -EINPROGRESS, "a twin");
	got = sock_accept(listener);
	check(got >= 0 && !sl_datapath_netns_cookie(stranger, &cookie), "is there");
	sl_hops_release(table, &h.lease, h.own, true);
	h.leased = !sl_hops_lease(table, 0, h.own, false, cookie, 0, 0, &h.lease);
	check(h.leased && own_send(&h, "x") && app_recv(&h, "x") && send(got, "x", 1, 0) == 1 &&
		      recv_next(stranger, from, 1) == 1,
	      "asked for in its namespace, with the same bytes exchanged");
	check(hop_ask(&h, SL_HOP_ASK) == SL_HOP_REFUSED &&
		      h.lease.hop->verdict == SL_HOP_STRANGER_VERDICT,
	      "refused");
	bed_enter(s->bed.pod);
	hop_close(&h);
	sock_close(&got);
	sock_close(&listener);
	sock_close(&stranger);
	close(other);
}

/* The agent's connection to a backend in another network namespace. */
static void test_endpoint(struct scene *s, struct sl_hops *table)
{
	int other = bed_netns_beside(&s->bed, "10.50.1.1", "10.50.1.2"), listener;
	uint64_t cookie = 0;
	struct hop h;

	test_begin("an endpoint in another network namespace");
	bed_enter(other);
	listener = sock_listen("10.50.1.2:8080");
	check(!sl_datapath_netns_cookie(listener, &cookie), "its cookie");
	bed_enter(s->bed.pod);
	check(hop_endpoint(&h, s, table, listener, "10.50.1.2:8080", cookie), "a hop");
	check(own_send(&h, "hello") && app_recv(&h, "hello") && app_send(&h, "world") &&
		      own_recv(&h, "world"),
	      "over TCP");
	check(hop_ask(&h, SL_HOP_ASK) == SL_HOP_ASK && h.lease.hop->verdict == 0,
	      "a pass over own's namespace does not see it");
	bed_enter(other);
	check(hop_ask(&h, SL_HOP_ASK) == SL_HOP_IN, "one over the endpoint's does");
	bed_enter(s->bed.pod);
	check(own_send(&h, "a") && app_recv(&h, "a") && app_send(&h, "b") && own_recv(&h, "b") &&
		      h.lease.hop->own_redirected == 1 && h.lease.hop->app_redirected == 1,
	      "redirected both ways");
	hop_close(&h);
	sock_close(&listener);
	close(other);
}

/* ---- what flows ---- */

static void test_budget(struct scene *s, struct sl_hops *table)
{
	char block[4096] = {0}, got[65536];
	const struct sl_hop *hop;
	size_t sent = 0, heard = 0;
	ssize_t n;
	struct hop h;

	test_begin("a reader that sleeps");
	check(hop_client(&h, s, table) && hop_take_in(&h), "spliced");
	hop = h.lease.hop;
	while ((n = send(h.app, block, sizeof(block), MSG_NOSIGNAL)) > 0)
		sent += n;
	check(n < 0 && errno == EAGAIN, "the sender is stopped, after %zu bytes", sent);
	check(hop->app_redirected <= hop->budget && hop->app_redirected > hop->budget / 2,
	      "%llu of them redirected, of a budget of %u", (unsigned long long)hop->app_redirected,
	      hop->budget);
	while (heard < sent && (n = recv_next(h.own, got, sizeof(got))) > 0)
		heard += n;
	check(heard == sent, "nothing is lost");
	hop_close(&h);

	check(hop_client(&h, s, table) && hop_take_in(&h), "spliced");
	for (int i = 0; i < 1000; i++)
		if (!app_send(&h, "1"))
			check(false, "send");
	check(h.lease.hop->app_redirected == SL_HOP_MSGS && h.lease.hop->app_msgs == SL_HOP_MSGS,
	      "short messages: as many as may wait, the others by TCP");
	hop_close(&h);
}

struct race {
	struct hop *h;
	size_t total;
	unsigned seed;
};

/* Byte i of the stream. */
static unsigned char byte_at(size_t i)
{
	return i * 2654435761u >> 11;
}

static void *race_sender(void *arg)
{
	struct race *r = arg;
	static unsigned char block[32768];
	size_t sent = 0;

	while (sent < r->total) {
		size_t n = 1 + rand_r(&r->seed) % (rand_r(&r->seed) % 8 ? 500 : sizeof(block));
		struct pollfd p = {.fd = r->h->app, .events = POLLOUT};
		ssize_t k;

		if (n > r->total - sent)
			n = r->total - sent;
		for (size_t i = 0; i < n; i++)
			block[i] = byte_at(sent + i);
		k = send(r->h->app, block, n, MSG_NOSIGNAL);
		if (k > 0)
			sent += k;
		else if (k < 0 && errno == EAGAIN)
			(void)poll(&p, 1, 1000);
		else
			break;
		if (!(rand_r(&r->seed) % 16))
			(void)poll(NULL, 0, 1);
	}
	return NULL;
}

/* From redirect to TCP and back, hundreds of times, under a reader that races. */
static void test_order(struct scene *s, struct sl_hops *table)
{
	struct race r = {.total = 4 << 20, .seed = 1};
	static unsigned char got[65536];
	size_t heard = 0, bad = 0, n_short = 0;
	pthread_t sender;
	struct hop h;
	ssize_t n;

	test_begin("order");
	check(hop_client(&h, s, table) && hop_take_in(&h), "spliced");
	h.lease.hop->budget = 4096;
	r.h = &h;
	check(!pthread_create(&sender, NULL, race_sender, &r), "a sender");
	while (heard < r.total) {
		n = recv_next(h.own, got, 1 + rand_r(&r.seed) % sizeof(got));
		if (n == -EAGAIN && ++n_short)
			continue;
		if (n <= 0)
			break;
		for (ssize_t i = 0; i < n; i++)
			bad += got[i] != byte_at(heard + i);
		heard += n;
		__atomic_store_n(&h.lease.hop->taken, h.taken + heard, __ATOMIC_RELEASE);
	}
	(void)pthread_join(sender, NULL);
	check(heard == r.total && !bad, "%zu bytes, in order", heard);
	check(h.lease.hop->app_over > 100 && h.lease.hop->app_redirected > r.total / 1000 &&
		      h.lease.hop->app_redirected < r.total,
	      "%llu of them redirected, %u sends by TCP",
	      (unsigned long long)h.lease.hop->app_redirected, h.lease.hop->app_over);
	hop_close(&h);
}

static void test_files(struct scene *s, struct sl_hops *table)
{
	char path[] = "/tmp/sluice-test-file-XXXXXX";
	int file = mkstemp(path);
	struct hop h;

	test_begin("sendfile by the application");
	check(file >= 0 && write(file, "contents", 8) == 8 && lseek(file, 0, SEEK_SET) == 0 &&
		      !unlink(path),
	      "a file");
	check(hop_client(&h, s, table) && hop_take_in(&h), "spliced");
	check(app_send(&h, "head ") && sendfile(h.app, file, NULL, 8) == 8 &&
		      app_send(&h, " tail") && own_recv(&h, "head contents tail"),
	      "in order");
	check(h.lease.hop->app_redirected == 18, "by redirect");
	hop_close(&h);
	close(file);
}

/* ---- readers by splice(2) ---- */

static void remember_event(void *arg, const struct sl_splice_event *ev)
{
	*(struct sl_splice_event *)arg = *ev;
}

static void forget_unfit(struct scene *s)
{
	int map = pinned(s, "sl_unfit");
	struct sl_unfit_key key;

	while (!bpf_map_get_next_key(map, NULL, &key))
		if (bpf_map_delete_elem(map, &key))
			break;
	sock_close(&map);
}

static void read_by_splice(int fd)
{
	int p[2];

	if (pipe(p) < 0)
		check(false, "pipe");
	(void)!splice(fd, NULL, p[1], NULL, 16, SPLICE_F_NONBLOCK); /* that it is tried is enough */
	close(p[0]);
	close(p[1]);
}

static void expect_program_refused(struct hop *h, bool good)
{
	check(good && own_send(h, "x") && app_recv(h, "x"), "another hop");
	check(hop_ask(h, SL_HOP_ASK) == SL_HOP_REFUSED &&
		      h->lease.hop->verdict == SL_HOP_PROGRAM_VERDICT,
	      "is refused");
	hop_close(h);
}

static void test_splice_readers(struct scene *s, struct sl_hops *table)
{
	struct sl_splice_event ev = {0};
	struct hop h;

	test_begin("programs that read with splice(2)");
	check(sl_hops_events_consume(table, remember_event, &ev) >= 0, "no events");
	check(hop_client(&h, s, table) && hop_take_in(&h) && own_send(&h, "x"), "spliced");
	read_by_splice(h.app);
	check(sl_hops_events_consume(table, remember_event, &ev) == 1 &&
		      ev.cookie == h.lease.hop->app_cookie && ev.pid == (uint32_t)getpid() &&
		      !strncmp(ev.comm, "dp_test", 7),
	      "the socket is named");
	hop_close(&h);
	expect_program_refused(&h, hop_client(&h, s, table));
	forget_unfit(s);
	check(hop_client(&h, s, table) && hop_take_in(&h), "until that is forgotten");
	hop_close(&h);
	/* A server is known by its port: it did that before it was ever spliced. */
	check(hop_endpoint(&h, s, table, s->backend, BACKEND, s->bed.cookie), "an endpoint");
	read_by_splice(h.app);
	hop_close(&h);
	check(!sl_hops_events_consume(table, remember_event, &ev), "no event: it was in no map");
	expect_program_refused(&h, hop_endpoint(&h, s, table, s->backend, BACKEND, s->bed.cookie));
	forget_unfit(s);
}

static void test_room(struct scene *s)
{
	struct sl_hops_opts opts = {.max_hops = 2};
	struct sl_hops_report report;
	struct sl_hops *table = NULL;
	struct hop a, b, c;
	uint64_t key = 1, fd;
	int map;

	test_begin("no room");
	check(!sl_hops_open(s->dp, &opts, &table, &report), "two slots: %s", report.message);
	check(hop_client(&a, s, table) && hop_client(&b, s, table), "two hops");
	check(!hop_client(&c, s, table), "no third");
	check(send(c.own, "tcp", 3, 0) == 3 && app_recv(&c, "tcp"), "but TCP");
	map = pinned(s, "sl_sock");
	fd = c.own;
	check(!bpf_map_update_elem(map, &key, &fd, BPF_ANY), "fill the map");
	key = 2;
	fd = c.app;
	check(!bpf_map_update_elem(map, &key, &fd, BPF_ANY), "to the brim");
	check(own_send(&a, "x") && app_recv(&a, "x") && hop_ask(&a, SL_HOP_ASK) == SL_HOP_REFUSED &&
		      a.lease.hop->verdict == SL_HOP_FULL_VERDICT,
	      "the app does not fit");
	check(own_send(&a, "y") && app_recv(&a, "y"), "and goes on over TCP");
	hop_close(&a);
	hop_close(&b);
	check(!hop_client(&b, s, table), "a slot rests before it is given out again");
	hop_close(&b);
	hop_close(&c);
	close(map);
	table = sl_hops_close(table);
}

/* Each allocation of the start fails once. */
static void test_out_of_memory(struct scene *s)
{
	struct sl_hops_opts opts = {.max_hops = 8};
	struct sl_hops_report report;
	struct sl_hops *table = NULL;
	int n = 0, r = -ENOMEM;

	test_begin("out of memory");
	while (r && n < 100) {
		sl_alloc_fail_after(n++);
		r = sl_hops_open(s->dp, &opts, &table, &report);
		sl_alloc_fail_after(-1);
		if (r && (r != -ENOMEM || table))
			break;
	}
	check(!r, "opened after %d attempts: %s", n, report.message);
	table = sl_hops_close(table);
}

/* What the kernel has complained about so far: memory that was not given back, for one. */
static int n_warnings(void)
{
	int len = klogctl(10, NULL, 0), n = 0; /* the size of its buffer, then all that is in it */
	char *log = len > 0 ? sl_calloc(1, len + 1) : NULL;

	if (!log)
		return -1;
	if (klogctl(3, log, len) >= 0)
		for (char *p = log; (p = strstr(p, "WARNING: ")); p++)
			n++;
	free(log);
	return n;
}

void test_splice(struct scene *s)
{
	int warnings = n_warnings();
	struct sl_hops_report report;
	struct sl_hops *table = NULL;
	int r = sl_hops_open(s->dp, &(struct sl_hops_opts){0}, &table, &report);

	test_begin("splicing");
	printf("# splicing: %s\n", report.message);
	if (r) {
		check(r == -ENOTSUP && report.missing[0] && strcmp(report.missing, "setup") != 0 &&
			      !table,
		      "is off, for want of %s # SKIP the rest of it", report.missing);
		return;
	}
	test_quiet(s, table);
	test_unfit(s, table);
	test_unfit_later(s, table);
	test_foreign(s, table);
	test_stranger(s, table);
	test_endpoint(s, table);
	test_budget(s, table);
	test_order(s, table);
	test_files(s, table);
	test_splice_readers(s, table);
	test_splice_ends(s, table);
	table = sl_hops_close(table);
	test_room(s);
	test_out_of_memory(s);
	test_begin("off");
	check(!sl_hops_remove(s->dp) && pinned(s, "sl_sock") == -ENOENT, "nothing is left pinned");
	check(n_warnings() == warnings, "the kernel has nothing to complain of");
}
