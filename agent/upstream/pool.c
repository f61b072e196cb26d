/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A slot holds the idle connections of one (source, endpoint, TLS), newest first; a second list
 * threads all connections in the order in which they became idle. As the idle timeout is the same
 * for all, the end of that list expires first and one timer is enough. A slot that runs empty stays
 * for one idle timeout, since its next connection usually follows within milliseconds. Shared
 * connections hang in the same slots and in a list of their own; they are not idle, and their owner
 * ends them.
 */
#include "upstream/upstream.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"

enum { DEFAULT_IDLE_PER_KEY = 1024, DEFAULT_IDLE = 4096 };
#define DEFAULT_IDLE_TIMEOUT_NS (60 * SL_NS_PER_S)

struct key {
	uint64_t source;
	uint64_t tls;
	struct sl_addr endpoint;
	uint8_t pad[6]; /* zero: keys are compared as bytes */
};
_Static_assert(sizeof(struct key) == 40, "pool key has no hidden padding");

struct slot {
	struct key key;
	struct sl_list idle;   /* sl_pooled.by_key, newest first */
	struct sl_list shared; /* sl_shared.by_key, oldest first */
	uint32_t n_idle;
	struct sl_list in_empty; /* pool.empty, while there are none of either kind */
	uint64_t since_ns;	 /* empty since */
	struct sl_pool *pool;
};

struct sl_pool {
	struct sl_loop *loop;
	struct sl_pool_opts opts;
	struct sl_map slots;   /* slot.key -> struct slot */
	struct sl_list idle;   /* sl_pooled.by_age, newest first */
	struct sl_list shared; /* sl_shared.by_age, oldest first */
	struct sl_list empty;  /* slot.in_empty, newest first */
	size_t n_idle, n_empty;
	struct sl_timer timer;
};

static struct sl_pooled *oldest_of(const struct slot *s)
{
	return sl_container_of(s->idle.prev, struct sl_pooled, by_key);
}

static struct sl_pooled *oldest(const struct sl_pool *p)
{
	return sl_container_of(p->idle.prev, struct sl_pooled, by_age);
}

static struct slot *oldest_empty(const struct sl_pool *p)
{
	return sl_container_of(p->empty.prev, struct slot, in_empty);
}

/* A timer that is armed fires no later than needed, as what is added expires last. */
static void arm(struct sl_pool *p)
{
	uint64_t since_ns = UINT64_MAX;

	if (p->timer.loop)
		return;
	if (!sl_list_empty(&p->idle))
		since_ns = oldest(p)->idle_since_ns;
	if (!sl_list_empty(&p->empty) && oldest_empty(p)->since_ns < since_ns)
		since_ns = oldest_empty(p)->since_ns;
	if (since_ns != UINT64_MAX)
		sl_timer_arm(p->loop, &p->timer, since_ns + p->opts.idle_timeout_ns);
}

static void free_slot(struct slot *s)
{
	struct sl_pool *p = s->pool;

	sl_list_remove(&s->in_empty);
	p->n_empty--;
	(void)sl_map_del(&p->slots, SL_KEY(&s->key)); /* it is there */
	free(s);
}

static bool is_empty(const struct slot *s)
{
	return !s->n_idle && sl_list_empty(&s->shared);
}

/* Something is about to go in. */
static void unpark_slot(struct slot *s)
{
	if (!is_empty(s))
		return;
	sl_list_remove(&s->in_empty);
	s->pool->n_empty--;
}

/* Something has gone out. */
static void park_slot(struct slot *s)
{
	struct sl_pool *p = s->pool;

	if (!is_empty(s))
		return;

	if (p->n_empty >= p->opts.max_idle)
		free_slot(oldest_empty(p));
	s->since_ns = sl_loop_now(p->loop);
	sl_list_prepend(&p->empty, &s->in_empty);
	p->n_empty++;
	arm(p);
}

/* Out of the pool's lists; its owner's again. */
void sl_pool_release(struct sl_pooled *c)
{
	struct slot *s = c->key;

	sl_list_remove(&c->by_key);
	sl_list_remove(&c->by_age);
	c->key = NULL;
	s->pool->n_idle--;
	s->n_idle--;
	park_slot(s);
}

static void drop(struct sl_pooled *c)
{
	sl_pool_release(c);
	c->destroy(c);
}

static void retire(struct sl_shared *c)
{
	sl_pool_unshare(c);
	c->retire(c);
}

/* A server has nothing to say on an idle connection: whatever it was, it cannot be used again. */
static void on_event(struct sl_watch *w, uint32_t events)
{
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		drop(sl_container_of(w, struct sl_pooled, watch));
}

static void expire(struct sl_timer *t)
{
	struct sl_pool *p = sl_container_of(t, struct sl_pool, timer);
	uint64_t now = sl_loop_now(p->loop), timeout = p->opts.idle_timeout_ns;

	while (p->n_idle && oldest(p)->idle_since_ns + timeout <= now)
		drop(oldest(p));
	while (p->n_empty && oldest_empty(p)->since_ns + timeout <= now)
		free_slot(oldest_empty(p));
	arm(p);
}

