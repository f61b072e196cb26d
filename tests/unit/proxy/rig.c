/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include "base/buf.h"

#define DEADLINE_NS (20 * SL_NS_PER_S) /* sanitizers on a busy machine */

enum { SETTLED_ROUNDS = 6, CHUNK_BYTES = 16384 };

/* ---- the fake host ---- */

static int original(void *arg, int fd, struct sl_proxy_original *ret)
{
	struct rig *r = arg;

	(void)fd;
	if (r->original_error)
		return r->original_error;
	*ret = (struct sl_proxy_original){.addr = r->original, .cgroup_id = r->cgroup_id};
	return 0;
}

static int own(void *arg, int fd)
{
	struct rig *r = arg;

	(void)fd;
	r->n_owned++;
	return r->own_error;
}

static int pod_uid(void *arg, uint64_t cgroup_id, char ret_uid[64])
{
	struct rig *r = arg;

	if (!r->pod_uid || cgroup_id != r->cgroup_id)
		return -ENOENT;
	(void)snprintf(ret_uid, 64, "%s", r->pod_uid);
	return 0;
}

/* ---- sockets ---- */

static int listen_on_loopback(struct sockaddr_storage *ret, socklen_t *ret_len)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	cr_assert_geq(fd, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	cr_assert_eq(listen(fd, 512), 0);
	*ret_len = sizeof(*ret);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)ret, ret_len), 0);
	return fd;
}

static void peer_take_over(struct rig_peer *p, int fd)
{
	int one = 1;

	*p = RIG_PEER_INIT;
	p->fd = fd;
	cr_assert_eq(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)), 0);
}

/* Not by sl_malloc(), whose failures are the proxy's alone. */
static void peer_reserve(struct rig_peer *p, size_t n)
{
	char *got;

	if (p->n_got + n <= p->cap)
		return;
	got = realloc(p->got, 2 * (p->n_got + n));
	cr_assert_not_null(got);
	p->got = got;
	p->cap = 2 * (p->n_got + n);
}

static void peer_read(struct rig_peer *p)
{
	while (p->fd >= 0 && !p->eof && !p->error && !p->paused) {
		size_t want = CHUNK_BYTES;
		ssize_t n;

		if (p->limit && p->limit - p->n_got < want)
			want = p->limit - p->n_got;
		if (!want)
			return;
		peer_reserve(p, want);
		n = recv(p->fd, p->got + p->n_got, want, 0);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n > 0)
			p->n_got += (size_t)n;
		else if (n == 0)
			p->eof = true;
		else
			p->error = errno;
	}
}

static void peer_drop(struct rig_peer *p, size_t n)
{
	if (!n)
		return;
	p->n_got -= n;
	p->n_taken += n;
	memmove(p->got, p->got + n, p->n_got);
}

/* ---- life ---- */

struct rig_backend *rig_add_backend(struct rig *r, const char *service, bool refuses)
{
	struct rig_backend *b = &r->backends[r->n_backends++];
	struct sockaddr_storage ss;
	struct sl_addr addr;
	socklen_t len;

	*b = (struct rig_backend){.service = service, .fd = listen_on_loopback(&ss, &len)};
	cr_assert_eq(sl_addr_from_sockaddr(&ss, &addr), 0);
	b->port = addr.port;
	if (refuses) {
		(void)close(b->fd); /* a port that was free a moment ago refuses */
		b->fd = -1;
	}
	return b;
}

void rig_fill(struct rig *r, struct rig_backend *b)
{
	struct sockaddr_in sin = {.sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				  .sin_port = htons(b->port)};

	/* The queue of a listener has one place more than it was told; then SYNs are dropped. */
	cr_assert_eq(listen(b->fd, 0), 0);
	for (unsigned i = 0; i < 4; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

		cr_assert_gt(fd, 0);
		(void)connect(fd, (struct sockaddr *)&sin, sizeof(sin)); /* under way is enough */
		b->fillers[i] = fd;
	}
}

void rig_init(struct rig *r)
{
	*r = (struct rig){.opts = SL_PROXY_OPTS_DEFAULT, .listener = -1, .log_fd = -1};
	cr_assert_eq(sl_addr_parse(SL_STR("10.96.0.1:80"), &r->original), 0);
	(void)rig_add_backend(r, "v1", false);
}

