/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several workers under load from client threads, while the control thread publishes snapshots,
 * adds and removes a network namespace, reads counters and walks through the rest of its orders.
 * For the thread sanitizer, which finds what is shared and should not be. A plain TAP program,
 * because the test framework of the others does not start under it.
 */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include "../../lib/config.h"
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "core/worker.h"

enum {
	N_WORKERS = 3,
	N_CLIENTS = 4,
	N_ROUNDS = 40,
	REQUESTS_PER_CONN = 5,
	MAX_SERVED = 512,
	STEADY = 1, /* cookie of the namespace that stays; the other comes and goes */
	FICKLE = 2,
};

static const char request[] = "GET / HTTP/1.1\r\nHost: cart\r\n\r\n";
static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

static struct sl_worker *workers[N_WORKERS];
static struct sl_loop *loop;
static struct sl_mailbox *mailbox;
static struct sl_metrics *metrics;
static bool stopping;
static unsigned n_tests, n_bad;

static bool done(void)
{
	return __atomic_load_n(&stopping, __ATOMIC_RELAXED);
}

static void check(bool ok, const char *what)
{
	printf("%sok %u - %s\n", ok ? "" : "not ", ++n_tests, what);
	n_bad += !ok;
}

/* ---- sockets ---- */

static int listen_on_loopback(struct sockaddr_in *ret)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(*ret);

	*ret = (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (fd < 0 || bind(fd, (struct sockaddr *)ret, sizeof(*ret)) || listen(fd, 512) ||
	    getsockname(fd, (struct sockaddr *)ret, &len)) {
		perror("# listen");
		exit(1);
	}
	return fd;
}

/* One thread that answers every request on every connection; a read is one request, as the proxy
 * sends the next one only behind the answer. */
static void *serve(void *arg)
{
	int listener = *(int *)arg;
	struct pollfd fds[MAX_SERVED] = {{.fd = listener, .events = POLLIN}};
	nfds_t n = 1;

	while (!done()) {
		(void)poll(fds, n, 10);
		if (fds[0].revents && n < MAX_SERVED) {
			int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

			if (fd >= 0)
				fds[n++] = (struct pollfd){.fd = fd, .events = POLLIN};
		}
		for (nfds_t i = 1; i < n; i++) {
			char got[512];
			ssize_t len = fds[i].revents ? recv(fds[i].fd, got, sizeof(got), 0) : 1;

			if (len > 0 && fds[i].revents)
				(void)send(fds[i].fd, answer, strlen(answer), MSG_NOSIGNAL);
			if (len > 0 || (len < 0 && errno == EAGAIN))
				continue;
			(void)close(fds[i].fd);
			fds[i--] = fds[--n];
		}
	}
	while (n-- > 1)
		(void)close(fds[n].fd);
	return NULL;
}

struct client {
	pthread_t thread;
	struct sockaddr_in to;
	unsigned n_answered, n_cut;
};

static bool ask(int fd)
{
	char got[sizeof(answer) - 1];

	return send(fd, request, strlen(request), MSG_NOSIGNAL) == (ssize_t)strlen(request) &&
	       recv(fd, got, sizeof(got), MSG_WAITALL) == (ssize_t)sizeof(got) &&
	       !memcmp(got, "HTTP/1.1 200", 12);
}

static void *call(void *arg)
{
	const struct timeval patience = {.tv_sec = 1};
	struct client *c = arg;

	while (!done()) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		bool ok = true;

		(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		ok = !connect(fd, (struct sockaddr *)&c->to, sizeof(c->to));
		for (int i = 0; i < REQUESTS_PER_CONN && ok && !done(); i++) {
			ok = ask(fd);
			c->n_answered += ok;
			c->n_cut += !ok && !done();
		}
		(void)close(fd);
	}
	return NULL;
}

/* ---- the fake host ---- */

