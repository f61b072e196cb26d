/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "proxy/listener.h"
#include "proxy/state.h"
#include "upstream/random.h"

struct sl_config *sl_config_ref(struct sl_config *c)
{
	c->refs++;
	return c;
}

void sl_config_unref(struct sl_config *c)
{
	if (!c || --c->refs)
		return;
	sl_snapshot_unref(c->snap);
	free(c);
}

static void reap(struct sl_task *t)
{
	struct sl_proxy *p = sl_container_of(t, struct sl_proxy, reap);

	sl_list_foreach_safe (n, &p->dead)
		sl_conn_reap(sl_container_of(n, struct sl_conn, node));
}

SL_DEFINE_CLEANUP(struct sl_proxy *, sl_proxy_free)

int sl_proxy_new(struct sl_loop *loop, const struct sl_proxy_opts *opts,
		 const struct sl_proxy_host *host, struct sl_metrics_shard *metrics,
		 struct sl_access_log *log, struct sl_proxy **ret)
{
	_cleanup_(sl_proxy_freep) struct sl_proxy *p = sl_new(struct sl_proxy);
	int r;

	if (!p)
		return -ENOMEM;
	p->loop = loop;
	p->opts = *opts;
	p->opts.h2.head_bytes = opts->h1.head_bytes;
	p->opts.h2.n_headers = opts->h1.n_headers;
	p->opts.h2.trailer_bytes = opts->h1.trailer_bytes;
	p->host = *host;
	p->metrics = metrics;
	p->log = log;
	p->reap = SL_TASK_INIT(reap);
	p->shed_timer = SL_TIMER_INIT(sl_shed_on_timer);
	p->random = sl_random_seed();
	sl_list_init(&p->free_streams);
	sl_list_init(&p->dead);
	sl_list_init(&p->debtors);
	sl_list_init(&p->lent);
	sl_list_init(&p->splice_asking);
	sl_list_init(&p->splice_quiet);
	p->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (p->spare_fd < 0)
		return -errno;
	r = sl_pool_new(loop, &(struct sl_pool_opts){0}, &p->pool);
	if (!r)
		r = sl_lb_new(&p->lb);
	if (!r)
		r = sl_tls_sessions_new(&p->tls_sessions);
	if (!r)
		r = sl_match_scratch_new(&p->scratch);
	if (r)
		return r;
	*ret = sl_take(p);
	return 0;
}

bool sl_proxy_is_tight(const struct sl_proxy *p)
{
	return p->buffered_bytes >= p->opts.max_buffered_bytes / 2;
}

uint64_t sl_proxy_limit(const struct sl_proxy *p, enum sl_limit limit)
{
	switch (limit) {
	case SL_LIMIT_REQUEST_LINE_BYTES:
		return p->opts.h1.start_line_bytes;
	case SL_LIMIT_HEADER_BYTES:
		return p->opts.h1.head_bytes;
	case SL_LIMIT_HEADER_COUNT:
		return p->opts.h1.n_headers;
	case SL_LIMIT_TRAILER_BYTES:
		return p->opts.h1.trailer_bytes;
	case SL_LIMIT_HEADER_TIMEOUT:
		return p->opts.header_timeout_ns / SL_NS_PER_MS;
	case SL_LIMIT_IDLE_TIMEOUT:
		return p->opts.idle_timeout_ns / SL_NS_PER_MS;
	case SL_LIMIT_CONNECT_TIMEOUT:
		return p->opts.connect_timeout_ns / SL_NS_PER_MS;
	case SL_LIMIT_PING_INTERVAL:
		return p->opts.ping_interval_ns / SL_NS_PER_MS;
	case SL_LIMIT_H2_STREAMS:
		return p->opts.h2.n_streams;
	case SL_LIMIT_H2_WINDOW_BYTES:
		return p->opts.h2.window_bytes;
	case SL_LIMIT_H2_CONTINUATIONS:
		return p->opts.h2.continuations;
	case SL_LIMIT_H2_RESETS:
		return p->opts.h2.resets;
	case SL_LIMIT_H2_SETTINGS:
		return p->opts.h2.settings;
	case SL_LIMIT_H2_PINGS:
		return p->opts.h2.pings;
	case SL_LIMIT_H2_EMPTY_FRAMES:
		return p->opts.h2.empty_frames;
	case SL_LIMIT_H2_WINDOW_UPDATES:
		return p->opts.h2.window_updates;
	case SL_LIMIT_H2_PRIORITIES:
		return p->opts.h2.priorities;
	case SL_LIMIT_CONNECTIONS:
		return p->opts.max_conns;
	case SL_LIMIT_BUFFERED_BYTES:
		return p->opts.max_buffered_bytes;
	case SL_LIMIT_MIRRORS:
		return p->opts.max_mirrors;
	case SL_LIMIT_AUTH_BODY_BYTES:
		return p->opts.auth_body_bytes;
	case SL_LIMIT_AUTH_TIMEOUT:
		return p->opts.auth_timeout_ns / SL_NS_PER_MS;
	case SL_LIMIT_MIRROR_BODY_BYTES:
		return p->opts.mirror_body_bytes;
	default:
		return 0;
	}
}

struct sl_proxy_source *sl_proxy_source(const struct sl_proxy *p, uint64_t cookie)
{
	return sl_map_get(&p->sources, SL_KEY(&cookie));
}

