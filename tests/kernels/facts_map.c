/* SPDX-License-Identifier: Apache-2.0 */
/* Into the map and out of it, and what a send meets when the peer is not, or no longer, there. */
#include "facts.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "bed.h"

static void delete_drops_unread(void)
{
	struct pair p;

	pair_spliced(&p);
	say(p.own, "lost");
	expect(!end_drop(p.app_key), "cannot be deleted");
	say(p.own, "next"); /* its peer is gone: TCP */
	hear_all(p.app, "next", SOON);
}

static void delete_empty_loses_nothing(void)
{
	struct pair p;

	pair_spliced(&p);
	say(p.own, "before");
	hear(p.app, "before");
	expect(!end_drop(p.app_key), "cannot be deleted");
	say(p.own, "after");
	hear_all(p.app, "after", SOON);
	say(p.app, "back");
	hear_all(p.own, "back", SOON);
}

static void delete_keeps_tcp_queue(void)
{
	struct pair p;

	pair_new(&p);
	pair_put(&p, FACTS_PASS, FACTS_PASS);
	say(p.own, "by TCP");
	expect(readable(p.app, SOON), "nothing came");
	expect(!end_drop(p.app_key), "cannot be deleted");
	hear(p.app, "by TCP");
}

struct stream {
	int fd;
	size_t n;
	bool good;
};

static void *read_stream(void *arg)
{
	struct stream *s = arg;

	hear_bytes(s->fd, 0, s->n, SOON);
	s->good = true;
	return NULL;
}

static void *write_stream(void *arg)
{
	struct stream *s = arg;

	for (size_t at = 0; at < s->n; at += 1000) {
		while (!(events_of(s->fd, SOON) & POLLOUT))
			;
		say_bytes(s->fd, at, 1000);
	}
	s->good = true;
	return NULL;
}

/* The app's own sends go on while it is put in and taken out; what it receives comes by TCP. */
static void delete_under_traffic(void)
{
	struct stream in = {.n = 20000000}, out = {.n = 20000000};
	pthread_t a, b, c, d;
	struct pair p;
	struct stream in2, out2;

	pair_new(&p);
	pair_put(&p, FACTS_PASS, FACTS_PASS);
	in.fd = p.app;
	out.fd = p.own;
	in2 = (struct stream){.fd = p.own, .n = in.n};
	out2 = (struct stream){.fd = p.app, .n = in.n};
	expect(!pthread_create(&a, NULL, read_stream, &in), "no thread");
	expect(!pthread_create(&b, NULL, write_stream, &out), "no thread");
	expect(!pthread_create(&c, NULL, read_stream, &in2), "no thread");
	expect(!pthread_create(&d, NULL, write_stream, &out2), "no thread");
	while (!__atomic_load_n(&out.good, __ATOMIC_RELAXED) ||
	       !__atomic_load_n(&out2.good, __ATOMIC_RELAXED)) {
		(void)end_drop(p.app_key);
		(void)end_put(p.app, p.app_key);
	}
	pthread_join(a, NULL);
	pthread_join(b, NULL);
	pthread_join(c, NULL);
	pthread_join(d, NULL);
	expect(in.good && in2.good, "bytes are missing");
}

static void no_peer_drop_or_pass(void)
{
	struct pair p;

	pair_spliced(&p);
	expect(!end_drop(p.own_key), "cannot be deleted");
	say(p.app, "passed");
	hear_all(p.own, "passed", SOON);
	end_mode(p.app, p.app_key, p.own_key, FACTS_STRICT);
	expect(send(p.app, "x", 1, MSG_NOSIGNAL) < 0 && errno == EACCES,
	       "the helper's own answer: %s and not EACCES", strerror(errno));
	expect(seen->n_no_peer == 2, "the peer was found");
}

/* The peer leaves the map between verdict and delivery. */
struct flip {
	struct pair *p;
	bool stop;
	uint64_t n;
};

static void *flip_peer(void *arg)
{
	struct flip *f = arg;

	while (!__atomic_load_n(&f->stop, __ATOMIC_RELAXED)) {
		(void)end_drop(f->p->own_key);
		(void)end_put(f->p->own, f->p->own_key);
		f->n++;
	}
	return NULL;
}

static void *drain(void *arg)
{
	struct flip *f = arg;
	char buf[4096];

	while (!__atomic_load_n(&f->stop, __ATOMIC_RELAXED))
		if (readable(f->p->own, 10))
			(void)!recv(f->p->own, buf, sizeof(buf), MSG_DONTWAIT);
	return NULL;
}