static void add_slices(const struct rig *r, struct sl_buf *text)
{
	for (unsigned i = 0; i < r->n_backends; i++)
		cr_assert_eq(sl_buf_printf(text,
					   "---\n"
					   "apiVersion: discovery.k8s.io/v1\n"
					   "kind: EndpointSlice\n"
					   "metadata:\n"
					   "  name: slice-%u\n"
					   "  namespace: shop\n"
					   "  labels: {kubernetes.io/service-name: %s}\n"
					   "addressType: IPv4\n"
					   "ports: [{name: \"\", port: %u, protocol: TCP}]\n"
					   "endpoints: [{addresses: [127.0.0.1]}]\n",
					   i, r->backends[i].service, r->backends[i].port),
			     0);
}

struct sl_snapshot *rig_snapshot(struct rig *r, const char *rules)
{
	struct sl_buf text = SL_BUF_INIT(0);
	struct sl_snapshot *snap = NULL;

	cr_assert_eq(sl_buf_printf(&text,
				   "apiVersion: v1\nkind: Service\n"
				   "metadata: {name: cart, namespace: shop, annotations: {%s}}\n"
				   "spec:\n  clusterIP: 10.96.0.1\n  ports:\n  - {port: 80%s%s}\n"
				   "---\n"
				   "apiVersion: v1\nkind: Service\n"
				   "metadata: {name: v1, namespace: shop}\n"
				   "spec:\n  clusterIP: 10.96.0.11\n  ports:\n  - {port: 80%s%s}\n",
				   r->annotations ? r->annotations : "",
				   r->app_protocol ? ", appProtocol: " : "",
				   r->app_protocol ? r->app_protocol : "",
				   r->v1_protocol ? ", appProtocol: " : "",
				   r->v1_protocol ? r->v1_protocol : ""),
		     0);
	add_slices(r, &text);
	if (!rules)
		rules = "  - backendRefs: [{name: v1, port: 80}]\n";
	if (*rules)
		cr_assert_eq(
			sl_buf_printf(&text,
				      "---\n"
				      "apiVersion: gateway.networking.k8s.io/v1\n"
				      "kind: HTTPRoute\n"
				      "metadata: {name: route, namespace: shop}\n"
				      "spec:\n"
				      "  parentRefs: [{group: \"\", kind: Service, name: cart}]\n"
				      "  rules:\n%s",
				      rules),
			0);
	if (r->more)
		cr_assert_eq(sl_buf_printf(&text, "%s", r->more), 0);
	cr_assert_eq(sl_buf_append(&text, "", 1), 0);
	cr_assert_eq(config_compile(sl_buf_ptr(&text), ++r->generation, &snap), 0);
	sl_buf_deinit(&text);
	return snap;
}

static void format_time(int from_now_s, char out[32])
{
	time_t t = time(NULL) + from_now_s;
	struct tm tm;

	cr_assert(gmtime_r(&t, &tm));
	cr_assert_gt(strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm), 0);
}

const char *rig_faults(char out[RIG_FAULTS_BYTES], const char *target, const char *fields,
		       int from_s, int to_s)
{
	char from[32], to[32];

	format_time(from_s, from);
	format_time(to_s, to);
	cr_assert_lt(snprintf(out, RIG_FAULTS_BYTES,
			      "---\n"
			      "apiVersion: policy.sluice.dev/v1alpha1\n"
			      "kind: FaultInjection\n"
			      "metadata: {name: chaos, namespace: shop}\n"
			      "spec: {startsAt: '%s', expiresAt: '%s', targetRefs: [%s], %s}\n",
			      from, to, target, fields),
		     RIG_FAULTS_BYTES);
	return out;
}

void rig_configure(struct rig *r, const char *rules)
{
	struct sl_snapshot *snap = rig_snapshot(r, rules);

	cr_assert_eq(sl_proxy_set_snapshot(r->proxy, snap), 0);
	(void)sl_snapshot_unref(snap); /* always NULL */
}

static void open_log(struct rig *r)
{
	char path[32];

	if (!r->logging)
		return;
	r->log_fd = memfd_create("access-log", MFD_CLOEXEC);
	cr_assert_geq(r->log_fd, 0);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", r->log_fd);
	cr_assert_eq(sl_access_log_open(path, &r->log), 0);
}

static struct sl_source *make_source(const struct rig *r)
{
	struct sl_source *s = sl_new(struct sl_source);

	cr_assert_not_null(s);
	s->refs = 1;
	s->cookie = 77;
	s->fd = -1;
	s->is_host = r->is_host;
	return s;
}

void rig_move_source(struct rig *r, const char *ip)
{
	struct sl_source *s = make_source(r);

	cr_assert_eq(sl_addr_parse_ip(sl_str_from(ip), 0, &r->source_addr), 0);
	s->addrs = &r->source_addr;
	s->n_addrs = 1;
	r->source = sl_source_unref(r->source);
	r->source = s;
	cr_assert_eq(sl_proxy_add_source(r->proxy, s, &r->listener, 1), 0);
}

