/* SPDX-License-Identifier: Apache-2.0 */
#include "core/handover_channel.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"

/* The kernel passes at most 253 at a time. */
enum { READ_BYTES = 65536, KERNEL_MAX_FDS = 253 };

struct parcel {
	struct sl_list node;
	struct sl_buf bytes;
	unsigned n_fds; /* not sent yet */
	int fds[SL_WIRE_MAX_FDS];
};

struct sl_channel {
	int fd;
	struct sl_watch watch;
	sl_channel_fn fn;
	void *arg;
	struct sl_list out; /* struct parcel */
	struct sl_buf in;
	int *fds; /* received, of frames that were not taken yet */
	size_t n_fds, cap_fds;
	size_t taken_bytes; /* of the frame that is with the receiver */
	int ended;	    /* -errno; 0: more may come */
};

int sl_channel_new(int fd, struct sl_channel **ret)
{
	struct sl_channel *ch = sl_new(struct sl_channel);

	if (!ch) {
		(void)close(fd); /* nothing was sent */
		return -ENOMEM;
	}
	ch->fd = fd;
	ch->watch = SL_WATCH_INIT;
	sl_list_init(&ch->out);
	*ret = ch;
	return 0;
}

static void free_parcel(struct parcel *p)
{
	sl_list_remove(&p->node);
	for (unsigned i = 0; i < p->n_fds; i++)
		sl_closep(&p->fds[i]);
	sl_buf_deinit(&p->bytes);
	free(p);
}

struct sl_channel *sl_channel_free(struct sl_channel *ch)
{
	if (!ch)
		return NULL;
	sl_watch_remove(&ch->watch);
	sl_list_foreach_safe (n, &ch->out)
		free_parcel(sl_container_of(n, struct parcel, node));
	for (size_t i = 0; i < ch->n_fds; i++)
		sl_closep(&ch->fds[i]);
	free(ch->fds);
	sl_buf_deinit(&ch->in);
	sl_closep(&ch->fd);
	free(ch);
	return NULL;
}

/* ---- sending ---- */

/* One sendmsg(2). Returns bytes or -errno. */
static ssize_t send_parcel(struct sl_channel *ch, struct parcel *p)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * SL_WIRE_MAX_FDS)];
	} control = {0};
	struct iovec iov = {sl_buf_ptr(&p->bytes), sl_buf_len(&p->bytes)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (p->n_fds) {
		struct cmsghdr *c = &control.align;

		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * p->n_fds);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * p->n_fds);
		memcpy(CMSG_DATA(c), p->fds, sizeof(int) * p->n_fds);
	}
	do
		n = sendmsg(ch->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	while (p->n_fds)
		sl_closep(&p->fds[--p->n_fds]);
	return n;
}

static void flush(struct sl_channel *ch)
{
	while (!sl_list_empty(&ch->out) && !ch->ended) {
		struct parcel *p = sl_container_of(ch->out.next, struct parcel, node);
		ssize_t n = send_parcel(ch, p);

		if (n == -EAGAIN)
			break;
		/* EPIPE, or too many descriptors on their way: reading goes on to its end. */
		if (n < 0) {
			(void)shutdown(ch->fd, SHUT_WR); /* the peer is to know that this was all */
			sl_list_foreach_safe (it, &ch->out)
				free_parcel(sl_container_of(it, struct parcel, node));
			break;
		}
		sl_buf_consume(&p->bytes, (size_t)n);
		if (!sl_buf_len(&p->bytes))
			free_parcel(p);
	}
	if (ch->watch.loop)
		(void)sl_watch_modify(&ch->watch, /* cannot fail: it is registered */
				      sl_list_empty(&ch->out) ? EPOLLIN : EPOLLIN | EPOLLOUT);
}

int sl_channel_send(struct sl_channel *ch, struct sl_wire_out *out, const int *fds, unsigned n_fds)
{
	struct parcel *p = out->error ? NULL : sl_new(struct parcel);

	if (!p) {
		for (unsigned i = 0; i < n_fds; i++)
			(void)close(fds[i]); /* never sent */
		sl_buf_deinit(&out->buf);
		return -ENOMEM;
	}
	p->bytes = out->buf;
	out->buf = (struct sl_buf){0};
	p->n_fds = n_fds;
	if (n_fds)
		memcpy(p->fds, fds, n_fds * sizeof(*fds));
	sl_list_append(&ch->out, &p->node);
	flush(ch);
	return 0;
}

bool sl_channel_is_flushed(const struct sl_channel *ch)
{
	return sl_list_empty(&ch->out);
}

/* ---- receiving ---- */

static int keep_fds(struct sl_channel *ch, const int *fds, size_t n)
{
	if (ch->n_fds + n > ch->cap_fds) {
		size_t cap = ch->n_fds + n + KERNEL_MAX_FDS;
		int *more = sl_reallocarray(ch->fds, cap, sizeof(*more));

		if (!more) {
			for (size_t i = 0; i < n; i++)
				(void)close(fds[i]); /* theirs lives on */
			return -ENOMEM;
		}
		ch->fds = more;
		ch->cap_fds = cap;
	}
	if (n)
		memcpy(ch->fds + ch->n_fds, fds, n * sizeof(*fds));
	ch->n_fds += n;
	return 0;
}

