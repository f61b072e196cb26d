/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notifications only say that something changed; what is, is always read by a new dump. So lost
 * notifications (ENOBUFS) and those that cross a dump need no care but to read once more.
 */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "netns/enter.h"
#include "netns/known.h"

enum {
	LO_INDEX = 1, /* in every namespace; its name may be changed */
	MAX_ADDRS = 65536,
	MAX_MESSAGES_A_ROUND = 64,
	TRIES = 3,
	BUFFER_BYTES = 32768, /* as large as a dump's messages get */
};
/* Whoever changes addresses in a row, out of malice or not, gets at most a twentieth of the thread.
 */
#define SYNC_PAUSE_NS (20 * SL_NS_PER_MS)
enum { SYNC_PAUSE_FACTOR = 20 };
#define REOPEN_PAUSE_NS SL_NS_PER_S

/* What one reply adds up to. */
struct reading {
	bool lo_up;
	bool stale; /* something changed meanwhile, or was lost */
};

/* ---- addresses ---- */

static bool is_link_local(const struct sl_addr *a)
{
	if (sl_addr_is_v4(a))
		return a->ip[12] == 169 && a->ip[13] == 254;
	return a->ip[0] == 0xfe && (a->ip[1] & 0xc0) == 0x80;
}

static bool to_addr(uint8_t family, const struct rtattr *attr, struct sl_addr *ret)
{
	struct sockaddr_storage ss = {.ss_family = family};

	if (family == AF_INET && RTA_PAYLOAD(attr) == 4)
		memcpy(&((struct sockaddr_in *)&ss)->sin_addr, RTA_DATA(attr), 4);
	else if (family == AF_INET6 && RTA_PAYLOAD(attr) == 16)
		memcpy(&((struct sockaddr_in6 *)&ss)->sin6_addr, RTA_DATA(attr), 16);
	else
		return false;
	return sl_addr_from_sockaddr(&ss, ret) == 0;
}

/* The address in a message of interest: no loopback, nothing link-local. ret_ready: it can be used
 * already (RFC 4862 section 5.4). */
static bool addr_of(const struct nlmsghdr *h, struct sl_addr *ret, bool *ret_ready)
{
	const struct ifaddrmsg *m = NLMSG_DATA(h);
	const struct rtattr *local = NULL, *address = NULL;
	uint32_t flags;
	int len;

	if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*m)))
		return false;
	flags = m->ifa_flags;
	len = (int)IFA_PAYLOAD(h);
	for (const struct rtattr *a = IFA_RTA(m); RTA_OK(a, len); a = RTA_NEXT(a, len)) {
		if (a->rta_type == IFA_LOCAL)
			local = a;
		else if (a->rta_type == IFA_ADDRESS)
			address = a; /* the other end's, where there is a local one too */
		else if (a->rta_type == IFA_FLAGS && RTA_PAYLOAD(a) == sizeof(flags))
			memcpy(&flags, RTA_DATA(a), sizeof(flags));
	}
	if (!local)
		local = address;
	if (!local || !to_addr(m->ifa_family, local, ret))
		return false;
	*ret_ready = !(flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED));
	return !sl_addr_is_loopback(ret) && !is_link_local(ret);
}

/* Beyond the limit addresses are left out. Returns 0 or -ENOMEM. */
static int keep_addr(struct sl_netns_watch *w, const struct sl_addr *a)
{
	if (w->n_addrs == w->cap_addrs) {
		uint32_t cap = w->cap_addrs ? w->cap_addrs * 2 : 64;
		struct sl_addr *addrs;

		if (w->cap_addrs >= MAX_ADDRS)
			return 0;
		addrs = sl_reallocarray(w->addrs, cap, sizeof(*addrs));
		if (!addrs)
			return -ENOMEM;
		w->addrs = addrs;
		w->cap_addrs = cap;
	}
	w->addrs[w->n_addrs++] = *a;
	return 0;
}

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct sl_addr));
}

