/* SPDX-License-Identifier: Apache-2.0 */
#include "core/limits.h"

#include <errno.h>
#include "base/clock.h"

struct setting {
	enum sl_limit limit;
	uint64_t min, max;
	const char *meaning;
};

static const struct setting settings[] = {
	{SL_LIMIT_REQUEST_LINE_BYTES, 64, 1 << 20, "method, target and version; over: 414"},
	{SL_LIMIT_HEADER_BYTES, 256, 1 << 20, "a whole message head; over: 431"},
	{SL_LIMIT_HEADER_COUNT, 1, 10000, "header lines of a message; over: 431"},
	{SL_LIMIT_TRAILER_BYTES, 64, 1 << 20, "trailer section; over: 431"},
	{SL_LIMIT_HEADER_TIMEOUT, 1, 86400000,
	 "ms from a request's first byte to its head's end: 408"},
	{SL_LIMIT_IDLE_TIMEOUT, 1, 86400000, "ms a client connection may idle between requests"},
	{SL_LIMIT_CONNECT_TIMEOUT, 1, 3600000, "ms for a connection to an endpoint"},
	{SL_LIMIT_PING_INTERVAL, 10, 86400000,
	 "ms between signs of life of an HTTP/2 connection in use"},
	{SL_LIMIT_H2_STREAMS, 1, 100000, "open at a time on a connection; over: REFUSED_STREAM"},
	{SL_LIMIT_H2_WINDOW_BYTES, 65535, 1 << 26, "that a stream may send ahead of its reader"},
	{SL_LIMIT_H2_CONTINUATIONS, 0, 100000, "frames of a head behind its first; over: GOAWAY"},
	{SL_LIMIT_H2_RESETS, 0, 1000000000, "streams given up in 10 s; over: GOAWAY"},
	{SL_LIMIT_H2_SETTINGS, 1, 1000000000, "SETTINGS frames in 10 s; over: GOAWAY"},
	{SL_LIMIT_H2_PINGS, 0, 1000000000, "PING frames in 10 s; over: GOAWAY"},
	{SL_LIMIT_H2_EMPTY_FRAMES, 0, 1000000000, "DATA frames without data in 10 s; over: GOAWAY"},
	{SL_LIMIT_H2_WINDOW_UPDATES, 0, 1000000000,
	 "unexplained WINDOW_UPDATEs in 10 s; over: GOAWAY"},
	{SL_LIMIT_H2_PRIORITIES, 0, 1000000000, "PRIORITY frames in 10 s; over: GOAWAY"},
	{SL_LIMIT_CONNECTIONS, 1, 100000000, "client connections; over: reset"},
	{SL_LIMIT_BUFFERED_BYTES, 1 << 16, 1ULL << 40, "queued in all sockets; over: 503"},
	{SL_LIMIT_SOCKET_RECEIVE_BYTES, 0, 1 << 29,
	 "received ahead by the kernel for a socket; 0: its choice"},
	{SL_LIMIT_SOCKET_UNSENT_BYTES, 0, 1 << 30, "that it has yet to send; 0: its choice"},
	{SL_LIMIT_MIRRORS, 0, 1000000, "mirrors under way; over: none"},
	{SL_LIMIT_AUTH_BODY_BYTES, 0, 1 << 30, "of a body that an authorization sees; over: 413"},
	{SL_LIMIT_AUTH_TIMEOUT, 1, 3600000, "ms for an authorization; over: 403"},
	{SL_LIMIT_MIRROR_BODY_BYTES, 0, 1 << 30, "of a body, unsent to a mirror; over: given up"},
	{SL_LIMIT_SPLICE_BYTES, 1024, 1 << 30, "spliced to an application and unread; over: TCP"},
	{SL_LIMIT_SPLICE_TOTAL_BYTES, 1024, 1ULL << 40, "the same of all connections"},
	{SL_LIMIT_SPLICE_AFTER, 1, 1000000, "exchanges of a connection before it is spliced"},
};

