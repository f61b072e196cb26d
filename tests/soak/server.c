/* SPDX-License-Identifier: Apache-2.0 */
/* A thread for each connection. A request names its plan, which says what it must be and gets. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "soak.h"

struct server {
	struct wire w;
	struct plan p;
	struct live *l; /* of the request; NULL once its client is gone */
	enum io_mode mode;
	struct rng rng;
	unsigned kind; /* of port */
};

enum { CLIENT_FAULT_TELLS_MS = 10000, SABOTAGED_ANSWER = 30 };

static _Atomic uint64_t n_accepted;

static void phase(struct server *s, const char *what)
{
	if (s->l) {
		atomic_store(&s->l->server_phase, what);
		s->l->server_mode = s->mode;
		live_progress(s->l);
	}
}

static bool client_left(const struct server *s)
{
	const struct live *l = live_of(s->p.id);

	return !l || atomic_load(&l->client_fault);
}

/* Whether it is the client's doing. */
static bool failed(struct server *s, const struct step *step, const char *what, int r)
{
	bool gone = step && step->fault && client_left(s);

	if (!gone)
		complain(live_of(s->p.id), "server", "connection %llu: %s: %s",
			 (unsigned long long)s->p.id, what, strerror(-r));
	return false;
}

/* ---- one request ---- */

static bool check_head(struct server *s, const char *head, unsigned i)
{
	const struct step *step = &s->p.steps[i];
	size_t n = strlen(step->method);
	char length[64], coding[64], want[64] = "";
	uint8_t times = s->l ? (uint8_t)(1 + atomic_fetch_add(&s->l->arrived[i], 1)) : 1;

	head_field(head, "Content-Length", length, sizeof(length));
	head_field(head, "Transfer-Encoding", coding, sizeof(coding));
	if (step->up == LENGTH)
		snprintf(want, sizeof(want), "%llu", (unsigned long long)step->up_bytes);
	if (strncmp(head, step->method, n) == 0 && head[n] == ' ' && strcmp(length, want) == 0 &&
	    !strcmp(coding, step->up == CHUNKED ? "chunked" : "") && times == 1)
		return true;
	complain(live_of(s->p.id), "server", "connection %llu step %u: arrived %u times, as %s",
		 (unsigned long long)s->p.id, i, times, head);
	return false;
}

static int send_head(struct server *s, unsigned i)
{
	const struct step *step = &s->p.steps[i];
	char head[HEAD_BYTES];
	int n = 0;

	for (unsigned k = 0; k < step->n_interim; k++)
		n += snprintf(head + n, sizeof(head) - (size_t)n,
			      "HTTP/1.1 103 Early Hints\r\nLink: </%u>\r\n\r\n", k);
	n += snprintf(head + n, sizeof(head) - (size_t)n, "HTTP/1.1 %s\r\nX-Id: %llu/%u\r\n",
		      step->no_content ? "204 No Content" : "200 OK", (unsigned long long)s->p.id,
		      i);
	if (!step->no_content && step->down == LENGTH)
		n += snprintf(head + n, sizeof(head) - (size_t)n, "Content-Length: %llu\r\n",
			      (unsigned long long)step->down_bytes);
	if (!step->no_content && step->down == CHUNKED)
		n += snprintf(head + n, sizeof(head) - (size_t)n, "Transfer-Encoding: chunked\r\n");
	n += snprintf(head + n, sizeof(head) - (size_t)n, "%s\r\n",
		      step->server_closes ? "Connection: close\r\n" : "");
	return io_send(&s->w.io, head, (size_t)n, false);
}

static int send_answer(struct server *s, unsigned i, uint64_t cut)
{
	const struct step *step = &s->p.steps[i];
	int r = send_head(s, i);

	if (r || step->no_content || !strcmp(step->method, "HEAD"))
		return r;
	return send_body(&s->w.io, step->down, plan_shift(s->p.id, i, true), step->down_bytes, cut,
			 step->down_piece, step->server_pause_us);
}

static void strike(struct server *s, bool reset)
{
	if (s->l)
		atomic_store(&s->l->server_fault, true);
	io_close(&s->w.io, reset);
}

/* Answers before it has read the body. */
static bool answer_early(struct server *s, unsigned i)
{
	const struct step *step = &s->p.steps[i];
	uint64_t got;
	int r = send_answer(s, i, UINT64_MAX);

	if (r)
		return failed(s, step, "early answer", r);
	got = wire_body(&s->w, step->up, step->up_bytes, plan_shift(s->p.id, i, false), UINT64_MAX,
			step->server_pause_us, &r);
	if (r == -EBADMSG || !r)
		complain(live_of(s->p.id), "server",
			 "a request of which %llu bytes were sent: %llu, %s",
			 (unsigned long long)step->cut, (unsigned long long)got, strerror(-r));
	return false;
}

