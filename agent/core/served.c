/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network namespaces that are served: a listener for each family in each, known to the kernel
 * as ours, given to the workers, and only then published, so that a steered connection always finds
 * somebody who accepts it.
 */
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "core/handover.h"
#include "core/handover_wire.h"
#include "core/state.h"

enum {
	BACKLOG = 4096,
	/* Below the kernel's default range of ephemeral ports and above the services people run. */
	PORT_FIRST = 15001,
	PORT_LAST = 15999,
};

struct unserve {
	struct sl_ack ack;
	struct sl_served *served;
};

static int listen_on(struct sl_served *s, const struct sl_addr *addr)
{
	_cleanup_(sl_closep) int fd = -1;
	struct sockaddr_storage ss;
	socklen_t len = sl_addr_to_sockaddr(addr, &ss);
	int one = 1, r;

	fd = sl_source_socket(s->source, ss.ss_family, SOCK_STREAM, 0);
	if (fd < 0)
		return fd;
	if (ss.ss_family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)))
		return -errno;
	/* Connections of an agent that was here before may be in TIME_WAIT. Not SO_REUSEPORT, which
	 * would let a process in the pod take a share of the connections. */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)))
		return -errno;
	r = sl_datapath_own(s->control->datapath, fd, SL_OWN_LISTENER);
	if (r)
		return r;
	if (bind(fd, (struct sockaddr *)&ss, len) || listen(fd, BACKLOG))
		return -errno;
	s->fds[s->n_fds++] = sl_take_fd(&fd);
	return 0;
}

/* First free port; *ret is 0 where the family is off. */
static int listen_somewhere(struct sl_served *s, const char *ip, uint16_t *ret)
{
	struct sl_addr addr;
	int r = sl_addr_parse_ip(sl_str_from(ip), 0, &addr);

	assert(!r);
	for (addr.port = PORT_FIRST; addr.port <= PORT_LAST; addr.port++) {
		r = listen_on(s, &addr);
		if (!r) {
			*ret = addr.port;
			return 0;
		}
		if (r != -EADDRINUSE)
			break;
	}
	return r;
}

static void close_listeners(struct sl_served *s)
{
	while (s->n_fds)
		sl_closep(&s->fds[--s->n_fds]);
}

static void served_free(struct sl_served *s)
{
	close_listeners(s);
	sl_source_unref(s->source);
	free(s);
}

static bool has_address(const struct sl_source *s, const struct sl_addr *a)
{
	for (uint32_t i = 0; i < s->n_addrs; i++) {
		if (sl_addr_eq(&s->addrs[i], a))
			return true;
	}
	return false;
}

/* New ones first: an address that stays is never missing. */
static void put_addresses(struct sl_served *s, const struct sl_source *old)
{
	struct sl_datapath *dp = s->control->datapath;
	uint64_t cookie = s->source->cookie;
	int r = 0;

	for (uint32_t i = 0; i < s->source->n_addrs && !r; i++)
		r = sl_datapath_addr_set(dp, cookie, &s->source->addrs[i]);
	if (r)
		sl_error("sockets bound to an address are not steered netns=\"%s\": %s",
			 s->source->name, sl_strerror(r));
	for (uint32_t i = 0; old && i < old->n_addrs; i++) {
		if (!has_address(s->source, &old->addrs[i]))
			(void)sl_datapath_addr_del(dp, cookie, &old->addrs[i]); /* gone is gone */
	}
}

static void publish(struct sl_served *s)
{
	struct sl_netns_entry e = {.port4 = s->port4, .port6 = s->port6, .n_addr4 = s->n_addr4};
	int r;

	for (uint32_t i = s->source->n_addrs; i-- > 0;) {
		const struct sl_addr *a = &s->source->addrs[i];

		*(sl_addr_is_v4(a) ? &e.source4 : &e.source6) = *a;
	}
	r = sl_datapath_netns_set(s->control->datapath, s->source->cookie, &e);
	if (r)
		sl_error("connections of this network namespace are not steered netns=\"%s\": %s",
			 s->source->name, sl_strerror(r));
	s->published = !r;
}

struct added {
	struct sl_ack ack;
	struct sl_control *control;
	uint64_t cookie;
};

/* Else another process does. */
static bool accepts(const struct sl_control *c)
{
	return !c->passive && !c->waiting;
}

