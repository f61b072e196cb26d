/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "soak.h"

struct client {
	const struct plan *p;
	struct live *l;
	struct wire w;
};

static void phase(struct client *c, const char *what)
{
	atomic_store(&c->l->client_phase, what);
	live_progress(c->l);
}

static bool failed(struct client *c, const char *what, int r)
{
	complain(c->l, "client", "%s: %s", what,
		 r == -ENODATA ? "the end came early" : strerror(-r));
	return false;
}

static int dial(struct client *c, struct rng *rng)
{
	static const unsigned port_of[N_KINDS] = {0, 0, 1, 2};
	bool v6 = c->p->v6 && opts.vip[1];
	uint16_t port = htons((uint16_t)opts.port[port_of[c->p->kind]]);
	struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = port};
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = port};
	int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), error = 0;
	bool now = rng_percent(rng, 50);
	struct pollfd wait = {.fd = fd, .events = POLLOUT};
	socklen_t len = sizeof(error);

	inet_pton(AF_INET, opts.vip[0], &a4.sin_addr);
	if (v6)
		inet_pton(AF_INET6, opts.vip[1], &a6.sin6_addr);
	if (fd >= 0 && !now && io_open(&c->w.io, fd, IO_POLL, rng, c->l))
		return -1;
	if (fd < 0 || (connect(fd, v6 ? (struct sockaddr *)&a6 : (struct sockaddr *)&a4,
			       v6 ? sizeof(a6) : sizeof(a4)) &&
		       errno != EINPROGRESS))
		return fd < 0 ? fd : (close(fd), -1);
	if (!now && (poll(&wait, 1, (int)deadline_ms) != 1 ||
		     getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) || error)) {
		close(fd);
		errno = error ? error : ETIMEDOUT;
		return -1;
	}
	return fd;
}

/* ---- requests ---- */

static int send_request(struct client *c, unsigned i, uint64_t cut)
{
	const struct step *s = &c->p->steps[i];
	bool last = i + 1 == c->p->n_steps;
	unsigned pad = (unsigned)rng_below(&c->w.io.rng, rng_percent(&c->w.io.rng, 5) ? 2000 : 60);
	char head[HEAD_BYTES];
	int n, r;

	n = snprintf(head, sizeof(head), "%s /s/%llu/%u HTTP/1.1\r\nHost: soak\r\nX-Pad: %0*d\r\n",
		     s->method, (unsigned long long)c->p->id, i, (int)pad, 0);
	if (s->up == LENGTH)
		n += snprintf(head + n, sizeof(head) - (size_t)n, "Content-Length: %llu\r\n",
			      (unsigned long long)s->up_bytes);
	if (s->up == CHUNKED)
		n += snprintf(head + n, sizeof(head) - (size_t)n, "Transfer-Encoding: chunked\r\n");
	n += snprintf(head + n, sizeof(head) - (size_t)n, "%s%s\r\n",
		      s->expect ? "Expect: 100-continue\r\n" : "",
		      last && c->p->ending == END_SAY_CLOSE && c->p->kind == KIND_HTTP && !s->fault
			      ? "Connection: close\r\n"
			      : "");
	r = io_send(&c->w.io, head, (size_t)n, false);
	if (!r && s->expect) {
		r = wire_head(&c->w, head);
		if (!r && strncmp(head, "HTTP/1.1 100 ", 13) != 0)
			r = -EPROTO;
	}
	if (!r)
		r = send_body(&c->w.io, s->up, plan_shift(c->p->id, i, false), s->up_bytes, cut,
			      s->up_piece, s->client_pause_us);
	if (!r && cut >= s->up_bytes)
		atomic_fetch_add(&stats[STAT_BYTES_UP], s->up_bytes);
	return r;
}

/* ---- answers ---- */

/* The final head. Returns 0, a status other than the planned one, or -errno. */
static int read_head(struct client *c, unsigned i, char head[HEAD_BYTES])
{
	const struct step *s = &c->p->steps[i];
	unsigned n_interim = 0;
	char field[64], id[64];
	int r;

	while (!(r = wire_head(&c->w, head)) && !strncmp(head, "HTTP/1.1 103 ", 13))
		n_interim++;
	if (r)
		return r;
	r = (int)strtol(head + 9, NULL, 10);
	if (r != (s->no_content ? 204 : 200))
		return r;
	snprintf(id, sizeof(id), "%llu/%u", (unsigned long long)c->p->id, i);
	head_field(head, "X-Id", field, sizeof(field));
	if (strcmp(field, id) != 0 || n_interim != s->n_interim)
		return -EBADE; /* the answer to another request */
	head_field(head, "Content-Length", field, sizeof(field));
	snprintf(id, sizeof(id), "%llu", (unsigned long long)s->down_bytes);
	if (strcmp(field, s->down == LENGTH ? id : "") != 0)
		return -EBADE;
	return 0;
}