static int original(void *arg, int fd, struct sl_proxy_original *ret)
{
	(void)arg;
	(void)fd;
	*ret = (struct sl_proxy_original){.cgroup_id = 1};
	return sl_addr_parse(SL_STR("10.96.0.1:80"), &ret->addr);
}

static int own(void *arg, int fd)
{
	(void)arg;
	(void)fd;
	return 0;
}

static bool hand_over(void *arg, const struct sl_proxy_accepted *accepted, size_t n_own)
{
	unsigned next = (*(const unsigned *)arg + 1) % N_WORKERS;

	/* As unfair as can be, so that many are handed over. */
	return sl_worker_n_conns(workers[next]) < n_own &&
	       !sl_worker_adopt(workers[next], accepted);
}

/* ---- control ---- */

static void on_ack(struct sl_mail *m)
{
	struct sl_ack *ack = sl_container_of(m, struct sl_ack, mail);

	ack->to = NULL;
}

static struct sl_ack expect_acks(unsigned n)
{
	struct sl_ack ack = {.mail.fn = on_ack, .to = mailbox};

	atomic_store(&ack.pending, n);
	return ack;
}

static void wait_for(struct sl_ack *ack)
{
	while (ack->to && !sl_loop_round(loop, SL_NS_PER_S))
		;
}

/* Each time another object, so that the one before is freed under load. */
static struct sl_snapshot *snapshot(uint64_t generation, uint16_t port)
{
	struct sl_snapshot *snap = NULL;
	char text[2048];

	(void)snprintf(
		text, sizeof(text),
		"apiVersion: v1\nkind: Service\nmetadata: {name: cart, namespace: shop}\n"
		"spec:\n  clusterIP: 10.96.0.1\n  ports:\n  - {port: 80%s}\n"
		"---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
		"metadata:\n  name: s\n  namespace: shop\n"
		"  labels: {kubernetes.io/service-name: cart}\n"
		"addressType: IPv4\nports: [{name: \"\", port: %u, protocol: TCP}]\n"
		"endpoints: [{addresses: [127.0.0.1]}]\n"
		"---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n"
		"metadata: {name: route, namespace: shop}\n"
		"spec:\n  parentRefs: [{group: \"\", kind: Service, name: cart}]\n"
		"  rules:\n  - matches: [{path: {type: RegularExpression, value: \"/.*\"}}]\n"
		"    backendRefs: [{name: cart, port: 80}]\n",
		generation % 2 ? ", appProtocol: http" : "", port);
	return config_compile(text, generation, &snap) ? NULL : snap;
}

static struct sl_source *new_source(uint64_t cookie)
{
	struct sl_source *s = sl_new(struct sl_source);

	if (!s)
		exit(1);
	s->refs = 1;
	s->cookie = cookie;
	s->fd = -1;
	return s;
}

static void publish(uint64_t generation, uint16_t port)
{
	struct sl_snapshot *snap = snapshot(generation, port);
	struct sl_ack ack = expect_acks(N_WORKERS);

	if (!snap)
		exit(1);
	for (unsigned i = 0; i < N_WORKERS; i++)
		(void)sl_worker_publish(workers[i], snap, &ack); /* counted down anyway */
	(void)sl_snapshot_unref(snap);
	wait_for(&ack);
}

static void add(uint64_t cookie, int listener)
{
	struct sl_source *s = new_source(cookie);
	struct sl_ack ack = expect_acks(N_WORKERS);

	for (unsigned i = 0; i < N_WORKERS; i++)
		(void)sl_worker_add_source(workers[i], s, &listener, 1, &ack); /* as above */
	(void)sl_source_unref(s);
	wait_for(&ack);
}

static void take_away(uint64_t cookie)
{
	struct sl_ack ack = expect_acks(N_WORKERS);

	for (unsigned i = 0; i < N_WORKERS; i++)
		(void)sl_worker_remove_source(workers[i], cookie, &ack); /* as above */
	wait_for(&ack);
}