void rig_start(struct rig *r)
{
	const struct sl_metrics_opts metrics = {.n_workers = 1};
	const struct sl_proxy_host host = {.arg = r,
					   .original = original,
					   .own = own,
					   .pod_uid = pod_uid,
					   .hand_over = r->hand_over,
					   .give = r->give,
					   .ask_before = r->ask_before,
					   .splice = r->splice};

	cr_assert_eq(sl_loop_new(&r->loop), 0);
	cr_assert_eq(sl_metrics_new(&metrics, &r->metrics), 0);
	r->shard = sl_metrics_shard(r->metrics, 0);
	open_log(r);
	cr_assert_eq(sl_proxy_new(r->loop, &r->opts, &host, r->shard, r->log, &r->proxy), 0);
	if (!r->unconfigured)
		rig_configure(r, NULL);
	r->source = make_source(r);
	r->listener = listen_on_loopback(&r->address, &r->address_len);
	cr_assert_eq(sl_proxy_add_source(r->proxy, r->source, &r->listener, 1), 0);
}

void rig_free(struct rig *r)
{
	r->proxy = sl_proxy_free(r->proxy);
	r->log = sl_access_log_close(r->log);
	if (r->log_fd >= 0)
		(void)close(r->log_fd);
	r->source = sl_source_unref(r->source);
	(void)close(r->listener);
	for (unsigned i = 0; i < r->n_backends; i++) {
		struct rig_backend *b = &r->backends[i];

		if (b->fd >= 0)
			(void)close(b->fd);
		for (unsigned j = 0; j < 4 && b->fillers[j]; j++)
			(void)close(b->fillers[j]);
	}
	/* Asserts that no watch, timer or task was left behind. */
	r->loop = sl_loop_free(r->loop);
	r->metrics = sl_metrics_free(r->metrics);
}

void rig_stop(struct rig *r)
{
	rig_free(r);
	check_leaks();
}

/* ---- time ---- */

void rig_round(struct rig *r)
{
	cr_assert_eq(sl_loop_round(r->loop, 0), 0);
}

void rig_settle(struct rig *r)
{
	for (unsigned i = 0; i < SETTLED_ROUNDS; i++)
		rig_round(r);
}

bool rig_waiting(struct rig *r, uint64_t *deadline_ns)
{
	uint64_t now = sl_clock_now_ns();

	if (!*deadline_ns)
		*deadline_ns = now + DEADLINE_NS;
	/* What the test's own sockets see does not wake the loop: short waits only. */
	cr_assert_eq(sl_loop_round(r->loop, SL_NS_PER_MS), 0);
	return now < *deadline_ns;
}

void rig_pass(struct rig *r, uint64_t ns)
{
	uint64_t until = sl_clock_now_ns() + ns;

	while (sl_clock_now_ns() < until)
		cr_assert_eq(sl_loop_round(r->loop, SL_NS_PER_MS), 0);
}

/* ---- connections ---- */

void rig_connect(struct rig *r, struct rig_peer *client)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_geq(fd, 0);
	cr_assert_eq(connect(fd, (struct sockaddr *)&r->address, r->address_len), 0);
	cr_assert_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	peer_take_over(client, fd);
}

void rig_peek(struct rig_peer *p)
{
	peer_read(p);
}