/* The map's key lies in the source object, which can be exchanged for one with the same cookie. */
static struct sl_str key_of(const struct sl_proxy_source *src)
{
	return SL_KEY(&src->cookie);
}

static void free_source(struct sl_proxy_source *src, enum sl_end_reason reason)
{
	sl_listener_remove_all(src);
	sl_list_foreach_safe (n, &src->conns)
		sl_conn_kill(sl_container_of(n, struct sl_conn, node), reason);
	reap(&src->proxy->reap); /* they refer to src */
	sl_sides_drop(src);
	sl_pool_drop_source(src->proxy->pool, src->cookie);
	sl_source_unref(src->source);
	free(src);
}

struct sl_proxy *sl_proxy_free(struct sl_proxy *p)
{
	struct sl_proxy_source *src;
	size_t pos = 0;

	if (!p)
		return NULL;
	while ((src = sl_map_next(&p->sources, &pos, NULL)))
		free_source(src, SL_END_SHUTDOWN);
	sl_map_deinit(&p->sources);
	sl_lent_free(p);
	sl_task_cancel(&p->reap);
	sl_timer_cancel(&p->shed_timer);
	sl_pool_free(p->pool);
	sl_lb_free(p->lb);
	sl_tls_sessions_free(p->tls_sessions);
	sl_wrr_deinit(&p->wrr);
	sl_match_scratch_free(p->scratch);
	sl_detect_forget(p);
	sl_map_deinit(&p->splice_wanted); /* empty: all hops are gone */
	sl_list_foreach_safe (n, &p->free_streams) {
		struct sl_stream *s = sl_container_of(n, struct sl_stream, node);

		sl_arena_deinit(&s->arena);
		free(s);
	}
	sl_config_unref(p->config);
	sl_blocks_deinit(&p->blocks);
	sl_closep(&p->spare_fd);
	free(p);
	return NULL;
}

int sl_proxy_set_snapshot(struct sl_proxy *p, struct sl_snapshot *snap)
{
	struct sl_config *config = sl_new(struct sl_config), *before;
	int r;

	if (!config)
		return -ENOMEM;
	r = sl_wrr_resize(&p->wrr, snap->n_wrr);
	if (r) {
		free(config);
		return r;
	}
	config->snap = sl_snapshot_ref(snap);
	config->refs = 1;
	before = p->config;
	p->config = config;
	p->config_generation++;
	sl_lb_prune(p->lb, before ? before->snap : NULL, snap);
	sl_pool_prune(p->pool, before ? before->snap : NULL, snap);
	sl_config_unref(before);
	return 0;
}

int sl_proxy_add_source(struct sl_proxy *p, struct sl_source *source, const int *fds,
			uint32_t n_fds)
{
	struct sl_proxy_source *src = sl_proxy_source(p, source->cookie);
	int r = 0;

	if (!src) {
		src = sl_new(struct sl_proxy_source);
		if (!src)
			return -ENOMEM;
		src->proxy = p;
		src->cookie = source->cookie;
		sl_list_init(&src->listeners);
		sl_list_init(&src->conns);
		sl_list_init(&src->sides);
		r = sl_map_put(&p->sources, key_of(src), src, NULL);
		if (r) {
			free(src);
			return r;
		}
	}
	sl_source_ref(source);
	sl_source_unref(src->source);
	src->source = source;
	sl_splice_review_endpoints(p, source->cookie, source);
	p->config_generation++; /* clients are told apart by the addresses: look again */
	for (uint32_t i = 0; i < n_fds && !r && !p->draining && !p->giving; i++)
		r = sl_listener_add(src, fds[i]);
	return r;
}

void sl_proxy_remove_source(struct sl_proxy *p, uint64_t cookie)
{
	struct sl_proxy_source *src = sl_map_del(&p->sources, SL_KEY(&cookie));

	sl_splice_review_endpoints(p, cookie, NULL);
	if (src)
		free_source(src, SL_END_SOURCE_GONE);
}

void sl_proxy_adopt(struct sl_proxy *p, const struct sl_proxy_accepted *accepted)
{
	struct sl_proxy_source *src = sl_proxy_source(p, accepted->source);

	if (src)
		sl_conn_accept(src, accepted);
	else
		(void)close(accepted->fd); /* its namespace went while it was on the way */
}

void sl_proxy_drain(struct sl_proxy *p)
{
	struct sl_proxy_source *src;
	size_t pos = 0;

	p->draining = true;
	while ((src = sl_map_next(&p->sources, &pos, NULL))) {
		/* They came before the kernel was told to steer no more. */
		sl_listener_accept_all(src);
		sl_list_foreach (n, &src->conns)
			sl_conn_drain(sl_container_of(n, struct sl_conn, node));
	}
}

void sl_proxy_end_accepting(struct sl_proxy *p)
{
	struct sl_proxy_source *src;
	size_t pos = 0;

	while ((src = sl_map_next(&p->sources, &pos, NULL))) {
		sl_listener_accept_all(src);
		sl_listener_remove_all(src);
	}
}

size_t sl_proxy_n_conns(const struct sl_proxy *p)
{
	return __atomic_load_n(&p->n_conns, __ATOMIC_RELAXED);
}
