/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/exchange.h"

#include <assert.h>
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/list.h"

enum {
	DEFAULT_MAX_CLIENTS = 64,
	READ_BYTES = 4096,
	MAX_ANSWER_BYTES = 256 << 20,
	MAX_LINGER_BYTES = 1 << 20, /* read and thrown away after the answer */
};

#define DEFAULT_TIMEOUT_NS (5 * SL_NS_PER_S)
#define ACCEPT_PAUSE_NS	   (100 * SL_NS_PER_MS)

struct sl_exchange {
	struct sl_loop *loop;
	struct sl_exchange_opts opts;
	struct sl_watch watch;
	struct sl_timer resume; /* accepting again after the process ran out of descriptors */
	int fd;
	uint32_t n_clients;
	struct sl_list clients;
	struct client *asking; /* whose question fn has at the moment */
};

/* A client asks, maybe waits, is answered, and lingers: our side is shut, its bytes are read until
 * it closes, as closing with unread bytes would make the kernel throw the answer away. */
enum phase { ASKING, WAITING, ANSWERING, LINGERING };

/* Held by whoever will answer. */
struct sl_exchange_later {
	struct client *client; /* NULL: gone */
};

struct client {
	struct sl_exchange *x;
	struct sl_list node;
	struct sl_watch watch;
	struct sl_timer timeout;
	int fd;
	enum phase phase;
	size_t n_lingered;
	struct sl_buf in, out;
	struct sl_exchange_later *later;
};

SL_DEFINE_CLEANUP(struct sl_exchange *, sl_exchange_close)

static void listen_again(struct sl_exchange *x)
{
	if (x->n_clients < x->opts.max_clients)
		(void)sl_watch_modify(&x->watch, EPOLLIN); /* cannot fail: it is registered */
}

static void free_client(struct client *c)
{
	struct sl_exchange *x = c->x;

	sl_watch_remove(&c->watch);
	sl_timer_cancel(&c->timeout);
	sl_list_remove(&c->node);
	sl_closep(&c->fd);
	sl_buf_deinit(&c->in);
	sl_buf_deinit(&c->out);
	if (c->later)
		c->later->client = NULL;
	free(c);
	x->n_clients--;
	if (!x->resume.loop)
		listen_again(x);
}

static void timed_out(struct sl_timer *t)
{
	free_client(sl_container_of(t, struct client, timeout));
}

static void restart_timeout(struct client *c)
{
	struct sl_loop *loop = c->x->loop;

	sl_timer_arm(loop, &c->timeout, sl_loop_now(loop) + c->x->opts.timeout_ns);
}

/* The functions below return false when the client is done with, for good or bad. */

static bool linger(struct client *c)
{
	char bytes[READ_BYTES];
	ssize_t n;

	do {
		n = recv(c->fd, bytes, sizeof(bytes), 0);
		if (n > 0)
			c->n_lingered += (size_t)n;
	} while ((n > 0 && c->n_lingered <= MAX_LINGER_BYTES) || (n < 0 && errno == EINTR));
	return n < 0 && errno == EAGAIN;
}

static bool answer(struct client *c)
{
	while (sl_buf_len(&c->out)) {
		ssize_t n = send(c->fd, sl_buf_ptr(&c->out), sl_buf_len(&c->out), MSG_NOSIGNAL);

		if (n >= 0) {
			sl_buf_consume(&c->out, (size_t)n);
			restart_timeout(c);
		} else if (errno == EAGAIN) {
			return sl_watch_modify(&c->watch, EPOLLOUT) == 0;
		} else if (errno != EINTR) {
			return false;
		}
	}
	c->phase = LINGERING;
	if (shutdown(c->fd, SHUT_WR) || sl_watch_modify(&c->watch, EPOLLIN))
		return false;
	return linger(c);
}

/* Nothing more is read: the next thing to see is that the client closes, or the answer. */
static bool wait_for_answer(struct client *c)
{
	c->phase = WAITING;
	restart_timeout(c);
	return sl_watch_modify(&c->watch, 0) == 0;
}

/* Give what is there to the protocol. */
static bool ask(struct client *c, bool last)
{
	struct sl_exchange_opts *opts = &c->x->opts;
	bool enough;

	last = last || sl_buf_len(&c->in) == opts->max_request_bytes;
	c->x->asking = c;
	enough = opts->fn(opts->arg, sl_buf_str(&c->in), last, &c->out);
	c->x->asking = NULL;
	if (!enough)
		return !last;
	sl_buf_deinit(&c->in);
	if (c->later)
		return wait_for_answer(c);
	c->phase = ANSWERING;
	return answer(c);
}