static void on_added(struct sl_mail *m)
{
	struct added *a =
		sl_container_of(sl_container_of(m, struct sl_ack, mail), struct added, ack);
	struct sl_served *s = sl_map_get(&a->control->served, SL_KEY(&a->cookie));

	/* It may have gone meanwhile. */
	if (s && !a->control->draining && accepts(a->control) && !a->control->giving) {
		/* All workers have just answered. Without a first beat the kernel would steer
		 * nobody to them. */
		if (!a->control->last_beat_ns)
			sl_control_beat(a->control);
		publish(s);
	}
	free(a);
}

static int give_to_workers(struct sl_served *s)
{
	struct sl_control *c = s->control;
	struct added *a = sl_new(struct added);

	if (!a)
		return -ENOMEM;
	a->control = c;
	a->cookie = s->source->cookie;
	a->ack.mail.fn = on_added;
	a->ack.to = c->mailbox;
	atomic_store(&a->ack.pending, c->n_workers);
	for (uint32_t i = 0; i < c->n_workers; i++) {
		if (sl_worker_add_source(c->workers[i], s->source, s->fds,
					 accepts(c) ? s->n_fds : 0, &a->ack))
			sl_error("out of memory, worker %u does not serve netns=\"%s\"", i,
				 s->source->name);
	}
	return 0;
}

static void count_ports(struct sl_served *s)
{
	uint16_t first = 32768, last = 60999; /* the kernel's default */
	int r = sl_source_port_range(s->source, &first, &last);

	if (r)
		sl_warn("cannot read ip_local_port_range netns=\"%s\": %s", s->source->name,
			sl_strerror(r));
	s->n_ports = (uint32_t)last - first + 1;
}

/* A client socket has a port of its own towards each listener address. The hook chooses among them
 * at random, so that the first has T + T/2 + T/3 ... connections when the n-th is opened at n * T:
 * a quarter of the ports for T keeps that sum below all of them. */
void sl_served_crowd(struct sl_control *c, uint64_t cookie, int change)
{
	struct sl_served *s = sl_map_get(&c->served, SL_KEY(&cookie));
	char text[SL_ADDR_TEXT];
	struct sl_addr addr;
	int r;

	if (!s)
		return;
	s->n_conns += change;
	if (c->draining || c->passive || !s->port4 || s->n_addr4 == SL_MAX_ADDRESSES ||
	    (int64_t)s->n_conns * 4 < (int64_t)s->n_ports * s->n_addr4)
		return;
	(void)snprintf(text, sizeof(text), "127.0.0.%u", s->n_addr4 + 1U);
	r = sl_addr_parse_ip(sl_str_from(text), s->port4, &addr);
	if (!r)
		r = listen_on(s, &addr);
	if (!r) {
		s->n_addr4++;
		r = give_to_workers(s);
	}
	if (r)
		sl_warn("no further listener netns=\"%s\" address=%s: %s", s->source->name, text,
			sl_strerror(r));
	else
		sl_info("further listener netns=\"%s\" address=%s connections=%d", s->source->name,
			text, s->n_conns);
}

/* The listeners of the process before have its connections in their queues; they know them as its
 * own, but its maps need not be ours. */
static int own_inherited(struct sl_served *s)
{
	int r = 0;

	for (uint32_t i = 0; i < s->n_fds && !r; i++)
		r = sl_datapath_own(s->control->datapath, s->fds[i], SL_OWN_LISTENER);
	return r;
}

static int listen_here(struct sl_served *s)
{
	int r, r6;

	if (sl_takeover_claim(s->control, s))
		return own_inherited(s);
	s->n_addr4 = 1;
	r = listen_somewhere(s, "127.0.0.1", &s->port4);
	r6 = listen_somewhere(s, "::1", &s->port6);
	if (r6)
		sl_debug("no IPv6 listener netns=\"%s\": %s", s->source->name, sl_strerror(r6));
	return r6 ? r : 0;
}

static int serve(struct sl_control *c, struct sl_source *source)
{
	struct sl_served *s = sl_new(struct sl_served);
	int r;

	if (!s)
		return -ENOMEM;
	s->control = c;
	s->source = sl_source_ref(source);
	r = listen_here(s);
	if (!r)
		r = sl_map_put(&c->served, SL_KEY(&s->source->cookie), s, NULL);
	if (r) {
		served_free(s);
		return r;
	}
	count_ports(s);
	put_addresses(s, NULL);
	sl_info("serving netns=\"%s\" cookie=%llu port4=%u port6=%u addresses=%u", source->name,
		(unsigned long long)source->cookie, s->port4, s->port6, source->n_addrs);
	return give_to_workers(s);
}