static int take_control(struct sl_channel *ch, struct msghdr *msg)
{
	int r = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		int fds[KERNEL_MAX_FDS];
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		memcpy(fds, CMSG_DATA(c), n * sizeof(int));
		r = keep_fds(ch, fds, n);
	}
	/* Descriptors ran out: what is missing cannot be told from what came. */
	return msg->msg_flags & MSG_CTRUNC ? -EMFILE : r;
}

/* One recvmsg(2). Returns 1 when something came, 0 when nothing is there, -EPIPE at the end, or
 * -errno. */
static int receive(struct sl_channel *ch)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * KERNEL_MAX_FDS)];
	} control;
	struct iovec iov;
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof(control)};
	ssize_t n;
	int r;

	if (sl_buf_reserve(&ch->in, READ_BYTES))
		return -ENOMEM;
	iov = (struct iovec){sl_buf_tail(&ch->in), sl_buf_room(&ch->in)};
	do
		n = recvmsg(ch->fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : errno == ECONNRESET ? -EPIPE : -errno;
	r = take_control(ch, &msg);
	if (r)
		return r;
	if (n == 0)
		return -EPIPE;
	sl_buf_commit(&ch->in, (size_t)n);
	return 1;
}

static int take_frame(struct sl_channel *ch, struct sl_received *ret)
{
	ssize_t n = sl_wire_parse(sl_buf_str(&ch->in), &ret->frame);

	if (n <= 0)
		return (int)n;
	if (ret->frame.n_fds > ch->n_fds)
		return -EBADMSG;
	for (unsigned i = 0; i < ret->frame.n_fds; i++)
		ret->fds[i] = ch->fds[i];
	ch->n_fds -= ret->frame.n_fds;
	if (ch->n_fds)
		memmove(ch->fds, ch->fds + ret->frame.n_fds, ch->n_fds * sizeof(*ch->fds));
	ch->taken_bytes = (size_t)n;
	return 1;
}

int sl_channel_next(struct sl_channel *ch, struct sl_received *ret)
{
	int r;

	for (;;) {
		r = take_frame(ch, ret);
		if (r)
			return r;
		if (ch->ended)
			return ch->ended;
		r = receive(ch);
		if (r == 0)
			return 0;
		if (r < 0)
			ch->ended = r;
	}
}

void sl_received_close(struct sl_received *r)
{
	for (unsigned i = 0; i < r->frame.n_fds; i++)
		sl_closep(&r->fds[i]);
}

void sl_channel_done(struct sl_channel *ch)
{
	sl_buf_consume(&ch->in, ch->taken_bytes);
	ch->taken_bytes = 0;
}

/* Returns what poll(2) saw, or -errno. */
static int wait_for(struct sl_channel *ch, short events, uint64_t end_ns)
{
	struct pollfd p = {.fd = ch->fd, .events = events};
	uint64_t now = sl_clock_now_ns();
	int r;

	if (now >= end_ns)
		return -ETIMEDOUT;
	r = poll(&p, 1, (int)((end_ns - now) / SL_NS_PER_MS) + 1);
	if (r < 0)
		return errno == EINTR ? 0 : -errno;
	return r ? p.revents : 0;
}

int sl_channel_wait(struct sl_channel *ch, uint64_t timeout_ns)
{
	uint64_t end = sl_clock_now_ns() + timeout_ns;
	int r;

	do {
		flush(ch);
		r = wait_for(ch, sl_channel_is_flushed(ch) ? POLLIN : POLLIN | POLLOUT, end);
	} while (r == 0 || r == POLLOUT);
	return r < 0 ? r : 0;
}

int sl_channel_wait_flushed(struct sl_channel *ch, uint64_t timeout_ns)
{
	uint64_t end = sl_clock_now_ns() + timeout_ns;
	int r = 0;

	while (!sl_channel_is_flushed(ch) && r >= 0) {
		r = wait_for(ch, POLLOUT, end);
		flush(ch);
	}
	return r < 0 ? r : 0;
}

/* ---- in a loop ---- */

static void on_event(struct sl_watch *w, uint32_t events)
{
	struct sl_channel *ch = sl_container_of(w, struct sl_channel, watch);

	if (events & EPOLLOUT)
		flush(ch);
	ch->fn(ch->arg);
}

int sl_channel_watch(struct sl_channel *ch, struct sl_loop *loop, sl_channel_fn fn, void *arg)
{
	ch->fn = fn;
	ch->arg = arg;
	return sl_watch_add(loop, &ch->watch, ch->fd,
			    sl_list_empty(&ch->out) ? EPOLLIN : EPOLLIN | EPOLLOUT, on_event);
}