int sl_pool_new(struct sl_loop *loop, const struct sl_pool_opts *opts, struct sl_pool **ret)
{
	struct sl_pool *p = sl_new(struct sl_pool);

	if (!p)
		return -ENOMEM;
	p->loop = loop;
	if (opts)
		p->opts = *opts;
	if (!p->opts.max_idle_per_key)
		p->opts.max_idle_per_key = DEFAULT_IDLE_PER_KEY;
	if (!p->opts.max_idle)
		p->opts.max_idle = DEFAULT_IDLE;
	if (!p->opts.idle_timeout_ns)
		p->opts.idle_timeout_ns = DEFAULT_IDLE_TIMEOUT_NS;
	p->timer = SL_TIMER_INIT(expire);
	sl_list_init(&p->idle);
	sl_list_init(&p->shared);
	sl_list_init(&p->empty);
	*ret = p;
	return 0;
}

struct sl_pool *sl_pool_free(struct sl_pool *p)
{
	if (!p)
		return NULL;
	while (p->n_idle)
		drop(oldest(p));
	while (!sl_list_empty(&p->shared))
		retire(sl_container_of(p->shared.next, struct sl_shared, by_age));
	while (p->n_empty)
		free_slot(oldest_empty(p));
	sl_timer_cancel(&p->timer);
	sl_map_deinit(&p->slots);
	free(p);
	return NULL;
}

/*
 * What the peer did, asked of the kernel, for requests that must not be sent twice: servers close
 * right behind an answer or when they have waited for long enough, and a busy round, in which no
 * watch is told of it, lasts for milliseconds.
 */
static bool untouched(const struct sl_pooled *c)
{
	struct pollfd p = {.fd = c->watch.fd, .events = POLLIN | POLLRDHUP};

	return poll(&p, 1, 0) == 0;
}

/*
 * The newest that has been idle while the loop looked: a peer that closed it or spoke by then would
 * have taken it out of here. A close in the round since is met like one that crosses the request on
 * its way, which no look can rule out: the request is sent again. NULL: all came back just now.
 */
static struct sl_pooled *newest_looked_at(const struct slot *s)
{
	uint64_t sweep = sl_loop_sweeps(s->pool->loop);

	sl_list_foreach (it, &s->idle) {
		struct sl_pooled *c = sl_container_of(it, struct sl_pooled, by_key);

		if (c->sweep != sweep && c->served)
			return c;
	}
	return NULL;
}

static struct sl_pooled *newest_fit(const struct slot *s, sl_pooled_fits_fn fits)
{
	sl_list_foreach_safe (it, &s->idle) {
		struct sl_pooled *c = sl_container_of(it, struct sl_pooled, by_key);

		if (fits && !fits(c))
			continue;
		if (untouched(c))
			return c;
		drop(c); /* the slot stays */
	}
	return NULL;
}

struct sl_pooled *sl_pool_take(struct sl_pool *p, uint64_t source, const struct sl_addr *endpoint,
			       uint64_t tls, bool again, sl_pooled_fits_fn fits)
{
	struct key key = {.source = source, .tls = tls, .endpoint = *endpoint};
	struct slot *s = sl_map_get(&p->slots, SL_KEY(&key));
	struct sl_pooled *c = s && again ? newest_looked_at(s) : NULL;

	if (!c && s)
		c = newest_fit(s, fits);
	if (c)
		sl_pool_release(c);
	return c;
}

static struct slot *find_slot(struct sl_pool *p, const struct key *key)
{
	struct slot *s = sl_map_get(&p->slots, SL_KEY(key));

	if (s)
		return s;
	s = sl_new(struct slot);
	if (!s)
		return NULL;
	s->key = *key;
	s->pool = p;
	sl_list_init(&s->idle);
	sl_list_init(&s->shared);
	if (sl_map_put(&p->slots, SL_KEY(&s->key), s, NULL)) {
		free(s);
		return NULL;
	}
	park_slot(s);
	return s;
}

void sl_pool_give(struct sl_pool *p, struct sl_pooled *c)
{
	struct key key = {.source = c->source, .tls = c->tls, .endpoint = c->endpoint};
	struct slot *s = find_slot(p, &key);

	if (!s) {
		c->destroy(c);
		return;
	}
	unpark_slot(s);
	s->n_idle++;
	c->watch.fn = on_event;
	c->key = s;
	c->idle_since_ns = sl_loop_now(p->loop);
	c->sweep = sl_loop_sweeps(p->loop);
	sl_list_prepend(&s->idle, &c->by_key);
	sl_list_prepend(&p->idle, &c->by_age);
	p->n_idle++;
	if (s->n_idle > p->opts.max_idle_per_key)
		drop(oldest_of(s));
	if (p->n_idle > p->opts.max_idle)
		drop(oldest(p));
	arm(p);
}

