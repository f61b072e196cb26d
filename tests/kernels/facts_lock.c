/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who waits for a socket's lock. An application holds it while the kernel copies from or to its
 * memory; here that memory is a page that is not there, and is not given until the test says so.
 */
#include "facts.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

struct hole {
	int fd;
	char *page;
};

static void hole_new(struct hole *h)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register reg = {.mode = UFFDIO_REGISTER_MODE_MISSING};

	h->fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (h->fd < 0 || ioctl(h->fd, UFFDIO_API, &api))
		lacks("userfaultfd");
	h->page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	expect(h->page != MAP_FAILED, "mmap");
	reg.range.start = (uintptr_t)h->page;
	reg.range.len = 4096;
	expect(!ioctl(h->fd, UFFDIO_REGISTER, &reg), "UFFDIO_REGISTER: %s", strerror(errno));
}

/* Somebody waits for the page. */
static void hole_wait(struct hole *h)
{
	struct uffd_msg m;

	expect(readable(h->fd, SOON) && read(h->fd, &m, sizeof(m)) == sizeof(m),
	       "nobody touches the page");
}

static void hole_fill(struct hole *h)
{
	struct uffdio_zeropage z = {.range = {.start = (uintptr_t)h->page, .len = 4096}};

	expect(!ioctl(h->fd, UFFDIO_ZEROPAGE, &z), "UFFDIO_ZEROPAGE: %s", strerror(errno));
}

struct call {
	int fd;
	char *buf;
	bool sends;
	uint64_t key;
	ssize_t n;
	pid_t tid;
	bool done;
};

static void *make_call(void *arg)
{
	struct call *c = arg;

	__atomic_store_n(&c->tid, (pid_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
	if (c->key)
		(void)iter_run(FACTS_LOOK, c->key);
	else
		c->n = c->sends ? send(c->fd, c->buf, 8, MSG_NOSIGNAL) : recv(c->fd, c->buf, 8, 0);
	__atomic_store_n(&c->done, true, __ATOMIC_RELEASE);
	return NULL;
}

static bool ended(void *arg)
{
	return __atomic_load_n(&((struct call *)arg)->done, __ATOMIC_ACQUIRE);
}

/* Does it sleep, and for a tenth of a second on end, rather than come to its end? */
static bool waits(struct call *c)
{
	int asleep = 0;

	for (int i = 0; i < 10000 && asleep < 100 && !ended(c); i++) {
		pid_t tid = __atomic_load_n(&c->tid, __ATOMIC_ACQUIRE);

		asleep = tid && thread_sleeps_in(tid) >= 0 ? asleep + 1 : 0;
		usleep(1000);
	}
	return !ended(c);
}

/* The application's recv() stands still with its lock held; @other is done meanwhile. */
static bool stands_still(struct pair *p, struct call *other)
{
	struct call app = {.fd = p->app};
	pthread_t a, b;
	struct hole h;
	bool waited;

	say(p->own, "12345678");
	hole_new(&h);
	app.buf = h.page;
	expect(!pthread_create(&a, NULL, make_call, &app), "no thread");
	hole_wait(&h);
	expect(!pthread_create(&b, NULL, make_call, other), "no thread");
	waited = waits(other);
	hole_fill(&h);
	expect(until(ended, &app) && until(ended, other), "it stands still for ever");
	pthread_join(a, NULL);
	pthread_join(b, NULL);
	expect(app.n == 8, "recv: %zd", app.n);
	return waited;
}

static void redirect_waits(void)
{
	char text[] = "from own";
	struct call other = {.buf = text, .sends = true};
	struct pair p;

	pair_spliced(&p);
	other.fd = p.own;
	expect(stands_still(&p, &other), "it did not wait");
	expect(other.n == 8, "send: %zd", other.n);
	hear(p.app, "from own");
}

static void lock_is_seen(void)
{
	char text[] = "from own";
	struct call other = {.buf = text, .sends = true};
	struct facts_end e;
	struct pair p;

	pair_spliced(&p);
	if (!iter_run(FACTS_LOOK, p.app_key))
		needs("iter/tcp");
	e = (struct facts_end){.self = p.own_key,
			       .peer = p.app_key,
			       .peer_sock = seen->iter.sock,
			       .mode = FACTS_REDIRECT};
	expect(!bpf_map_update_elem(ends_fd, &p.own, &e, BPF_ANY), "storage");
	other.fd = p.own;
	(void)stands_still(&p, &other); /* its first message found the lock free */
	expect(seen->n_redirected == 2 && seen->n_peer_locked == 1, "%llu of %llu",
	       seen->n_peer_locked, seen->n_redirected);
}

static void tcp_does_not_wait(void)
{
	char text[] = "from own";
	struct call other = {.buf = text, .sends = true};
	struct pair p;

	pair_new(&p);
	other.fd = p.own;
	expect(!stands_still(&p, &other), "it waited");
	hear_all(p.app, "from own", SOON);
}

static void iterator_waits(void)
{
	struct call other = {0};
	struct pair p;

	pair_new(&p);
	other.key = p.app_key;
	if (!iter_run(FACTS_LOOK, p.app_key))
		needs("iter/tcp");
	answer("%s", stands_still(&p, &other) ? "waits" : "does not wait");
}

static void delete_does_not_wait(void)
{
	struct pair p;
	struct call app = {0};
	struct hole h;
	pthread_t a;

	pair_spliced(&p);
	app.fd = p.app;
	say(p.own, "12345678");
	hole_new(&h);
	app.buf = h.page;
	expect(!pthread_create(&a, NULL, make_call, &app), "no thread");
	hole_wait(&h);
	expect(!end_drop(p.app_key), "not deleted"); /* would stand still until the alarm */
	hole_fill(&h);
	pthread_join(a, NULL);
	expect(app.n == 8, "the reader inside gets %zd bytes", app.n);
}

const struct fact facts_lock[] = {
	{"a redirect waits for the receiver's lock, also when the sender is non-blocking", NULL,
	 redirect_waits},
	{"the sender's program sees that the receiver's lock is held", NULL, lock_is_seen},
	{"TCP does not wait for it", NULL, tcp_does_not_wait},
	{"iter/tcp, when an application holds its socket's lock?", "waits|does not wait",
	 iterator_waits},
	{"deletion by system call does not wait for the lock; a reader inside gets its bytes", NULL,
	 delete_does_not_wait},
	{0},
};
