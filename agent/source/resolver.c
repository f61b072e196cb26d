/* SPDX-License-Identifier: Apache-2.0 */
#include "source/resolver.h"

#include <ares.h>
#include <errno.h>
#include <sys/epoll.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "loop/loop.h"

enum { TIMEOUT_MS = 2000, TRIES = 2 };

struct name {
	struct sl_resolver *resolver;
	struct sl_timer due; /* to be asked again */
	uint64_t backoff_s;
	uint64_t stale_ns; /* until when the answer counts without another */
	bool asking, settled, wanted;
	bool gone;	     /* nobody wants it, but a question is under way */
	struct sl_list node; /* of the resolver's gone ones */
	struct sl_str text;
	char query[]; /* "name.", so that no search list is looked at */
};

/* A socket of c-ares. */
struct sock {
	struct sl_list node;
	struct sl_watch watch;
	struct sl_resolver *resolver;
};

struct sl_resolver {
	struct sl_loop *loop;
	struct sl_resolver_opts opts;
	ares_channel channel;
	bool has_channel;
	struct sl_list socks, gone;
	struct sl_map names;
	struct sl_hosts hosts;
	struct sl_timer timeout; /* of c-ares */
	struct sl_task tell;
	struct sl_log_limit limit;
	size_t n_unsettled;
	bool full; /* said already */
};

/* ---- c-ares in the loop ---- */

static void arm_timeout(struct sl_resolver *r)
{
	struct timeval tv, *left = ares_timeout(r->channel, NULL, &tv);

	if (left)
		sl_timer_arm(r->loop, &r->timeout,
			     sl_loop_now(r->loop) + (uint64_t)left->tv_sec * SL_NS_PER_S +
				     (uint64_t)left->tv_usec * 1000);
	else
		sl_timer_cancel(&r->timeout);
}

static void on_timeout(struct sl_timer *t)
{
	struct sl_resolver *r = sl_container_of(t, struct sl_resolver, timeout);

	ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	arm_timeout(r);
}

static void on_event(struct sl_watch *w, uint32_t events)
{
	struct sl_resolver *r = sl_container_of(w, struct sock, watch)->resolver;
	int fd = w->fd;

	/* The socket may be gone after this. */
	ares_process_fd(r->channel, events & ~(uint32_t)EPOLLOUT ? fd : ARES_SOCKET_BAD,
			events & EPOLLOUT ? fd : ARES_SOCKET_BAD);
	arm_timeout(r);
}

static struct sock *find_sock(const struct sl_resolver *r, int fd)
{
	sl_list_foreach (it, &r->socks) {
		struct sock *s = sl_container_of(it, struct sock, node);

		if (s->watch.fd == fd)
			return s;
	}
	return NULL;
}

static void free_sock(struct sock *s)
{
	sl_watch_remove(&s->watch);
	sl_list_remove(&s->node);
	free(s);
}

/* A socket that cannot be watched is found dead by its question's time out. */
static void on_sock(void *arg, ares_socket_t fd, int readable, int writable)
{
	struct sl_resolver *r = arg;
	uint32_t events = (readable ? (uint32_t)EPOLLIN : 0) | (writable ? (uint32_t)EPOLLOUT : 0);
	struct sock *s = find_sock(r, fd);

	if (s && !events) {
		free_sock(s);
	} else if (s) {
		(void)sl_watch_modify(&s->watch, events); /* as above */
	} else if (events) {
		s = sl_new(struct sock);
		if (!s)
			return;
		s->resolver = r;
		s->watch = SL_WATCH_INIT;
		sl_list_append(&r->socks, &s->node);
		if (sl_watch_add(r->loop, &s->watch, fd, events, on_event))
			free_sock(s);
	}
}

/* ---- answers ---- */

static void ask(struct name *n);

static void on_due(struct sl_timer *t)
{
	struct name *n = sl_container_of(t, struct name, due);

	ask(n);
	arm_timeout(n->resolver);
}

static void on_tell(struct sl_task *t)
{
	struct sl_resolver *r = sl_container_of(t, struct sl_resolver, tell);

	r->opts.changed(r->opts.arg);
}

static void settle(struct name *n)
{
	struct sl_resolver *r = n->resolver;

	if (n->settled)
		return;
	n->settled = true;
	if (--r->n_unsettled == 0)
		sl_task_queue(r->loop, &r->tell);
}

static void ask_again(struct name *n, uint64_t after_s)
{
	sl_timer_arm(n->resolver->loop, &n->due,
		     sl_loop_now(n->resolver->loop) + after_s * SL_NS_PER_S);
}

