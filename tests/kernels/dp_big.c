/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Very many connections at a time, from several pods: every one steered, every one with its
 * original destination, with and without SYN cookies, and again over ports in TIME_WAIT. Takes some
 * 10 KB of memory for each and two descriptors; tests/kernels/matrix --big runs it in VMs.
 */
#include "scene.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define PODS  4
#define BURST 64 /* connections that wait for accept() */

struct pod {
	int netns, listener;
	uint64_t cookie;
	int *clients, *accepted;
	int n;
};

static bool set_sysctl(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool good = fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value);

	sock_close(&fd);
	return good;
}

static void raise_limits(int n)
{
	struct rlimit r = {.rlim_cur = 2 * n + 1024, .rlim_max = 2 * n + 1024};

	check(!setrlimit(RLIMIT_NOFILE, &r), "%d descriptors are allowed", 2 * n + 1024);
}

static void pod_init(struct scene *s, struct pod *p, int i, int n)
{
	struct sl_netns_entry e = {.port4 = 15001};
	char own[32];

	snprintf(own, sizeof(own), "10.70.0.%d:0", i + 1);
	e.source4 = addr(own);
	p->netns = bed_netns_new();
	own[strlen(own) - 2] = 0;
	bed_address("lo", own, 32);
	check(set_sysctl("/proc/sys/net/ipv4/ip_local_port_range", "16000 65000") &&
		      set_sysctl("/proc/sys/net/ipv4/tcp_syncookies", i % 2 ? "2" : "1"),
	      "pod %d: ports 16000-65000, SYN cookies %s", i, i % 2 ? "always" : "when in need");
	p->listener = sock_listen("127.0.0.1:" PORT);
	check(!sl_datapath_netns_cookie(p->listener, &p->cookie) &&
		      !sl_datapath_own(s->dp, p->listener, SL_OWN_LISTENER) &&
		      !sl_datapath_netns_set(s->dp, p->cookie, &e) &&
		      !sl_datapath_addr_set(s->dp, p->cookie, &e.source4),
	      "pod %d: published", i);
	p->n = n;
	p->clients = malloc(n * sizeof(int));
	p->accepted = malloc(n * sizeof(int));
	if (!p->clients || !p->accepted) {
		printf("Bail out! out of memory\n");
		exit(99);
	}
	for (int k = 0; k < n; k++)
		p->clients[k] = p->accepted[k] = -1;
}

/* Connects, 5 s at most: ports in TIME_WAIT are free again after one. */
static int connect_patiently(struct scene *s, const char *to, int *ret_fd)
{
	for (int tries = 0;; tries++) {
		int fd = sock(AF_INET, SOCK_STREAM), r = sock_connect(fd, to);

		if (!r || r != -EADDRNOTAVAIL || tries == 500) {
			*ret_fd = fd;
			return r;
		}
		sock_close(&fd);
		sl_datapath_heartbeat(s->dp);
		poll(NULL, 0, 10);
	}
}

/* How many of @n connections from this pod came about; tells of the first that did not. */
static int open_burst(struct scene *s, struct pod *p, int from, int n)
{
	int done = 0;

	for (int i = from; i < from + n; i++) {
		int r = connect_patiently(s, VIP, &p->clients[i]);

		if (r) {
			printf("# connection %d: %s\n", i, strerror(-r));
			return done;
		}
		done++;
	}
	for (int i = from; i < from + n; i++) {
		p->accepted[i] = sock_accept(p->listener);
		if (p->accepted[i] < 0) {
			printf("# connection %d is not accepted\n", i);
			return i - from;
		}
	}
	return done;
}

static bool originals_known(struct scene *s, struct pod *p)
{
	struct sl_addr want = addr(VIP);

	for (int i = 0; i < p->n; i++) {
		struct sl_original o = {0};

		if (sl_datapath_original(s->dp, p->accepted[i], &o) ||
		    !sl_addr_eq(&o.addr, &want) || o.netns != p->cookie) {
			printf("# connection %d has another original destination\n", i);
			return false;
		}
	}
	return true;
}

/* Accepted in the order of connecting? Not promised: find each one's other end by its words. */
static bool all_talk(struct pod *p)
{
	for (int i = 0; i < p->n; i++)
		if (send(p->clients[i], &i, sizeof(i), MSG_NOSIGNAL) != sizeof(i))
			return false;
	for (int i = 0; i < p->n; i++) {
		struct pollfd e = {.fd = p->accepted[i], .events = POLLIN};
		int k = -1;

		if (poll(&e, 1, 5000) != 1 || recv(p->accepted[i], &k, sizeof(k), 0) != sizeof(k) ||
		    k < 0 || k >= p->n)
			return false;
		if (send(p->accepted[i], &k, sizeof(k), MSG_NOSIGNAL) != sizeof(k))
			return false;
	}
	for (int i = 0; i < p->n; i++) {
		struct pollfd e = {.fd = p->clients[i], .events = POLLIN};
		int k = -1;

		if (poll(&e, 1, 5000) != 1 || recv(p->clients[i], &k, sizeof(k), 0) != sizeof(k) ||
		    k != i)
			return false;
	}
	return true;
}