static bool read_question(struct client *c)
{
	for (;;) {
		size_t room = c->x->opts.max_request_bytes - sl_buf_len(&c->in);
		size_t want = room < READ_BYTES ? room : READ_BYTES;
		ssize_t n;

		if (sl_buf_reserve(&c->in, want))
			return false;
		n = recv(c->fd, sl_buf_tail(&c->in), want, 0);
		if (n > 0) {
			sl_buf_commit(&c->in, (size_t)n);
			if (!ask(c, false))
				return false;
			if (c->phase != ASKING)
				return true;
		} else if (n == 0) {
			return ask(c, true);
		} else if (errno == EAGAIN) {
			return true;
		} else if (errno != EINTR) {
			return false;
		}
	}
}

static void client_ready(struct sl_watch *w, uint32_t events)
{
	struct client *c = sl_container_of(w, struct client, watch);
	bool more = c->phase == ASKING	    ? read_question(c)
		    : c->phase == WAITING   ? false /* only closing is reported then */
		    : c->phase == ANSWERING ? answer(c)
					    : linger(c);

	if (!more)
		free_client(c);
}

struct sl_exchange_later *sl_exchange_defer(struct sl_exchange *x)
{
	struct client *c = x->asking;

	assert(c && !c->later);
	c->later = sl_new(struct sl_exchange_later);
	if (c->later)
		c->later->client = c;
	return c->later;
}

void sl_exchange_answer(struct sl_exchange_later *later, struct sl_buf *out)
{
	struct client *c = later->client;

	free(later);
	if (!c) {
		sl_buf_deinit(out);
		return;
	}
	c->later = NULL;
	c->out = *out;
	*out = (struct sl_buf){0};
	c->phase = ANSWERING;
	restart_timeout(c);
	if (!answer(c))
		free_client(c);
}

static void add_client(struct sl_exchange *x, int fd)
{
	struct client *c = sl_new(struct client);

	if (!c) {
		sl_closep(&fd);
		return;
	}
	c->x = x;
	c->fd = fd;
	c->timeout = SL_TIMER_INIT(timed_out);
	c->out.limit_bytes = MAX_ANSWER_BYTES;
	sl_list_append(&x->clients, &c->node);
	x->n_clients++;
	restart_timeout(c);
	if (sl_watch_add(x->loop, &c->watch, fd, EPOLLIN, client_ready))
		free_client(c);
}

static void resume(struct sl_timer *t)
{
	listen_again(sl_container_of(t, struct sl_exchange, resume));
}

static void acceptable(struct sl_watch *w, uint32_t events)
{
	struct sl_exchange *x = sl_container_of(w, struct sl_exchange, watch);

	while (x->n_clients < x->opts.max_clients) {
		int fd = accept4(x->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			add_client(x, fd);
			continue;
		}
		if (errno == EINTR || errno == ECONNABORTED)
			continue;
		if (errno == EAGAIN)
			return;
		/* Out of descriptors or memory: the listener stays readable, so look away for a
		 * while. */
		sl_timer_arm(x->loop, &x->resume, sl_loop_now(x->loop) + ACCEPT_PAUSE_NS);
		break;
	}
	(void)sl_watch_modify(&x->watch, 0); /* cannot fail: it is registered */
}

int sl_exchange_open(struct sl_loop *loop, int fd, const struct sl_exchange_opts *opts,
		     struct sl_exchange **ret)
{
	_cleanup_(sl_exchange_closep) struct sl_exchange *x = NULL;
	_cleanup_(sl_closep) int listener = fd;
	int r;

	x = sl_new(struct sl_exchange);
	if (!x)
		return -ENOMEM;
	x->loop = loop;
	x->opts = *opts;
	if (!x->opts.max_clients)
		x->opts.max_clients = DEFAULT_MAX_CLIENTS;
	if (!x->opts.timeout_ns)
		x->opts.timeout_ns = DEFAULT_TIMEOUT_NS;
	x->resume = SL_TIMER_INIT(resume);
	sl_list_init(&x->clients);
	x->fd = sl_take_fd(&listener);
	r = sl_watch_add(loop, &x->watch, x->fd, EPOLLIN, acceptable);
	if (r)
		return r;
	*ret = sl_take(x);
	return 0;
}

struct sl_exchange *sl_exchange_close(struct sl_exchange *x)
{
	if (!x)
		return NULL;
	sl_watch_remove(&x->watch);
	sl_timer_cancel(&x->resume);
	x->opts.max_clients = 0; /* a client that goes does not wake the listener */
	while (!sl_list_empty(&x->clients))
		free_client(sl_container_of(x->clients.next, struct client, node));
	sl_closep(&x->fd);
	free(x);
	return NULL;
}

uint32_t sl_exchange_n_clients(const struct sl_exchange *x)
{
	return x->n_clients;
}

int sl_exchange_fd(const struct sl_exchange *x)
{
	return x->fd;
}