/* Ever more seldom. */
static uint64_t next_backoff(struct name *n)
{
	n->backoff_s = n->backoff_s ? n->backoff_s * 2 : 1;
	if (n->backoff_s > SL_RESOLVER_RETRY_MAX_S)
		n->backoff_s = SL_RESOLVER_RETRY_MAX_S;
	return n->backoff_s;
}

static int keep(struct name *n, const struct sl_addr *addrs, uint32_t n_addrs)
{
	struct sl_resolver *r = n->resolver;
	struct sl_host *host;
	int e = sl_host_new(n->text, addrs, n_addrs, &host);

	if (e)
		return e;
	n->stale_ns = sl_loop_now(r->loop) + SL_RESOLVER_STALE_S * SL_NS_PER_S;
	if (sl_host_eq(host, sl_hosts_get(&r->hosts, n->text))) {
		(void)sl_host_unref(host); /* always NULL */
		return 0;
	}
	e = sl_hosts_put(&r->hosts, host);
	if (!e)
		sl_task_queue(r->loop, &r->tell);
	return e;
}

static uint32_t clamp_ttl(int ttl)
{
	if (ttl < SL_RESOLVER_TTL_MIN_S)
		return SL_RESOLVER_TTL_MIN_S;
	return ttl > SL_RESOLVER_TTL_MAX_S ? SL_RESOLVER_TTL_MAX_S : (uint32_t)ttl;
}

/* Of the first node's family; they come sorted by preference. Returns how many. */
static uint32_t take_addresses(const struct ares_addrinfo *from, struct sl_addr *out, int *ret_ttl)
{
	int family = from->nodes ? from->nodes->ai_family : 0;
	uint32_t n = 0;

	*ret_ttl = SL_RESOLVER_TTL_MAX_S;
	for (const struct ares_addrinfo_cname *c = from->cnames; c; c = c->next) {
		if (c->ttl < *ret_ttl)
			*ret_ttl = c->ttl;
	}
	for (const struct ares_addrinfo_node *a = from->nodes; a; a = a->ai_next) {
		struct sockaddr_storage ss = {0};

		if (a->ai_family != family || n == SL_RESOLVER_ADDRESSES)
			continue;
		memcpy(&ss, a->ai_addr, a->ai_addrlen);
		if (sl_addr_from_sockaddr(&ss, &out[n]))
			continue;
		out[n++].port = 0;
		if (a->ai_ttl < *ret_ttl)
			*ret_ttl = a->ai_ttl;
	}
	return n;
}

static void on_failed(struct name *n, int status)
{
	struct sl_resolver *r = n->resolver;
	uint64_t now = sl_loop_now(r->loop), skipped;

	if (sl_log_allowed(&r->limit, now, &skipped))
		sl_warn("DNS does not answer host=\"%.*s\" skipped=%llu: %s", SL_STR_ARG(n->text),
			(unsigned long long)skipped, ares_strerror(status));
	if (n->stale_ns && now > n->stale_ns && sl_hosts_drop(&r->hosts, n->text))
		sl_task_queue(r->loop, &r->tell);
	ask_again(n, next_backoff(n));
}

static void on_found(struct name *n, const struct ares_addrinfo *found)
{
	struct sl_addr addrs[SL_RESOLVER_ADDRESSES];
	int ttl;
	uint32_t n_addrs = take_addresses(found, addrs, &ttl);

	if (keep(n, addrs, n_addrs)) {
		on_failed(n, ARES_ENOMEM);
		return;
	}
	n->backoff_s = 0;
	ask_again(n, clamp_ttl(ttl));
}

static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *found)
{
	struct name *n = arg;

	n->asking = false;
	if (n->gone || status == ARES_EDESTRUCTION) {
		if (n->gone) {
			sl_list_remove(&n->node);
			free(n);
		}
	} else {
		if (status == ARES_SUCCESS)
			on_found(n, found);
		else if ((status == ARES_ENOTFOUND || status == ARES_ENODATA) && !keep(n, NULL, 0))
			ask_again(n, next_backoff(n));
		else
			on_failed(n, status);
		settle(n);
	}
	if (found)
		ares_freeaddrinfo(found);
}

static void ask(struct name *n)
{
	struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};

	n->asking = true;
	ares_getaddrinfo(n->resolver->channel, n->query, NULL, &hints, on_answer, n);
}

/* ---- names ---- */

static int name_new(struct sl_resolver *r, struct sl_str text)
{
	struct name *n = sl_calloc(1, sizeof(*n) + text.len + 2);

	if (!n)
		return -ENOMEM;
	memcpy(n->query, text.ptr, text.len);
	n->query[text.len] = '.';
	n->text = (struct sl_str){n->query, text.len};
	n->resolver = r;
	n->due = SL_TIMER_INIT(on_due);
	n->wanted = true;
	if (sl_map_put(&r->names, n->text, n, NULL)) {
		free(n);
		return -ENOMEM;
	}
	r->n_unsettled++;
	/* Not from here: it may be answered at once. */
	sl_timer_arm(r->loop, &n->due, sl_loop_now(r->loop));
	return 0;
}