struct sl_pooled *sl_pool_take_oldest(struct sl_pool *p)
{
	struct sl_pooled *c;

	if (!p->n_idle)
		return NULL;
	c = oldest(p);
	sl_pool_release(c);
	return c;
}

int sl_pool_share(struct sl_pool *p, struct sl_shared *c)
{
	struct key key = {.source = c->source, .tls = c->tls, .endpoint = c->endpoint};
	struct slot *s = find_slot(p, &key);

	if (!s)
		return -ENOMEM;
	unpark_slot(s);
	c->key = s;
	sl_list_append(&s->shared, &c->by_key);
	sl_list_append(&p->shared, &c->by_age);
	return 0;
}

void sl_pool_unshare(struct sl_shared *c)
{
	struct slot *s = c->key;

	if (!s)
		return;
	sl_list_remove(&c->by_key);
	sl_list_remove(&c->by_age);
	c->key = NULL;
	park_slot(s);
}

struct sl_shared *sl_pool_find_shared(struct sl_pool *p, uint64_t source,
				      const struct sl_addr *endpoint, uint64_t tls)
{
	struct key key = {.source = source, .tls = tls, .endpoint = *endpoint};
	struct slot *s = sl_map_get(&p->slots, SL_KEY(&key));

	if (!s)
		return NULL;
	sl_list_foreach (it, &s->shared) {
		struct sl_shared *c = sl_container_of(it, struct sl_shared, by_key);

		if (c->has_room(c))
			return c;
	}
	return NULL;
}

void sl_pool_drop_source(struct sl_pool *p, uint64_t source)
{
	sl_list_foreach_safe (it, &p->shared) {
		struct sl_shared *c = sl_container_of(it, struct sl_shared, by_age);

		if (c->source == source)
			retire(c);
	}
	sl_list_foreach_safe (it, &p->idle) {
		struct sl_pooled *c = sl_container_of(it, struct sl_pooled, by_age);

		if (c->source == source)
			drop(c);
	}
	sl_list_foreach_safe (it, &p->empty) {
		struct slot *s = sl_container_of(it, struct slot, in_empty);

		if (s->key.source == source)
			free_slot(s);
	}
}

bool sl_pool_drop_idle(struct sl_pool *p, const struct sl_addr *endpoint)
{
	for (struct sl_list *it = p->idle.prev; it != &p->idle; it = it->prev) {
		struct sl_pooled *c = sl_container_of(it, struct sl_pooled, by_age);

		if (sl_addr_eq(&c->endpoint, endpoint)) {
			drop(c);
			return true;
		}
	}
	return false;
}

/* Endpoints by address, borrowed from the snapshot before. */
static int collect_gone(void *arg, struct sl_str key, const struct sl_part *before,
			const struct sl_part *after)
{
	const struct sl_upstream *was = sl_upstream_of(before), *is = sl_upstream_of(after);
	struct sl_map *gone = arg, lost = SL_MAP_INIT;
	struct sl_endpoint *e;
	size_t pos = 0;
	int r = 0;

	for (uint32_t i = 0; was && i < was->n_endpoints && !r; i++) {
		e = (struct sl_endpoint *)&was->endpoints[i];
		r = sl_map_put(&lost, SL_KEY(&e->addr), e, NULL);
	}
	/* Connections of another TLS are of no use any more, whatever else goes with them. */
	if (was && is && was->tls != is->tls)
		is = NULL;
	for (uint32_t i = 0; is && i < is->n_endpoints; i++)
		(void)sl_map_del(&lost, SL_KEY(&is->endpoints[i].addr)); /* may be absent */
	while (!r && (e = sl_map_next(&lost, &pos, NULL)))
		r = sl_map_put(gone, SL_KEY(&e->addr), e, NULL);
	sl_map_deinit(&lost);
	return r;
}

/* Costs what differs between the snapshots. Out of memory, all connections go: they can be made
 * again. */
void sl_pool_prune(struct sl_pool *p, const struct sl_snapshot *before,
		   const struct sl_snapshot *after)
{
	_cleanup_(sl_map_deinit) struct sl_map gone = SL_MAP_INIT;
	bool all;

	if (!before)
		return;
	all = sl_pmap_diff(&before->upstreams, &after->upstreams, collect_gone, &gone) < 0;
	if (!all && !gone.n)
		return;
	sl_list_foreach_safe (it, &p->idle) {
		struct sl_pooled *c = sl_container_of(it, struct sl_pooled, by_age);

		if (all || sl_map_get(&gone, SL_KEY(&c->endpoint)))
			drop(c);
	}
	sl_list_foreach_safe (it, &p->shared) {
		struct sl_shared *c = sl_container_of(it, struct sl_shared, by_age);

		if (all || sl_map_get(&gone, SL_KEY(&c->endpoint)))
			retire(c);
	}
}

size_t sl_pool_n_idle(const struct sl_pool *p)
{
	return p->n_idle;
}