static void set(struct sl_proxy_opts *o, enum sl_limit limit, uint64_t v)
{
	switch (limit) {
	case SL_LIMIT_REQUEST_LINE_BYTES:
		o->h1.start_line_bytes = (uint32_t)v;
		break;
	case SL_LIMIT_HEADER_BYTES:
		o->h1.head_bytes = (uint32_t)v;
		break;
	case SL_LIMIT_HEADER_COUNT:
		o->h1.n_headers = (uint32_t)v;
		break;
	case SL_LIMIT_TRAILER_BYTES:
		o->h1.trailer_bytes = (uint32_t)v;
		break;
	case SL_LIMIT_HEADER_TIMEOUT:
		o->header_timeout_ns = v * SL_NS_PER_MS;
		break;
	case SL_LIMIT_IDLE_TIMEOUT:
		o->idle_timeout_ns = v * SL_NS_PER_MS;
		break;
	case SL_LIMIT_CONNECT_TIMEOUT:
		o->connect_timeout_ns = v * SL_NS_PER_MS;
		break;
	case SL_LIMIT_PING_INTERVAL:
		o->ping_interval_ns = v * SL_NS_PER_MS;
		break;
	case SL_LIMIT_H2_STREAMS:
		o->h2.n_streams = (uint32_t)v;
		break;
	case SL_LIMIT_H2_WINDOW_BYTES:
		o->h2.window_bytes = (uint32_t)v;
		break;
	case SL_LIMIT_H2_CONTINUATIONS:
		o->h2.continuations = (uint32_t)v;
		break;
	case SL_LIMIT_H2_RESETS:
		o->h2.resets = (uint32_t)v;
		break;
	case SL_LIMIT_H2_SETTINGS:
		o->h2.settings = (uint32_t)v;
		break;
	case SL_LIMIT_H2_PINGS:
		o->h2.pings = (uint32_t)v;
		break;
	case SL_LIMIT_H2_EMPTY_FRAMES:
		o->h2.empty_frames = (uint32_t)v;
		break;
	case SL_LIMIT_H2_WINDOW_UPDATES:
		o->h2.window_updates = (uint32_t)v;
		break;
	case SL_LIMIT_H2_PRIORITIES:
		o->h2.priorities = (uint32_t)v;
		break;
	case SL_LIMIT_CONNECTIONS:
		o->max_conns = (uint32_t)v;
		break;
	case SL_LIMIT_BUFFERED_BYTES:
		o->max_buffered_bytes = v;
		break;
	case SL_LIMIT_SOCKET_RECEIVE_BYTES:
		o->room.receive_bytes = (uint32_t)v;
		break;
	case SL_LIMIT_SOCKET_UNSENT_BYTES:
		o->room.unsent_bytes = (uint32_t)v;
		break;
	case SL_LIMIT_MIRRORS:
		o->max_mirrors = (uint32_t)v;
		break;
	case SL_LIMIT_AUTH_BODY_BYTES:
		o->auth_body_bytes = (uint32_t)v;
		break;
	case SL_LIMIT_AUTH_TIMEOUT:
		o->auth_timeout_ns = v * SL_NS_PER_MS;
		break;
	case SL_LIMIT_MIRROR_BODY_BYTES:
		o->mirror_body_bytes = (uint32_t)v;
		break;
	case SL_LIMIT_SPLICE_BYTES:
		o->splice_bytes = v;
		break;
	case SL_LIMIT_SPLICE_TOTAL_BYTES:
		o->splice_total_bytes = v;
		break;
	case SL_LIMIT_SPLICE_AFTER:
		o->splice_exchanges = (uint32_t)v;
		break;
	default:
		break; /* not in the table */
	}
}

static const struct setting *find(struct sl_str name)
{
	for (size_t i = 0; i < sizeof(settings) / sizeof(*settings); i++) {
		if (sl_str_eqc(name, sl_limit_name(settings[i].limit)))
			return &settings[i];
	}
	return NULL;
}

int sl_limits_set(struct sl_proxy_opts *opts, const char *text, char *err, size_t err_len)
{
	const char *eq = strchr(text, '=');
	struct sl_str name = {text, eq ? (size_t)(eq - text) : strlen(text)};
	const struct setting *s = find(name);
	uint64_t v;

	if (!s || !eq) {
		(void)snprintf(err, err_len, "%s; sluiced --help lists the limits",
			       s ? "expected NAME=VALUE" : "no such limit");
		return -EINVAL;
	}
	if (sl_str_to_u64(sl_str_from(eq + 1), s->max, &v) || v < s->min) {
		(void)snprintf(err, err_len, "expected a number from %llu to %llu",
			       (unsigned long long)s->min, (unsigned long long)s->max);
		return -EINVAL;
	}
	set(opts, s->limit, v);
	return 0;
}

void sl_limits_per_worker(struct sl_proxy_opts *opts, uint32_t n_workers)
{
	opts->max_conns = (opts->max_conns + n_workers - 1) / n_workers;
	opts->share_descriptors = (opts->share_descriptors + n_workers - 1) / n_workers;
	opts->splice_total_bytes = (opts->splice_total_bytes + n_workers - 1) / n_workers;
	opts->max_buffered_bytes = (opts->max_buffered_bytes + n_workers - 1) / n_workers;
	opts->max_mirrors = (opts->max_mirrors + n_workers - 1) / n_workers;
}

void sl_limits_help(void)
{
	for (size_t i = 0; i < sizeof(settings) / sizeof(*settings); i++)
		printf("  %-20s %s\n", sl_limit_name(settings[i].limit), settings[i].meaning);
}