static void on_removed(struct sl_mail *m)
{
	struct unserve *u =
		sl_container_of(sl_container_of(m, struct sl_ack, mail), struct unserve, ack);

	served_free(u->served);
	free(u);
}

static void unserve(struct sl_control *c, struct sl_served *s)
{
	struct unserve *u = sl_new(struct unserve);
	uint64_t cookie = s->source->cookie;

	sl_info("no longer serving netns=\"%s\"", s->source->name);
	(void)sl_datapath_netns_del(c->datapath, cookie); /* a stale entry finds no listener */
	sl_map_del(&c->served, SL_KEY(&cookie));
	if (!u) {
		/* The descriptors stay open, which is better than workers polling closed ones. */
		sl_error("out of memory, network namespace stays open netns=\"%s\"",
			 s->source->name);
		return;
	}
	u->served = s;
	u->ack.mail.fn = on_removed;
	u->ack.to = c->mailbox;
	atomic_store(&u->ack.pending, c->n_workers);
	for (uint32_t i = 0; i < c->n_workers; i++)
		(void)sl_worker_remove_source(c->workers[i], cookie,
					      &u->ack); /* counted down anyway */
}

static int change(struct sl_control *c, struct sl_served *s, struct sl_source *source)
{
	struct sl_source *old = s->source;
	int r;

	s->source = sl_source_ref(source);
	/* The map's key lies in the source: the new one's takes its place, which needs no memory.
	 */
	r = sl_map_put(&c->served, SL_KEY(&s->source->cookie), s, NULL);
	put_addresses(s, old);
	sl_source_unref(old);
	return r ? r : give_to_workers(s);
}

void sl_served_event(void *control, enum sl_netns_event event, struct sl_source *source)
{
	struct sl_control *c = control;
	struct sl_served *s = sl_map_get(&c->served, SL_KEY(&source->cookie));
	int r = 0;

	if (c->draining)
		return;
	if (event == SL_NETNS_REMOVED) {
		if (s)
			unserve(c, s);
		return;
	}
	r = s ? change(c, s, source) : serve(c, source);
	if (r)
		sl_error("cannot serve netns=\"%s\": %s", source->name, sl_strerror(r));
}

void sl_served_wanted(void *control, const struct sl_event *ev)
{
	struct sl_control *c = control;
	uint64_t cookie = ev->netns;

	/* Before the first configuration nobody is served: entries are of an agent before. */
	if (!c->netns || c->draining || sl_map_get(&c->served, SL_KEY(&cookie)))
		return;
	/* The caller may have ended by now, or its namespace be one that is not usable: not an
	 * error. */
	(void)sl_netns_discover(c->netns, cookie, ev->pid);
}

void sl_served_unpublish_all(struct sl_control *c)
{
	struct sl_served *s;
	size_t pos = 0;

	while ((s = sl_map_next(&c->served, &pos, NULL))) {
		(void)sl_datapath_netns_del(c->datapath,
					    s->source->cookie); /* the listener closes soon */
		s->published = false;
	}
}

void sl_served_publish_all(struct sl_control *c)
{
	struct sl_served *s;
	size_t pos = 0;

	while ((s = sl_map_next(&c->served, &pos, NULL))) {
		put_addresses(s, NULL);
		publish(s);
	}
}

void sl_served_give_all(struct sl_control *c)
{
	struct sl_served *s;
	size_t pos = 0;

	while ((s = sl_map_next(&c->served, &pos, NULL))) {
		if (give_to_workers(s))
			sl_error("out of memory, connections are not accepted netns=\"%s\"",
				 s->source->name);
	}
}

/* It began to listen there while we prepared: ours are as good, but its queues may hold
 * connections. */
void sl_served_merge(struct sl_control *c, const struct sl_wire_source *m, int *fds, unsigned n_fds)
{
	struct sl_served *s = sl_map_get(&c->served, SL_KEY(&m->cookie));

	for (unsigned i = 0; s && i < n_fds && s->n_fds < SL_MAX_LISTENERS; i++)
		s->fds[s->n_fds++] = sl_take_fd(&fds[i]);
	if (s && m->port4 == s->port4 && m->n_addr4 > s->n_addr4)
		s->n_addr4 = m->n_addr4;
	if (s && own_inherited(s))
		sl_warn("listeners of the process before are not known to the kernel netns=\"%s\"",
			s->source->name);
}

void sl_served_free_all(struct sl_control *c)
{
	struct sl_served *s;
	size_t pos = 0;

	while ((s = sl_map_next(&c->served, &pos, NULL)))
		served_free(s);
	sl_map_deinit(&c->served);
}