bool rig_try_accept(struct rig_backend *b, struct rig_peer *server)
{
	int fd = accept4(b->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return false;
	peer_take_over(server, fd);
	return true;
}

void rig_accept(struct rig *r, struct rig_backend *b, struct rig_peer *server)
{
	uint64_t deadline = 0;
	int fd;

	while ((fd = accept4(b->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) < 0)
		cr_assert(rig_waiting(r, &deadline), "the proxy does not dial the backend");
	peer_take_over(server, fd);
}

bool rig_pending(struct rig *r, struct rig_backend *b)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	rig_settle(r);
	cr_assert_eq(getsockopt(b->fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	return info.tcpi_unacked > 0; /* of a listener: the length of its queue */
}

void rig_send_bytes(struct rig *r, struct rig_peer *p, const void *bytes, size_t n)
{
	const char *at = bytes;
	uint64_t deadline = 0;

	while (n) {
		ssize_t sent = send(p->fd, at, n, MSG_NOSIGNAL);

		if (sent < 0) {
			cr_assert_eq(errno, EAGAIN, "send: %s", strerror(errno));
			cr_assert(rig_waiting(r, &deadline), "nobody takes what is sent");
			continue;
		}
		at += sent;
		n -= (size_t)sent;
	}
}

void rig_send(struct rig *r, struct rig_peer *p, const char *text)
{
	rig_send_bytes(r, p, text, strlen(text));
}

size_t rig_flood(struct rig *r, struct rig_peer *p, size_t limit)
{
	static const char block[CHUNK_BYTES];
	size_t total = 0;
	unsigned n_idle = 0;

	while (total < limit && n_idle < SETTLED_ROUNDS) {
		size_t part = limit - total < sizeof(block) ? limit - total : sizeof(block);
		ssize_t n = send(p->fd, block, part, MSG_NOSIGNAL);

		if (n > 0) {
			total += (size_t)n;
			n_idle = 0;
			continue;
		}
		cr_assert_eq(errno, EAGAIN, "send: %s", strerror(errno));
		n_idle++;
		cr_assert_eq(sl_loop_round(r->loop, 2 * SL_NS_PER_MS), 0);
	}
	return total;
}

static void wait_for_bytes(struct rig *r, struct rig_peer *p, size_t n, const char *what)
{
	uint64_t deadline = 0;

	for (peer_read(p); p->n_got < n && !p->eof && !p->error; peer_read(p)) {
		if (!rig_waiting(r, &deadline))
			break;
	}
	cr_assert_geq(p->n_got, n, "%s: %zu bytes are missing behind \"%.*s\"%s%s", what,
		      n - p->n_got, (int)p->n_got, p->got, p->eof ? ", eof" : "",
		      p->error ? ", reset" : "");
}

void rig_expect_for(struct rig *r, struct rig_peer *p, const char *text, const char *what)
{
	size_t n = strlen(text);

	if (!n)
		return;
	wait_for_bytes(r, p, n, what);
	cr_assert(!memcmp(p->got, text, n), "%s: got \"%.*s\", not \"%s\"", what, (int)p->n_got,
		  p->got, text);
	peer_drop(p, n);
}

void rig_expect_own(struct rig *r, struct rig_peer *p, const char *status, const char *sentence,
		    bool closes)
{
	char text[512];

	(void)snprintf(text, sizeof(text),
		       "HTTP/1.1 %s\r\ncontent-type: text/plain; charset=utf-8\r\n"
		       "Content-Length: %zu\r\n%s\r\nsluice: %s\n",
		       status, strlen("sluice: \n") + strlen(sentence),
		       closes ? "Connection: close\r\n" : "", sentence);
	rig_expect_for(r, p, text, sentence);
}

void rig_expect_bytes(struct rig *r, struct rig_peer *p, const void *bytes, size_t n)
{
	wait_for_bytes(r, p, n, "bytes");
	cr_assert(!memcmp(p->got, bytes, n), "%zu bytes differ", n);
	peer_drop(p, n);
}

void rig_skip(struct rig *r, struct rig_peer *p, size_t n)
{
	wait_for_bytes(r, p, n, "skip");
	peer_drop(p, n);
}

size_t rig_skip_to(struct rig *r, struct rig_peer *p, const char *text)
{
	for (;;) {
		char *at = p->n_got ? memmem(p->got, p->n_got, text, strlen(text)) : NULL;
		size_t n;

		if (!at) {
			wait_for_bytes(r, p, p->n_got + 1, text);
			continue;
		}
		n = (size_t)(at - p->got) + strlen(text);
		peer_drop(p, n);
		return n;
	}
}

/* Size line of a chunk; without it in p->got afterwards. */
static size_t take_chunk_size(struct rig *r, struct rig_peer *p)
{
	size_t n;
	char *end;

	while (!p->n_got || !memchr(p->got, '\n', p->n_got))
		wait_for_bytes(r, p, p->n_got + 1, "chunk size");
	n = strtoul(p->got, &end, 16);
	cr_assert(end > p->got && !memcmp(end, "\r\n", 2), "chunk size \"%.*s\"", (int)p->n_got,
		  p->got);
	peer_drop(p, (size_t)(end - p->got) + 2);
	return n;
}

void rig_expect_chunked(struct rig *r, struct rig_peer *p, const char *body, const char *trailers)
{
	size_t n;

	while ((n = take_chunk_size(r, p))) {
		cr_assert_leq(n, strlen(body));
		wait_for_bytes(r, p, n + 2, "chunk");
		cr_assert(!memcmp(p->got, body, n) && !memcmp(p->got + n, "\r\n", 2),
			  "chunk \"%.*s\"", (int)p->n_got, p->got);
		peer_drop(p, n + 2);
		body += n;
	}
	cr_assert_str_empty(body);
	rig_expect_for(r, p, trailers, "trailers");
	rig_expect_for(r, p, "\r\n", "end of trailers");
}

static void wait_for_end(struct rig *r, struct rig_peer *p)
{
	uint64_t deadline = 0;

	for (peer_read(p); !p->eof && !p->error; peer_read(p)) {
		if (!rig_waiting(r, &deadline))
			break;
	}
	cr_assert_eq(p->n_got, 0, "more came: \"%.*s\"", (int)p->n_got, p->got);
	cr_assert(p->eof || p->error, "the connection stays open");
}

void rig_expect_eof(struct rig *r, struct rig_peer *p)
{
	wait_for_end(r, p);
	cr_assert(p->eof, "reset, not closed: %s", strerror(p->error));
}

void rig_expect_reset(struct rig *r, struct rig_peer *p)
{
	wait_for_end(r, p);
	cr_assert_eq(p->error, ECONNRESET, "closed, not reset: %s", strerror(p->error));
}

void rig_drain(struct rig *r, struct rig_peer *p)
{
	uint64_t deadline = 0;

	for (peer_read(p); !p->eof && !p->error; peer_read(p)) {
		cr_assert(rig_waiting(r, &deadline), "the connection stays open");
		peer_drop(p, p->n_got);
	}
	peer_drop(p, p->n_got);
}

void rig_expect_silence(struct rig *r, struct rig_peer *p)
{
	rig_settle(r);
	peer_read(p);
	cr_assert(!p->n_got && !p->eof && !p->error, "something came: \"%.*s\"%s%s", (int)p->n_got,
		  p->got, p->eof ? ", eof" : "", p->error ? ", reset" : "");
}

void rig_expect_conns(struct rig *r, size_t n)
{
	uint64_t deadline = 0;

	while (sl_proxy_n_conns(r->proxy) != n)
		cr_assert(rig_waiting(r, &deadline), "%zu connections, not %zu",
			  sl_proxy_n_conns(r->proxy), n);
}

void rig_expect_idle(struct rig *r, size_t n)
{
	uint64_t deadline = 0;

	while (sl_pool_n_idle(r->proxy->pool) != n)
		cr_assert(rig_waiting(r, &deadline), "%zu idle connections, not %zu",
			  sl_pool_n_idle(r->proxy->pool), n);
	cr_assert_eq(rig_gauge(r, SL_GAUGE_POOL_IDLE), n);
}

void rig_shut(struct rig_peer *p)
{
	cr_assert_eq(shutdown(p->fd, SHUT_WR), 0);
}

void rig_reset(struct rig_peer *p)
{
	struct linger now = {.l_onoff = 1};

	cr_assert_eq(setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
	rig_close(p);
}

void rig_close(struct rig_peer *p)
{
	if (p->fd >= 0)
		(void)close(p->fd);
	free(p->got);
	*p = RIG_PEER_INIT;
}

/* ---- what the proxy says of itself ---- */

uint64_t rig_counter(const struct rig *r, enum sl_counter c)
{
	return sl_metrics_counter(r->metrics, c);
}

uint64_t rig_gauge(const struct rig *r, enum sl_gauge g)
{
	return sl_metrics_gauge(r->metrics, g);
}

uint64_t rig_ended(const struct rig *r, enum sl_end_reason reason)
{
	return r->shard->ends[reason];
}

static size_t capacity(const struct sl_sock *s)
{
	return s->in.cap + s->out.cap;
}

size_t rig_queued_bytes(const struct rig *r)
{
	const struct sl_proxy_source *src = sl_proxy_source(r->proxy, r->source->cookie);
	size_t n = 0;

	sl_list_foreach (it, &src->conns) {
		const struct sl_conn *c = sl_container_of(it, struct sl_conn, node);

		n += capacity(&c->sock);
		if (c->up)
			n += capacity(&c->up->sock);
		if (c->stream && c->stream->attempt.up)
			n += capacity(&c->stream->attempt.up->sock);
	}
	return n;
}

const char *rig_log(struct rig *r)
{
	static char text[65536];
	ssize_t n;
	char *line;

	sl_access_log_flush(r->log);
	n = pread(r->log_fd, text, sizeof(text) - 1, 0);
	cr_assert_gt(n, 0, "the access log is empty");
	text[n - 1] = '\0'; /* the last line feed */
	line = strrchr(text, '\n');
	return line ? line + 1 : text;
}