/* Two interfaces may have the same address. */
static void sort_addrs(struct sl_netns_watch *w)
{
	uint32_t n = 0;

	if (!w->n_addrs)
		return;
	qsort(w->addrs, w->n_addrs, sizeof(*w->addrs), compare);
	for (uint32_t i = 1; i < w->n_addrs; i++)
		if (!sl_addr_eq(&w->addrs[i], &w->addrs[n]))
			w->addrs[++n] = w->addrs[i];
	w->n_addrs = n + 1;
}

/* ---- messages ---- */

static bool is_lo(const struct nlmsghdr *h)
{
	const struct ifinfomsg *m = NLMSG_DATA(h);

	return h->nlmsg_len >= NLMSG_LENGTH(sizeof(*m)) && m->ifi_index == LO_INDEX;
}

/* A notification that is worth a new dump: the host sees one for each pod's link. */
static bool matters(const struct nlmsghdr *h)
{
	struct sl_addr a;
	bool ready;

	switch (h->nlmsg_type) {
	case RTM_NEWADDR:
	case RTM_DELADDR:
		return addr_of(h, &a, &ready);
	case RTM_NEWLINK:
	case RTM_DELLINK:
		return is_lo(h);
	default:
		return false;
	}
}

enum { READ_MORE = 1 };

/* One message of the reply. Returns 0 at its end, READ_MORE, or -errno. */
static int take_message(struct sl_netns *n, const struct nlmsghdr *h, struct reading *reading)
{
	const struct nlmsgerr *err = NLMSG_DATA(h);
	struct sl_addr a;
	bool ready;
	int r;

	if (h->nlmsg_flags & NLM_F_DUMP_INTR)
		reading->stale = true;
	switch (h->nlmsg_type) {
	case NLMSG_DONE:
		return 0;
	case NLMSG_ERROR: /* 0 is an acknowledgement */
		return h->nlmsg_len < NLMSG_LENGTH(sizeof(*err)) ? -EBADMSG : err->error;
	case RTM_NEWLINK:
		if (is_lo(h))
			reading->lo_up =
				((const struct ifinfomsg *)NLMSG_DATA(h))->ifi_flags & IFF_UP;
		return READ_MORE;
	case RTM_NEWADDR:
		if (!addr_of(h, &a, &ready) || !ready)
			return READ_MORE;
		r = keep_addr(n->watch, &a);
		return r ? r : READ_MORE;
	default:
		return READ_MORE;
	}
}

/* Returns 0 with bytes, or -errno; -ENOBUFS: notifications were lost. */
static int receive(const struct sl_netns *n, char *buf, ssize_t *ret_len)
{
	struct iovec iov = {buf, BUFFER_BYTES};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t len = recvmsg(n->rtnl, &msg, 0);

	if (len < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	*ret_len = len;
	return msg.msg_flags & MSG_TRUNC ? -ENOBUFS : 0;
}

/* The kernel makes the next part of a dump whenever one is read, so there is nothing to wait for.
 */
static int read_reply(struct sl_netns *n, struct reading *reading)
{
	char buf[BUFFER_BYTES] __attribute__((aligned(NLMSG_ALIGNTO)));
	ssize_t len;
	int r;

	for (;;) {
		r = receive(n, buf, &len);
		if (r == -ENOBUFS) {
			reading->stale = true;
			continue;
		}
		if (r)
			return r;
		for (const struct nlmsghdr *h = (void *)buf; NLMSG_OK(h, len);
		     h = NLMSG_NEXT(h, len)) {
			if (h->nlmsg_seq != n->seq) {
				reading->stale |= matters(h);
				continue;
			}
			r = take_message(n, h, reading);
			if (r != READ_MORE)
				return r;
		}
	}
}

static int ask(struct sl_netns *n, uint16_t type, uint16_t flags, struct reading *reading)
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg link; /* also fits an address request, which is shorter */
	} req = {
		.h = {.nlmsg_len = sizeof(req),
		      .nlmsg_type = type,
		      .nlmsg_flags = NLM_F_REQUEST | flags,
		      .nlmsg_seq = ++n->seq},
	};

	if (type == RTM_GETLINK)
		req.link.ifi_index = LO_INDEX;
	if (send(n->rtnl, &req, sizeof(req), 0) < 0)
		return -errno;
	return read_reply(n, reading);
}