/* Returns whether the answer was taken over. */
static bool sabotage(struct server *s, unsigned i)
{
	static _Atomic unsigned n_answers;
	const struct step *step = &s->p.steps[i];

	if (step->fault || !step->down_bytes || step->down != LENGTH || step->method[0] == 'H' ||
	    atomic_fetch_add(&n_answers, 1) != SABOTAGED_ANSWER)
		return false;
	switch (opts.sabotage) {
	case SABOTAGE_BYTE:
		(void)send_head(s, i);
		(void)send_body(&s->w.io, LENGTH, plan_shift(s->p.id, i, true),
				step->down_bytes - 1, UINT64_MAX, step->down_piece, 0);
		(void)io_send(&s->w.io, "", 1, false);
		return true;
	case SABOTAGE_STALL:
		(void)send_answer(s, i, step->down_bytes - 1);
		(void)pause();
		return true;
	case SABOTAGE_RESET:
		io_close(&s->w.io, true);
		return true;
	case SABOTAGE_NONE:
		break;
	}
	return false;
}

static bool serve(struct server *s, unsigned i)
{
	const struct step *step = &s->p.steps[i];
	int r = 0;

	phase(s, "request");
	if (step->expect)
		r = io_send(&s->w.io, "HTTP/1.1 100 Continue\r\n\r\n", 25, false);
	if (!r && step->fault == SERVER_ANSWERS_EARLY)
		return answer_early(s, i);
	if (!r)
		(void)wire_body(&s->w, step->up, step->up_bytes, plan_shift(s->p.id, i, false),
				UINT64_MAX, step->server_pause_us, &r);
	if (r == -EBADMSG || (!r && step->fault == CLIENT_RESETS_IN_REQUEST)) {
		complain(live_of(s->p.id), "server", "body of %llu/%u: %s",
			 (unsigned long long)s->p.id, i,
			 r ? strerror(-r) : "whole, though it was cut");
		return false;
	}
	if (r)
		return failed(s, step, "body", r);
	phase(s, "answer");
	io_nap(&s->w.io, step->server_pause_us);
	if (step->fault == SERVER_RESETS_AT_REQUEST) {
		strike(s, true);
		return false;
	}
	if (step->fault == SERVER_RESETS_IN_ANSWER || step->fault == SERVER_CLOSES_IN_ANSWER) {
		r = send_answer(s, i, step->cut);
		if (r)
			failed(s, NULL, "answer in front of a fault", r);
		strike(s, step->fault == SERVER_RESETS_IN_ANSWER);
		return false;
	}
	if (opts.sabotage && sabotage(s, i))
		return s->w.io.fd >= 0;
	r = send_answer(s, i, UINT64_MAX);
	if (r)
		return failed(s, step, "answer", r);
	if (s->w.io.broken)
		return failed(s, NULL, s->w.io.broken, -EPROTO);
	phase(s, "done");
	return !step->server_closes;
}

/* ---- connections ---- */

static void change_mode(struct server *s)
{
	int r;

	if (!plan_change(&s->rng, &s->mode))
		return;
	r = io_change(&s->w.io, s->mode);
	if (r)
		complain(live_of(s->p.id), "server", "change of mode: %s", strerror(-r));
}

static void find_plan(struct server *s, uint64_t id)
{
	plan_make(&s->p, id);
	s->l = live_of(id);
	s->w.io.live = s->l;
}

static bool upgrade(struct server *s)
{
	static const char head[] = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
				   "Upgrade: websocket\r\n\r\n";
	int r = io_send(&s->w.io, head, sizeof(head) - 1, false);

	if (r)
		return failed(s, NULL, "upgrade", r);
	tunnel_run(&s->w, &s->p, s->l, false);
	return false;
}