static enum framing framing_here(const struct step *s)
{
	if (s->no_content || !strcmp(s->method, "HEAD"))
		return NO_BODY;
	return s->down == UNTIL_CLOSE ? CHUNKED : s->down;
}

static bool read_answer(struct client *c, unsigned i)
{
	const struct step *s = &c->p->steps[i];
	char head[HEAD_BYTES];
	int r;
	uint64_t got;

	atomic_store(&c->l->step, i);
	phase(c, "answer");
	r = read_head(c, i, head);
	if (r > 0)
		complain(c->l, "client", "status %d: %s", r, head);
	if (r)
		return r > 0 ? false : failed(c, "head", r);
	got = wire_body(&c->w, framing_here(s), s->down_bytes, plan_shift(c->p->id, i, true),
			UINT64_MAX, s->client_pause_us, &r);
	atomic_fetch_add(&stats[STAT_BYTES_DOWN], got);
	if (r) {
		complain(c->l, "client", "body: %s at byte %llu of %llu (framing %d)", strerror(-r),
			 (unsigned long long)got, (unsigned long long)s->down_bytes, s->down);
		return false;
	}
	atomic_fetch_add(&stats[STAT_EXCHANGES], 1);
	return true;
}

/* ---- what goes wrong on purpose ---- */

static void strike(struct client *c, bool reset)
{
	atomic_store(&c->l->client_fault, true);
	atomic_store(&client_fault_ms, now_ms());
	if (reset && rng_percent(&c->w.io.rng, 50))
		io_disconnect(&c->w.io);
	else
		io_close(&c->w.io, reset);
}

/* The server fails: 502, or an answer that is visibly cut. Never a whole one. */
static void expect_cut(struct client *c, unsigned i, int sent)
{
	const struct step *s = &c->p->steps[i];
	char head[HEAD_BYTES];
	uint64_t got;
	int r = read_head(c, i, head);

	if (r == 502)
		return;
	if (r > 0 || r == -EBADE || r == -ETIMEDOUT)
		complain(c->l, "client", "a server that failed: %d %s", r, r > 0 ? head : "");
	if (r) /* cut in the head */
		return;
	if (s->fault == SERVER_RESETS_AT_REQUEST) {
		complain(c->l, "client", "an answer that nobody sent (request: %d)", sent);
		return;
	}
	got = wire_body(&c->w, s->down, s->down_bytes, plan_shift(c->p->id, i, true), UINT64_MAX,
			s->client_pause_us, &r);
	if (r != -ENODATA && r != -ECONNRESET && r != -EPIPE)
		complain(c->l, "client", "an answer cut at %llu of %llu: %s at %llu",
			 (unsigned long long)s->cut, (unsigned long long)s->down_bytes,
			 strerror(-r), (unsigned long long)got);
}

static void run_fault(struct client *c, unsigned i)
{
	const struct step *s = &c->p->steps[i];
	bool part = s->fault == CLIENT_RESETS_IN_REQUEST || s->fault == SERVER_ANSWERS_EARLY;
	char head[HEAD_BYTES];
	int r = send_request(c, i, part ? s->cut : UINT64_MAX);

	atomic_fetch_add(&stats[STAT_FAULTS], 1);
	phase(c, "fault");
	switch (s->fault) {
	case CLIENT_RESETS_IN_REQUEST:
		if (r)
			failed(c, "request", r);
		strike(c, true);
		return;
	case CLIENT_RESETS_IN_ANSWER:
	case CLIENT_CLOSES_IN_ANSWER:
		if (!r)
			r = read_head(c, i, head);
		if (!r)
			(void)wire_body(&c->w, s->down, s->down_bytes,
					plan_shift(c->p->id, i, true), s->cut, s->client_pause_us,
					&r);
		if (r)
			failed(c, "in front of a fault", r);
		strike(c, s->fault == CLIENT_RESETS_IN_ANSWER);
		return;
	case SERVER_ANSWERS_EARLY:
		if (r)
			failed(c, "request", r);
		else
			(void)read_answer(c, i);
		strike(c, false);
		return;
	default:
		expect_cut(c, i, r);
		io_close(&c->w.io, false);
	}
}

/* ---- the connection ---- */

static void change_mode(struct client *c)
{
	int r;

	if (!plan_change(&c->w.io.rng, &c->l->client_mode))
		return;
	r = io_change(&c->w.io, c->l->client_mode);
	if (r)
		failed(c, "change of mode", r);
}

