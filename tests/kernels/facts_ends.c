/* SPDX-License-Identifier: Apache-2.0 */
/* How connections in the map end, and how their sockets change hands. */
#include "facts.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "bed.h"

static void reset(int *fd)
{
	struct linger l = {.l_onoff = 1};

	setsockopt(*fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	sock_close(fd);
}

/* Readable says nothing when bytes are there already: wait for the FIN by its own event. */
static void wait_fin(int fd)
{
	struct pollfd e = {.fd = fd, .events = POLLRDHUP};

	expect(poll(&e, 1, SOON) == 1, "no FIN");
}

static void fin_after_redirected(void)
{
	struct pair p;

	pair_spliced(&p);
	say(p.own, "last");
	sock_close(&p.own);
	wait_fin(p.app);
	hear(p.app, "last");
	hear_error(p.app, 0);
	hear_error(p.app, 0);
}

static void half_close(struct pair *p, int from, int to)
{
	say(from, "last");
	shutdown(from, SHUT_WR);
	wait_fin(to);
	hear(to, "last");
	hear_error(to, 0);
	say(to, "the other way");
	hear_all(from, "the other way", SOON);
	pair_close(p);
}

static void half_close_both(void)
{
	struct pair p;

	pair_spliced(&p);
	half_close(&p, p.own, p.app);
	pair_spliced(&p);
	half_close(&p, p.app, p.own);
}

/* The half-closed one still receives by redirect. */
static void half_close_unread_both(void)
{
	struct pair p;

	pair_spliced(&p);
	say(p.app, "to own");
	say(p.own, "to app");
	shutdown(p.app, SHUT_WR);
	wait_fin(p.own);
	say(p.own, " more");
	shutdown(p.own, SHUT_WR);
	wait_fin(p.app);
	hear(p.own, "to own");
	hear_error(p.own, 0);
	hear_all(p.app, "to app more", SOON);
	hear_error(p.app, 0);
	expect(seen->n_redirected == 3, "%llu redirected", seen->n_redirected);
}

static void send_after_shutdown(void)
{
	struct pair p;

	pair_spliced(&p);
	shutdown(p.app, SHUT_WR);
	if (send(p.app, "x", 1, MSG_NOSIGNAL) == 1) {
		answer("%s", readable(p.own, 100) ? "delivered" : "accepted");
		return;
	}
	answer("%s", errno == EPIPE ? "EPIPE" : strerror(errno));
}

static void send_to_shut_reader(void)
{
	struct pair p;

	pair_spliced(&p);
	shutdown(p.own, SHUT_RD);
	if (send(p.app, "x", 1, MSG_NOSIGNAL) == 1)
		answer("accepted");
	else
		answer("%s", errno == EPIPE ? "EPIPE" : strerror(errno));
}

static void close_unread(bool redirected)
{
	struct pair p;
	char c;
	ssize_t n;

	pair_new(&p);
	pair_put(&p, FACTS_REDIRECT, redirected ? FACTS_REDIRECT : FACTS_PASS);
	say(p.own, "never read");
	expect(readable(p.app, SOON), "nothing came");
	sock_close(&p.app);
	expect(readable(p.own, SOON), "no end");
	n = recv(p.own, &c, 1, 0);
	answer("%s", !n ? "FIN" : errno == ECONNRESET ? "RST" : strerror(errno));
}

static void close_unread_redirected(void)
{
	close_unread(true);
}

static void close_unread_tcp(void)
{
	close_unread(false);
}

static void reset_behind_redirected(void)
{
	struct pair p;
	char buf[16];
	ssize_t n;

	pair_spliced(&p);
	say(p.own, "unread");
	reset(&p.own);
	expect(events_of(p.app, SOON) & POLLIN, "no event");
	n = recv(p.app, buf, sizeof(buf), 0);
	if (n < 0) {
		answer("%s", errno == ECONNRESET ? "ECONNRESET at once" : strerror(errno));
		return;
	}
	expect(n == 6, "%zd bytes", n);
	n = recv(p.app, buf, sizeof(buf), 0);
	answer("%s", n < 0 && errno == ECONNRESET ? "bytes, then ECONNRESET"
		     : n			  ? "bytes, then another error"
						  : "bytes, then end");
}

static void send_to_closed(void)
{
	struct pair p;

	pair_spliced(&p);
	sock_close(&p.own);
	wait_fin(p.app);
	(void)send(p.app, "x", 1, MSG_NOSIGNAL); /* TCP: it is answered with RST */
	expect(events_of(p.app, SOON) & (POLLERR | POLLHUP), "no RST");
	expect(send(p.app, "x", 1, MSG_NOSIGNAL) < 0 && (errno == EPIPE || errno == ECONNRESET),
	       "%s", strerror(errno));
}

/* As close to the close as can be: what does send() say? */
static void close_meanwhile(void)
{
	int other = 0, n_pipe = 0;

	for (int i = 0; i < 100 && !other; i++) {
		struct pair p;
		pid_t pid;

		pair_spliced(&p);
		pid = fork();
		if (!pid) {
			close(p.app);
			for (volatile int spin = 0; spin < i * 300; spin++)
				;
			_exit(0); /* closes the last descriptor */
		}
		close(p.own);
		for (int k = 0; k < 50000; k++) { /* the other process may be late */
			if (send(p.app, "x", 1, MSG_NOSIGNAL) == 1)
				continue;
			if (errno == EPIPE || errno == ECONNRESET)
				n_pipe++;
			else
				other = errno;
			break;
		}
		waitpid(pid, NULL, 0);
		close(p.app);
	}
	expect(!other, "send: %s", strerror(other));
	expect(n_pipe > 0, "no close was met");
}

static void killed_owner(void)
{
	struct pair p;
	pid_t pid;

	pair_spliced(&p);
	say(p.own, "unread");
	say(p.app, "last");
	pid = fork();
	if (!pid)
		pause();
	sock_close(&p.app);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	expect(events_of(p.own, SOON) & POLLIN, "no event");
	hear(p.own, "last");
	wait_fin(p.own);
	hear_error(p.own, 0);
}

static bool pass_fd(int channel, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec v = {(void *)"x", 1};
	struct msghdr m = {.msg_iov = &v,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	return sendmsg(channel, &m, 0) == 1;
}

static int take_fd(int channel)
{
	char control[CMSG_SPACE(sizeof(int))], c;
	struct iovec v = {&c, 1};
	struct msghdr m = {.msg_iov = &v,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	int fd = -1;

	if (recvmsg(channel, &m, 0) == 1 && CMSG_FIRSTHDR(&m))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	return fd;
}

static void passed_by_fd(void)
{
	struct pair p;
	int channel[2];
	pid_t pid;

	pair_spliced(&p);
	expect(!socketpair(AF_UNIX, SOCK_STREAM, 0, channel), "socketpair");
	say(p.app, "unread ");
	pid = fork();
	if (!pid) { /* the next agent */
		int fd;

		close(p.own);
		close(p.app);
		fd = take_fd(channel[1]);
		hear_all(fd, "unread and later", SOON);
		say(fd, "answer");
		_exit(0);
	}
	expect(pass_fd(channel[0], p.own), "sendmsg");
	sock_close(&p.own);
	say(p.app, "and later");
	expect(readable(p.app, SOON), "no answer");
	hear(p.app, "answer");
	expect(seen->n_redirected == 3, "%llu redirected", seen->n_redirected);
	waitpid(pid, NULL, 0);
}

/* A namespace lives as long as its sockets: it goes with them. */
static void netns_deleted(void)
{
	for (int i = 0; i < 20; i++) {
		int home = bed_netns_new();
		struct pair p;
		uint64_t value;

		close(bed_netns_new());
		pair_spliced(&p);
		say(p.app, "unread");
		bed_enter(home);
		close(home);
		say(p.own, "unread too");
		hear(p.app, "unread too");
		pair_close(&p);
		expect(end_drop(p.app_key) == -ENOENT, "still in the map");
		(void)value;
	}
}

static void over_veth(void)
{
	struct pair p;

	pair_new_veth(&p);
	pair_put(&p, FACTS_REDIRECT, FACTS_REDIRECT);
	for (int i = 0; i < 100; i++) {
		say(p.app, "question");
		hear(p.own, "question");
		say(p.own, "answer");
		hear(p.app, "answer");
	}
	expect(seen->n_redirected == 200, "%llu of 200 redirected", seen->n_redirected);
	say(p.own, "last");
	shutdown(p.own, SHUT_WR);
	wait_fin(p.app);
	hear(p.app, "last");
	hear_error(p.app, 0);
}

const struct fact facts_ends[] = {
	{"FIN is read behind redirected bytes", NULL, fin_after_redirected},
	{"half-close behind redirected bytes, either way; the other direction goes on", NULL,
	 half_close_both},
	{"half-close of both, with unread bytes both ways", NULL, half_close_unread_both},
	{"send after the own half-close?", "EPIPE|delivered|accepted", send_after_shutdown},
	{"send to a peer that has shut its reading side?", "accepted|EPIPE", send_to_shut_reader},
	{"close with unread redirected bytes sends?", "FIN|RST", close_unread_redirected},
	{"close with unread TCP bytes sends?", "FIN|RST", close_unread_tcp},
	{"RST behind unread redirected bytes?",
	 "ECONNRESET at once|bytes, then ECONNRESET|bytes, then end", reset_behind_redirected},
	{"send to a closed peer: EPIPE or ECONNRESET, as TCP", NULL, send_to_closed},
	{"send to a peer that closes at that moment: nothing but EPIPE and ECONNRESET", NULL,
	 close_meanwhile},
	{"the owner is killed: its last bytes and the end arrive", NULL, killed_owner},
	{"a socket passed to another process keeps its unread bytes and both ways", NULL,
	 passed_by_fd},
	{"network namespaces go while sockets of theirs are spliced", NULL, netns_deleted},
	{"all of it over veth between network namespaces", NULL, over_veth},
	{0},
};