static void look_around(void)
{
	struct sl_ack ack = expect_acks(N_WORKERS);
	struct sl_buf text = SL_BUF_INIT(0);

	for (unsigned i = 0; i < N_WORKERS; i++) {
		(void)sl_worker_ping(workers[i], &ack); /* as above */
		(void)sl_worker_log_dropped(workers[i]);
		(void)sl_worker_reopen_log(workers[i]); /* one line of the log less at worst */
	}
	(void)sl_metrics_render(metrics, &text); /* its content is another test's */
	sl_buf_deinit(&text);
	wait_for(&ack);
}

static bool start_workers(unsigned indices[N_WORKERS])
{
	const struct sl_metrics_opts opts = {.n_workers = N_WORKERS};

	if (sl_loop_new(&loop) || sl_mailbox_new(loop, &mailbox) || sl_metrics_new(&opts, &metrics))
		return false;
	for (unsigned i = 0; i < N_WORKERS; i++) {
		struct sl_worker_opts w = {.index = i,
					   .proxy = SL_PROXY_OPTS_DEFAULT,
					   .host = {.arg = &indices[i],
						    .original = original,
						    .own = own,
						    .hand_over = hand_over},
					   .metrics = sl_metrics_shard(metrics, i),
					   .access_log = "/dev/null"};

		indices[i] = i;
		if (sl_worker_start(&w, &workers[i]))
			return false;
	}
	return true;
}

int main(void)
{
	unsigned indices[N_WORKERS], n_answered = 0, n_cut = 0;
	struct client clients[N_CLIENTS] = {0};
	struct sockaddr_in backend, steady, fickle;
	int listeners[] = {listen_on_loopback(&backend), listen_on_loopback(&steady),
			   listen_on_loopback(&fickle)};
	pthread_t server;

	printf("1..4\n");
	check(start_workers(indices), "workers start");
	if (n_bad || pthread_create(&server, NULL, serve, &listeners[0]))
		return 1;
	publish(1, ntohs(backend.sin_port));
	add(STEADY, listeners[1]);
	for (unsigned i = 0; i < N_CLIENTS; i++) {
		clients[i].to = i % 2 ? fickle : steady;
		if (pthread_create(&clients[i].thread, NULL, call, &clients[i]))
			return 1;
	}
	for (unsigned i = 0; i < N_ROUNDS; i++) {
		add(FICKLE, listeners[2]);
		publish(i + 2, ntohs(backend.sin_port));
		look_around();
		publish(i + 3, ntohs(backend.sin_port));
		take_away(FICKLE);
	}
	__atomic_store_n(&stopping, true, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < N_CLIENTS; i++)
		pthread_join(clients[i].thread, NULL);
	pthread_join(server, NULL);
	for (unsigned i = 0; i < N_CLIENTS; i++) {
		n_answered += clients[i].n_answered;
		n_cut += i % 2 ? 0 : clients[i].n_cut;
	}
	printf("# %u answers, %llu connections handed over\n", n_answered,
	       (unsigned long long)sl_metrics_counter(metrics, SL_COUNTER_CONNS_HANDED_OVER));
	check(n_answered > 0, "requests are answered all the while");
	check(n_cut == 0, "none is cut where the namespace stays");
	for (unsigned i = 0; i < N_WORKERS; i++)
		(void)sl_worker_drain(workers[i], NULL); /* they end all the same */
	for (unsigned i = 0; i < N_WORKERS; i++)
		sl_worker_stop(workers[i]);
	for (unsigned i = 0; i < N_WORKERS; i++)
		workers[i] = sl_worker_free(workers[i]);
	check(!sl_metrics_gauge(metrics, SL_GAUGE_CONNS), "nothing is left");
	mailbox = sl_mailbox_free(mailbox);
	loop = sl_loop_free(loop);
	metrics = sl_metrics_free(metrics);
	for (unsigned i = 0; i < 3; i++)
		(void)close(listeners[i]);
	return n_bad != 0;
}