/* One request, or several in one go. Returns false to end, *ret_next is the next step. */
static bool run_group(struct client *c, unsigned i, unsigned *ret_next)
{
	unsigned end = i + 1;
	int r;

	while (end < c->p->n_steps && c->p->steps[end].piped)
		end++;
	*ret_next = end;
	change_mode(c);
	if (c->p->steps[i].urgent && i)
		(void)send(c->w.io.fd, "!", 1, MSG_OOB | MSG_NOSIGNAL);
	for (unsigned j = i; j < end; j++) {
		atomic_store(&c->l->step, j);
		phase(c, "request");
		r = send_request(c, j, UINT64_MAX);
		if (r)
			return failed(c, "request", r);
		if (c->p->steps[j].half_close)
			io_shutdown(&c->w.io);
	}
	for (unsigned j = i; j < end; j++) {
		if (!read_answer(c, j))
			return false;
	}
	if (c->w.io.broken) {
		complain(c->l, "client", "%s", c->w.io.broken);
		return false;
	}
	return true;
}

static void end(struct client *c)
{
	struct linger patience = {.l_onoff = 1, .l_linger = 5};
	int r = 0;

	phase(c, "end");
	if (c->p->ending == END_HALF_CLOSE)
		io_shutdown(&c->w.io);
	if (c->p->ending == END_HALF_CLOSE || c->p->ending == END_SAY_CLOSE)
		r = wire_end(&c->w);
	if (r)
		failed(c, "at the end", r);
	if (c->p->ending == END_LINGER)
		(void)setsockopt(c->w.io.fd, SOL_SOCKET, SO_LINGER, &patience, sizeof(patience));
	if (c->p->ending == END_RESET && rng_percent(&c->w.io.rng, 50))
		io_disconnect(&c->w.io);
	else
		io_close(&c->w.io, c->p->ending == END_RESET);
}

static bool upgrade(struct client *c)
{
	char head[HEAD_BYTES];
	int n = snprintf(head, sizeof(head),
			 "GET /u/%llu HTTP/1.1\r\nHost: soak\r\nConnection: Upgrade\r\n"
			 "Upgrade: websocket\r\n\r\n",
			 (unsigned long long)c->p->id);
	int r = io_send(&c->w.io, head, (size_t)n, false);

	phase(c, "upgrade");
	if (!r)
		r = wire_head(&c->w, head);
	if (!r && strncmp(head, "HTTP/1.1 101 ", 13) != 0)
		r = -EPROTO;
	return r ? failed(c, "upgrade", r) : true;
}

static bool open_tunnel(struct client *c)
{
	char line[64];
	int r = 0, n;

	phase(c, "tunnel");
	if (c->p->kind == KIND_SERVER_FIRST) {
		r = wire_line(&c->w, line, sizeof(line));
		if (!r && strcmp(line, "READY\n") != 0)
			r = -EPROTO;
	}
	n = snprintf(line, sizeof(line), "T%llu\n", (unsigned long long)c->p->id);
	if (!r)
		r = io_send(&c->w.io, line, (size_t)n, false);
	return r ? failed(c, "opening a tunnel", r) : true;
}

static void run(struct client *c)
{
	bool http = c->p->kind == KIND_HTTP || c->p->kind == KIND_UPGRADE;

	for (unsigned i = 0; http && i < c->p->n_steps;) {
		if (c->p->steps[i].fault) {
			run_fault(c, i);
			return;
		}
		if (!run_group(c, i, &i) || (atomic_load(&stopping) && c->p->kind == KIND_HTTP)) {
			io_close(&c->w.io, true);
			return;
		}
	}
	if (c->p->kind == KIND_HTTP) {
		end(c);
		return;
	}
	atomic_store(&c->l->step, MAX_STEPS - 1);
	if (c->p->kind == KIND_UPGRADE ? upgrade(c) : open_tunnel(c)) {
		phase(c, "tunnel");
		tunnel_run(&c->w, c->p, c->l, true);
	} else {
		io_close(&c->w.io, true);
	}
}

void client_run(const struct plan *p, struct live *l)
{
	struct rng rng = rng_from(opts.seed, p->id, 1);
	struct client *c = calloc(1, sizeof(*c));
	int fd, r;

	if (!c)
		return;
	c->p = p;
	c->l = l;
	c->w.side = "client";
	phase(c, "connect");
	fd = dial(c, &rng);
	if (fd < 0) {
		complain(l, "client", "connect: %s", strerror(errno));
	} else {
		l->client_mode = p->client_mode;
		r = io_open(&c->w.io, fd, p->client_mode, &rng, l);
		if (r)
			failed(c, "open", r);
		else
			run(c);
	}
	atomic_fetch_add(&stats[STAT_CONNS], 1);
	free(c);
}