/* ---- following ---- */

static int read_all(struct sl_netns *n, struct reading *reading)
{
	int r;

	for (int i = 0; i < TRIES; i++) {
		*reading = (struct reading){0};
		n->watch->n_addrs = 0;
		r = ask(n, RTM_GETLINK, NLM_F_ACK, reading);
		if (r)
			return r;
		r = ask(n, RTM_GETADDR, NLM_F_DUMP, reading);
		if (r)
			return r;
		if (!reading->stale)
			break;
	}
	sort_addrs(n->watch);
	return 0;
}

/* A socket in an unknown state is not used again. */
static void drop_rtnl(struct sl_netns *n)
{
	sl_watch_remove(&n->rtnl_watch);
	sl_closep(&n->rtnl);
	n->rtnl = -1;
}

static void sync_now(struct sl_netns *n)
{
	struct sl_loop *loop = n->watch->loop;
	uint64_t start = sl_clock_now_ns(), pause;
	struct reading reading;
	int r;

	r = read_all(n, &reading);
	if (!r)
		r = sl_netns_update(n, reading.lo_up, n->watch->addrs, n->watch->n_addrs);
	if (r) {
		drop_rtnl(n);
		sl_timer_arm(loop, &n->sync_timer, start + REOPEN_PAUSE_NS);
		return;
	}
	pause = (sl_clock_now_ns() - start) * SYNC_PAUSE_FACTOR;
	n->next_sync_ns = start + (pause > SYNC_PAUSE_NS ? pause : SYNC_PAUSE_NS);
	if (reading.stale)
		sl_timer_arm(loop, &n->sync_timer, n->next_sync_ns);
}

static void on_rtnl(struct sl_watch *w, uint32_t events)
{
	char buf[BUFFER_BYTES] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct sl_netns *n = sl_container_of(w, struct sl_netns, rtnl_watch);
	bool stale = false;

	(void)events;
	for (int i = 0; i < MAX_MESSAGES_A_ROUND; i++) {
		ssize_t len;
		int r = receive(n, buf, &len);

		if (r == -EAGAIN)
			break;
		if (r) {
			stale = true;
			continue;
		}
		for (const struct nlmsghdr *h = (void *)buf; NLMSG_OK(h, len);
		     h = NLMSG_NEXT(h, len))
			stale |= matters(h);
	}
	if (!stale)
		return;
	if (sl_loop_now(n->watch->loop) < n->next_sync_ns)
		sl_timer_arm(n->watch->loop, &n->sync_timer, n->next_sync_ns);
	else
		sync_now(n);
}

static int subscribe(struct sl_netns *n)
{
	struct sockaddr_nl sa = {
		.nl_family = AF_NETLINK,
		.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR,
	};

	if (bind(n->rtnl, (struct sockaddr *)&sa, sizeof(sa)))
		return -errno;
	return sl_watch_add(n->watch->loop, &n->rtnl_watch, n->rtnl, EPOLLIN, on_rtnl);
}

static void on_sync_timer(struct sl_timer *t)
{
	struct sl_netns *n = sl_container_of(t, struct sl_netns, sync_timer);
	int rtnl;

	if (n->rtnl >= 0) {
		sync_now(n);
		return;
	}
	rtnl = sl_netns_socket_at(n->source->fd, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	if (rtnl >= 0)
		sl_netns_follow(n, rtnl);
	else
		sl_timer_arm(n->watch->loop, t, sl_loop_now(n->watch->loop) + REOPEN_PAUSE_NS);
}

void sl_netns_follow(struct sl_netns *n, int rtnl)
{
	n->rtnl = rtnl;
	n->sync_timer.fn = on_sync_timer;
	if (!subscribe(n)) {
		sync_now(n);
		return;
	}
	drop_rtnl(n);
	sl_timer_arm(n->watch->loop, &n->sync_timer, sl_loop_now(n->watch->loop) + REOPEN_PAUSE_NS);
}

void sl_netns_unfollow(struct sl_netns *n)
{
	sl_timer_cancel(&n->sync_timer);
	drop_rtnl(n);
}