static bool names_hold(struct pod *p)
{
	for (int i = 0; i < p->n; i += 97)
		if (!sock_is(p->clients[i], true, VIP))
			return false;
	return true;
}

/* The clients first: their ports go into TIME_WAIT. */
static void pod_close_all(struct pod *p)
{
	for (int i = 0; i < p->n; i++)
		sock_close(&p->clients[i]);
	for (int i = 0; i < p->n; i++)
		sock_close(&p->accepted[i]);
}

/* Handshakes of this network namespace that were answered with a cookie and finished. */
static long cookies_received(void)
{
	FILE *f = fopen("/proc/thread-self/net/netstat", "re");
	char line[4096];
	long n = -1;

	/* A line of names, then one of numbers: SyncookiesSent SyncookiesRecv ... */
	while (f && n < 0 && fgets(line, sizeof(line), f))
		if (sscanf(line, "TcpExt: %*d %ld", &n) != 1)
			n = -1;
	if (f)
		fclose(f);
	return n;
}

static void test_at_a_time(struct scene *s, struct pod *pods)
{
	int n = 0, total = 0;
	uint64_t steered;

	test_begin("many at a time");
	count_mark(s);
	for (int i = 0; i < PODS; i++) {
		bed_enter(pods[i].netns);
		total += pods[i].n;
		for (int k = 0; k < pods[i].n; k += BURST) {
			sl_datapath_heartbeat(s->dp);
			n += open_burst(s, &pods[i], k,
					pods[i].n - k < BURST ? pods[i].n - k : BURST);
		}
		check(i % 2 ? cookies_received() == pods[i].n : !cookies_received(), "pod %d: %s",
		      i, i % 2 ? "all by SYN cookies" : "no SYN cookies");
	}
	steered = counted(s, SL_REASON_STEERED);
	check(n == total, "%d of %d are open", n, total);
	check(steered == (uint64_t)total, "%llu were steered", (unsigned long long)steered);
	check(!counted(s, SL_REASON_FLOW_LOST) && !counted(s, SL_REASON_FLOW_STALE) &&
		      !counted(s, SL_REASON_NO_MEMORY),
	      "none was lost on its way");
	for (int i = 0; i < PODS && n == total; i++) {
		check(originals_known(s, &pods[i]), "pod %d: original destinations", i);
		check(names_hold(&pods[i]), "pod %d: getpeername", i);
		check(all_talk(&pods[i]), "pod %d: each client hears its own words", i);
	}
}

/* As many connections again and again as there are ports: each over one that is in TIME_WAIT. */
static void test_time_wait(struct scene *s, struct pod *p)
{
	const int n = 2000, rounds = 3;
	int done = 0;

	test_begin("ports in TIME_WAIT");
	bed_enter(p->netns);
	check(set_sysctl("/proc/sys/net/ipv4/ip_local_port_range", "16000 17999"), "2,000 ports");
	count_mark(s);
	p->n = n;
	for (int round = 0; round < rounds; round++) {
		for (int k = 0; k < n; k += 50)
			done += open_burst(s, p, k, 50);
		if (done == (round + 1) * n)
			check(originals_known(s, p) && all_talk(p), "round %d", round);
		pod_close_all(p);
	}
	check(done == rounds * n, "%d of %d connections", done, rounds * n);
	check(counted(s, SL_REASON_STEERED) >= (uint64_t)done && !counted(s, SL_REASON_FLOW_LOST),
	      "all were steered");
}

void test_big(struct scene *s, int n)
{
	struct pod pods[PODS];

	test_begin("many connections");
	raise_limits(n);
	for (int i = 0; i < PODS; i++)
		pod_init(s, &pods[i], i, n / PODS);
	test_at_a_time(s, pods);
	for (int i = 0; i < PODS; i++)
		pod_close_all(&pods[i]);
	if (pods[1].n >= 2000)
		test_time_wait(s, &pods[1]);
	for (int i = 0; i < PODS; i++) {
		sock_close(&pods[i].listener);
		sock_close(&pods[i].netns);
		free(pods[i].clients);
		free(pods[i].accepted);
	}
}