static bool next_request(struct server *s)
{
	char head[HEAD_BYTES], *at, *rest;
	uint64_t id;
	unsigned long step;
	int r = wire_head(&s->w, head);

	if (r == -ENODATA || r == -ETIMEDOUT) /* closed, or idle in a pool */
		return false;
	/* Taken for a client that left before a byte of its request was sent, or after all of it.
	 */
	if (r == -ECONNRESET && now_ms() < atomic_load(&client_fault_ms) + CLIENT_FAULT_TELLS_MS)
		return false;
	at = r ? NULL : strchr(head, ' ');
	if (!at || at[1] != '/' || !strchr("su", at[2]) || at[3] != '/') {
		complain(live_of(s->p.id), "server", "no request: %s, %s", strerror(-r),
			 r ? "" : head);
		return false;
	}
	id = strtoull(at + 4, &rest, 10);
	find_plan(s, id);
	if (at[2] == 'u') {
		if (s->l)
			return upgrade(s);
		complain(NULL, "server", "an upgrade of a connection that is over: %s", head);
		return false;
	}
	step = strtoul(rest + 1, NULL, 10);
	if (step >= s->p.n_steps || (!s->l && !s->p.steps[step].fault)) {
		complain(live_of(s->p.id), "server", "a request that nobody sent: %s", head);
		return false;
	}
	return check_head(s, head, (unsigned)step) && serve(s, (unsigned)step);
}

static void serve_tunnel(struct server *s)
{
	char line[64];
	int r = 0;

	if (s->kind == 2)
		r = io_send(&s->w.io, "READY\n", 6, false);
	if (!r)
		r = wire_line(&s->w, line, sizeof(line));
	if (r == -ENODATA) /* dialled ahead for a client that spoke HTTP or went */
		return;
	if (r || line[0] != 'T') {
		complain(NULL, "server", "no tunnel: %s", r ? strerror(-r) : line);
		return;
	}
	find_plan(s, strtoull(line + 1, NULL, 10));
	if (!s->l) {
		complain(NULL, "server", "a tunnel of a connection that is over: %s", line);
		return;
	}
	phase(s, "tunnel");
	tunnel_run(&s->w, &s->p, s->l, false);
}

static void *run(void *arg)
{
	struct server *s = arg;
	int r = io_open(&s->w.io, s->w.io.fd, s->mode, &s->rng, NULL);

	s->w.side = "server";
	if (r) {
		complain(NULL, "server", "open: %s", strerror(-r));
	} else if (s->kind == 0) {
		while (next_request(s))
			change_mode(s);
	} else {
		serve_tunnel(s);
	}
	if (s->w.io.fd >= 0)
		io_close(&s->w.io, false);
	free(s);
	return NULL;
}

static void take(int fd, unsigned kind)
{
	struct server *s = calloc(1, sizeof(*s));
	pthread_attr_t attr;
	pthread_t thread;

	if (!s)
		exit(2);
	s->w.io.fd = fd;
	s->kind = kind;
	s->rng = rng_from(opts.seed, atomic_fetch_add(&n_accepted, 1), 3);
	s->mode = plan_mode(&s->rng);
	if (opts.server_mode != IO_N_MODES)
		s->mode = opts.server_mode;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 256 << 10);
	if (pthread_create(&thread, &attr, run, s)) {
		complain(NULL, "server", "no thread");
		close(fd);
		free(s);
	}
	pthread_attr_destroy(&attr);
}

struct listener {
	int fd;
	unsigned kind;
};

static void *accept_all(void *arg)
{
	const struct listener *l = arg;

	for (;;) {
		int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);

		if (fd >= 0)
			take(fd, l->kind);
		else if (errno != EINTR && errno != ECONNABORTED)
			complain(NULL, "server", "accept: %s", strerror(errno));
	}
	return NULL;
}

static int listen_at(unsigned family, unsigned kind)
{
	static struct listener listeners[6];
	struct listener *l = &listeners[family * 3 + kind];
	uint16_t port = htons((uint16_t)opts.backend_port[kind]);
	struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = port};
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = port};
	int one = 1;
	pthread_t thread;

	l->kind = kind;
	l->fd = socket(family ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	(void)setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	inet_pton(AF_INET, opts.backend[0], &a4.sin_addr);
	if (family)
		inet_pton(AF_INET6, opts.backend[1], &a6.sin6_addr);
	if (bind(l->fd, family ? (struct sockaddr *)&a6 : (struct sockaddr *)&a4,
		 family ? sizeof(a6) : sizeof(a4)) ||
	    listen(l->fd, 1024))
		return -errno;
	return -pthread_create(&thread, NULL, accept_all, l);
}

int server_start(void)
{
	for (unsigned family = 0; family < 2; family++) {
		for (unsigned kind = 0; opts.backend[family] && kind < 3; kind++) {
			int r = listen_at(family, kind);

			if (r)
				return r;
		}
	}
	return 0;
}
