/* SPDX-License-Identifier: Apache-2.0 */
#include "hop.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

static bool lease(struct hop *h, bool is_active, uint64_t app_netns)
{
	if (h->app < 0 || h->own < 0)
		return false;
	fcntl(h->app, F_SETFL, O_NONBLOCK);
	fcntl(h->own, F_SETFL, O_NONBLOCK);
	h->leased = !sl_hops_lease(h->table, 0, h->own, is_active, app_netns, 0, 0, &h->lease);
	return h->leased;
}

bool hop_client(struct hop *h, struct scene *s, struct sl_hops *table)
{
	*h = (struct hop){.table = table, .app = sock(AF_INET, SOCK_STREAM), .own = -1};
	if (sock_connect(h->app, VIP))
		return false;
	h->own = sock_accept(s->agent4);
	return lease(h, false, s->bed.cookie);
}

bool hop_endpoint(struct hop *h, struct scene *s, struct sl_hops *table, int listener,
		  const char *address, uint64_t app_netns)
{
	*h = (struct hop){.table = table, .app = -1, .own = sock(AF_INET, SOCK_STREAM)};
	if (sl_datapath_own(s->dp, h->own, SL_OWN_UPSTREAM) || sock_connect(h->own, address))
		return false;
	h->app = sock_accept(listener);
	return lease(h, true, app_netns);
}

enum sl_hop_state hop_ask(struct hop *h, enum sl_hop_state question)
{
	struct sl_hops_pass pass;
	int iter = sl_hops_iter(h->table);

	__atomic_store_n(&h->lease.hop->state, question, __ATOMIC_SEQ_CST);
	if (iter < 0 || sl_hops_pass(iter, &pass))
		check(false, "a pass");
	return __atomic_load_n(&h->lease.hop->state, __ATOMIC_SEQ_CST);
}

bool hop_take_in(struct hop *h)
{
	return own_send(h, "hello") && app_recv(h, "hello") && app_send(h, "world") &&
	       own_recv(h, "world") && hop_ask(h, SL_HOP_ASK) == SL_HOP_IN;
}

void hop_close(struct hop *h)
{
	if (h->leased) {
		(void)sl_hops_shut(&h->lease);
		sl_hops_release(h->table, &h->lease, h->own, false);
	}
	h->leased = false;
	sock_close(&h->own);
	sock_close(&h->app);
}

static bool send_text(int fd, const char *text)
{
	return send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text);
}

ssize_t recv_next(int fd, void *buf, size_t n)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	ssize_t r;

	if (poll(&p, 1, 5000) != 1)
		return -ETIMEDOUT;
	r = recv(fd, buf, n, MSG_DONTWAIT);
	return r < 0 ? -errno : r;
}

static bool recv_text(int fd, const char *text)
{
	size_t want = strlen(text), have = 0;
	char got[256];

	while (have < want) {
		ssize_t n = recv_next(fd, got + have, sizeof(got) - have);

		if (n == -EAGAIN)
			continue;
		if (n <= 0)
			return false;
		have += n;
	}
	return have == want && !memcmp(got, text, want) &&
	       recv(fd, got, sizeof(got), MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

bool own_send(struct hop *h, const char *text)
{
	bool good = send_text(h->own, text);

	h->done += strlen(text);
	__atomic_store_n(&h->lease.hop->done, h->done, __ATOMIC_RELEASE);
	return good;
}

bool own_recv(struct hop *h, const char *text)
{
	bool good = recv_text(h->own, text);

	h->taken += strlen(text);
	__atomic_store_n(&h->lease.hop->taken, h->taken, __ATOMIC_RELEASE);
	return good;
}

bool app_send(struct hop *h, const char *text)
{
	return send_text(h->app, text);
}

bool app_recv(struct hop *h, const char *text)
{
	return recv_text(h->app, text);
}