static void peer_deleted_meanwhile(void)
{
	struct pair p;
	struct flip f = {.p = &p};
	pthread_t t, u;
	int n_pipe = 0, other = 0;

	pair_spliced(&p);
	expect(!pthread_create(&t, NULL, flip_peer, &f), "no thread");
	expect(!pthread_create(&u, NULL, drain, &f), "no thread");
	for (int i = 0; i < 200000; i++) {
		if (send(p.app, "x", 1, MSG_NOSIGNAL) == 1)
			continue;
		if (errno == EPIPE)
			n_pipe++;
		else if (errno != EAGAIN)
			other = errno;
	}
	f.stop = true;
	pthread_join(t, NULL);
	pthread_join(u, NULL);
	expect(!other, "send: %s", strerror(other));
	expect(f.n > 100, "only %d flips", (int)f.n);
	answer("%s", n_pipe ? "EPIPE" : "none seen");
}

static void second_owner_refused(void)
{
	struct pair p;
	uint64_t value;
	int r;

	pair_spliced(&p);
	expect(foreign_attach(), "no second program");
	value = p.app;
	r = bpf_map_update_elem(foreign_fd, &p.app_key, &value, BPF_ANY) ? errno : 0;
	answer("%s", r == EBUSY ? "EBUSY" : r ? strerror(r) : "accepted");
	say(p.own, "still ours");
	hear(p.app, "still ours");
}

static void owner_without_programs(void)
{
	struct pair p;
	uint64_t value;
	int r;

	pair_spliced(&p);
	value = p.app;
	r = bpf_map_update_elem(bare_fd, &p.app_key, &value, BPF_ANY) ? errno : 0;
	expect(!r, "a map without programs: %s", strerror(r));
	say(p.own, "ours");
	hear(p.app, "ours");
	expect(!bpf_map_delete_elem(bare_fd, &p.app_key), "cannot be deleted there");
	say(p.own, "still");
	hear(p.app, "still");
}

static void put_twice(void)
{
	struct pair p;
	int r;

	pair_spliced(&p);
	say(p.own, "unread");
	r = end_put(p.app, p.app_key);
	hear(p.app, "unread");
	answer("%s", r == -EBUSY ? "EBUSY" : r ? strerror(-r) : "accepted");
}

/* A call that is under way keeps what it needs: deletion does not take effect before it ends. */
static void deleted_during_a_call(void)
{
	struct reader r;
	struct pair p;

	pair_spliced(&p);
	set_blocking(p.app);
	reader_start(&r, p.app, sizeof(r.buf), 0);
	expect(!end_drop(p.app_key), "cannot be deleted");
	say(p.app, "x");
	hear_all(p.own, "x", SOON);
	answer("%s", seen->n_redirected ? "still redirected" : seen->n_msg ? "asked" : "by TCP");
}

static void not_established(void)
{
	int fd = sock(AF_INET, SOCK_STREAM);
	int r = end_put(fd, cookie_of(fd));

	expect(r == -EOPNOTSUPP, "an unconnected socket: %s", strerror(-r));
}

static void close_leaves_map(void)
{
	struct pair p;
	uint64_t value;

	pair_spliced(&p);
	expect(!bpf_map_lookup_elem(socks_fd, &p.app_key, &value) && value == p.app_key,
	       "the map does not tell the cookie");
	sock_close(&p.app);
	expect(bpf_map_lookup_elem(socks_fd, &p.app_key, &value) && errno == ENOENT, "still there");
}

const struct fact facts_map[] = {
	{"deletion drops redirected bytes that are unread", NULL, delete_drops_unread},
	{"deletion with an empty queue loses nothing, TCP goes on", NULL,
	 delete_empty_loses_nothing},
	{"deletion keeps what waits in the TCP queue", NULL, delete_keeps_tcp_queue},
	{"in and out of the map under TCP traffic both ways: no byte astray", NULL,
	 delete_under_traffic},
	{"no peer in the map: SK_DROP, which a program may turn into SK_PASS", NULL,
	 no_peer_drop_or_pass},
	{"a send whose peer leaves the map at that moment?", "EPIPE|none seen",
	 peer_deleted_meanwhile},
	{"a second owner's update of the same socket?", "EBUSY|accepted", second_owner_refused},
	{"a second map without programs may hold the socket as well", NULL, owner_without_programs},
	{"an update of a socket that is in the map already?", "EBUSY|accepted", put_twice},
	{"a send after deletion, while a recv of the same socket waits?",
	 "still redirected|asked|by TCP", deleted_during_a_call},
	{"only connected sockets enter the map", NULL, not_established},
	{"close takes a socket out of the map", NULL, close_leaves_map},
	{0},
};