static void name_drop(struct name *n)
{
	struct sl_resolver *r = n->resolver;

	(void)sl_map_del(&r->names, n->text);	 /* it is there */
	(void)sl_hosts_drop(&r->hosts, n->text); /* perhaps there was no answer */
	sl_timer_cancel(&n->due);
	settle(n);
	n->gone = true;
	if (n->asking)
		sl_list_append(&r->gone, &n->node);
	else
		free(n);
}

static void drop_unwanted(struct sl_resolver *r)
{
	struct name *n;
	size_t pos = 0;

	while ((n = sl_map_next(&r->names, &pos, NULL))) {
		if (!n->wanted)
			name_drop(n);
	}
}

static int want(struct sl_resolver *r, struct sl_str text)
{
	struct name *n = sl_map_get(&r->names, text);

	if (n) {
		n->wanted = true;
		return 0;
	}
	if (r->names.n < SL_RESOLVER_NAMES)
		return name_new(r, text);
	if (!r->full)
		sl_warn("more hosts are named by XBackends than are asked for limit=%d "
			"host=\"%.*s\"",
			SL_RESOLVER_NAMES, SL_STR_ARG(text));
	r->full = true;
	return 0;
}

int sl_resolver_follow(struct sl_resolver *r, const struct sl_model *model)
{
	const struct sl_map *backends = &model->by_kind[SL_KIND_XBACKEND];
	const struct sl_xbackend *b;
	struct name *n;
	size_t pos = 0;
	int e = 0;

	while ((n = sl_map_next(&r->names, &pos, NULL)))
		n->wanted = false;
	pos = 0;
	while (!e && (b = sl_map_next(backends, &pos, NULL))) {
		if (b->hostname.len)
			e = want(r, b->hostname);
	}
	if (!e)
		drop_unwanted(r);
	return e;
}

const struct sl_hosts *sl_resolver_hosts(const struct sl_resolver *r)
{
	return &r->hosts;
}

bool sl_resolver_is_settled(const struct sl_resolver *r)
{
	return !r->n_unsettled;
}

/* ---- life ---- */

static int error_of(int status)
{
	return status == ARES_SUCCESS ? 0 : status == ARES_ENOMEM ? -ENOMEM : -EINVAL;
}

static int open_channel(struct sl_resolver *r)
{
	char lookups[] = "b"; /* DNS, not the agent's own hosts file */
	struct ares_options opts = {
		.timeout = TIMEOUT_MS,
		.tries = TRIES,
		.sock_state_cb = on_sock,
		.sock_state_cb_data = r,
		.lookups = lookups,
	};
	int status = ares_library_init(ARES_LIB_INIT_ALL);

	if (status)
		return error_of(status);
	status = ares_init_options(&r->channel, &opts,
				   ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB |
					   ARES_OPT_LOOKUPS);
	if (status) {
		ares_library_cleanup();
		return error_of(status);
	}
	r->has_channel = true;
	return r->opts.servers ? error_of(ares_set_servers_ports_csv(r->channel, r->opts.servers))
			       : 0;
}

int sl_resolver_new(struct sl_loop *loop, const struct sl_resolver_opts *opts,
		    struct sl_resolver **ret)
{
	struct sl_resolver *r = sl_new(struct sl_resolver);
	int e;

	if (!r)
		return -ENOMEM;
	r->loop = loop;
	r->opts = *opts;
	r->timeout = SL_TIMER_INIT(on_timeout);
	r->tell = SL_TASK_INIT(on_tell);
	sl_list_init(&r->socks);
	sl_list_init(&r->gone);
	e = open_channel(r);
	if (e)
		(void)sl_resolver_free(r); /* always NULL */
	else
		*ret = r;
	return e;
}

struct sl_resolver *sl_resolver_free(struct sl_resolver *r)
{
	struct name *n;
	size_t pos = 0;

	if (!r)
		return NULL;
	if (r->has_channel) {
		ares_destroy(r->channel); /* answers what is under way, with EDESTRUCTION */
		ares_library_cleanup();
	}
	sl_list_foreach_safe (it, &r->socks)
		free_sock(sl_container_of(it, struct sock, node));
	while ((n = sl_map_next(&r->names, &pos, NULL))) {
		sl_timer_cancel(&n->due);
		free(n);
	}
	sl_map_deinit(&r->names);
	sl_hosts_deinit(&r->hosts);
	sl_timer_cancel(&r->timeout);
	sl_task_cancel(&r->tell);
	free(r);
	return NULL;
}
