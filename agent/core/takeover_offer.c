/* SPDX-License-Identifier: Apache-2.0 */
/* What a process that takes over is told before it prepares: which sockets there are. */
#include "core/takeover_state.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

/* Needs nothing but the old process's loop. */
#define OFFER_NS      (10 * SL_NS_PER_S)
#define DIAL_NS	      (3 * SL_NS_PER_S)
#define DIAL_RETRY_NS (20 * SL_NS_PER_MS)

static int take_source(struct sl_takeover *t, struct sl_received *r)
{
	struct sl_wire_source m;
	struct sl_inherited *in;
	int err = sl_wire_get_source(&r->frame, &m);

	if (err)
		return err;
	if (r->frame.n_fds > SL_MAX_LISTENERS || sl_map_get(&t->sources, SL_KEY(&m.cookie)))
		return -EBADMSG;
	in = sl_new(struct sl_inherited);
	if (!in)
		return -ENOMEM;
	*in = (struct sl_inherited){
		.cookie = m.cookie, .port4 = m.port4, .port6 = m.port6, .n_addr4 = m.n_addr4};
	err = sl_map_put(&t->sources, SL_KEY(&in->cookie), in, NULL);
	if (err) {
		free(in);
		return err;
	}
	for (unsigned i = 0; i < r->frame.n_fds; i++)
		in->fds[in->n_fds++] = sl_take_fd(&r->fds[i]);
	return 0;
}

/* Of the same place as ours would be; else it is not for us. */
static int take_socket(struct sl_takeover *t, struct sl_received *r)
{
	struct sl_control *c = t->control;
	_cleanup_(sl_freep) char *handover = sl_handover_path(c->opts);
	struct sl_wire_socket m;
	int err = sl_wire_get_socket(&r->frame, &m);

	if (err)
		return err;
	if (r->frame.n_fds != 1)
		return -EBADMSG;
	if (m.kind == SL_WIRE_SOCKET_ADMIN && c->admin_fd < 0 &&
	    sl_str_eqc(m.path, c->opts->admin_socket))
		c->admin_fd = sl_take_fd(&r->fds[0]);
	if (m.kind == SL_WIRE_SOCKET_METRICS && c->metrics_fd < 0 && c->opts->metrics &&
	    sl_addr_eq(&m.addr, &c->opts->metrics_address))
		c->metrics_fd = sl_take_fd(&r->fds[0]);
	if (m.kind == SL_WIRE_SOCKET_HANDOVER && t->handover_fd < 0 && handover &&
	    sl_str_eqc(m.path, handover))
		t->handover_fd = sl_take_fd(&r->fds[0]);
	return 0;
}

static int refused(const struct sl_wire_frame *f)
{
	struct sl_wire_text m;
	int r = sl_wire_get_text(f, &m);

	sl_error("the sluiced that runs does not let this one take over: %.*s",
		 r ? 0 : (int)m.text.len, r ? "" : m.text.ptr);
	return -ECONNREFUSED;
}

static int on_hello(struct sl_takeover *t, const struct sl_wire_frame *f)
{
	struct sl_wire_hello m;
	int r = sl_wire_get_hello(f, &m);

	if (r)
		return r;
	if (m.min_version > SL_WIRE_VERSION || m.version < SL_WIRE_MIN_VERSION)
		return -EPROTONOSUPPORT;
	t->yields = m.version >= SL_WIRE_VERSION_YOURS;
	sl_info("taking over from a process that runs version=\"%.*s\" abi=%u",
		SL_STR_ARG(m.software), m.abi);
	return 0;
}

static int on_offer(struct sl_takeover *t, struct sl_received *r)
{
	switch (r->frame.type) {
	case SL_WIRE_HELLO:
		return on_hello(t, &r->frame);
	case SL_WIRE_SOURCE:
		return take_source(t, r);
	case SL_WIRE_SOCKET:
		return take_socket(t, r);
	case SL_WIRE_OFFERED:
		return SL_OFFER_COMPLETE;
	case SL_WIRE_REFUSE:
		return refused(&r->frame);
	default:
		return 0; /* of a later version, which does without our knowing it */
	}
}

int sl_takeover_receive_offer(struct sl_takeover *t)
{
	uint64_t end = sl_clock_now_ns() + OFFER_NS, now;
	struct sl_received r;
	int err = 0;

	while (!err) {
		err = sl_channel_next(t->channel, &r);
		if (err > 0) {
			err = on_offer(t, &r);
			sl_received_close(&r);
			sl_channel_done(t->channel);
		} else if (!err) {
			now = sl_clock_now_ns();
			err = now < end ? sl_channel_wait(t->channel, end - now) : -ETIMEDOUT;
		}
	}
	return err;
}

int sl_takeover_say_hello(struct sl_takeover *t)
{
	struct sl_wire_hello hello = {
		.version = SL_WIRE_VERSION,
		.min_version = SL_WIRE_MIN_VERSION,
		.abi = SL_ABI_VERSION,
		.software = SL_STR(SL_VERSION),
	};
	struct sl_wire_out o = {0};

	/* Zeroes then, which the old process compares with what it has. */
	(void)sl_datapath_pins_id(t->control->opts->bpffs, &hello.pins_dev, &hello.pins_ino);
	sl_wire_put_hello(&o, &hello);
	return sl_channel_send(t->channel, &o, NULL, 0);
}

static int dial(const struct sl_options *opts, int *ret_fd)
{
	_cleanup_(sl_closep) int fd =
		socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	_cleanup_(sl_freep) char *path = sl_handover_path(opts);
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	size_t len;

	if (fd < 0)
		return -errno;
	if (!path)
		return -ENOMEM;
	len = strlen(path);
	if (len >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	memcpy(sun.sun_path, path, len + 1);
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)))
		return errno == ENOENT || errno == ECONNREFUSED ? SL_TAKEOVER_NOBODY : -errno;
	*ret_fd = sl_take_fd(&fd);
	return 0;
}

/* A process that has just died, or has just started, has the pins and does not answer yet, or any
 * more. */
int sl_takeover_dial(const struct sl_options *opts, int *ret_fd)
{
	const struct timespec pause = {.tv_nsec = DIAL_RETRY_NS};
	uint64_t end = sl_clock_now_ns() + DIAL_NS;
	int r = dial(opts, ret_fd);

	while (r == SL_TAKEOVER_NOBODY && sl_datapath_is_locked(opts->bpffs) &&
	       sl_clock_now_ns() < end) {
		(void)nanosleep(&pause, NULL); /* cut short by a signal: as well */
		r = dial(opts, ret_fd);
	}
	return r;
}
