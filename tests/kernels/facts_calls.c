/* SPDX-License-Identifier: Apache-2.0 */
/* System calls that applications make on sockets, other than plain send and recv. */
#include "facts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static int unread(int fd)
{
	int n = -1;

	expect(!ioctl(fd, FIONREAD, &n), "FIONREAD: %s", strerror(errno));
	return n;
}

static void fionread_redirected(void)
{
	struct pair p;
	int n;

	pair_spliced(&p);
	say(p.own, "1234567");
	n = unread(p.app);
	expect(n == 7 || n == 0, "%d", n);
	answer("%d of 7", n);
	hear(p.app, "1234567");
	expect(!unread(p.app), "not 0 when all is read");
}

static void fionread_tcp(void)
{
	struct pair p;

	pair_new(&p);
	pair_put(&p, FACTS_PASS, FACTS_PASS);
	say(p.own, "12345");
	expect(readable(p.app, SOON), "nothing came");
	answer("%d of 5", unread(p.app));
}

static void fionread_both(void)
{
	struct pair p;

	pair_spliced(&p);
	say(p.own, "1234567");
	end_mode(p.own, p.own_key, p.app_key, FACTS_PASS);
	say(p.own, "12345");
	answer("%d of 12", unread(p.app));
}

static void fionread_after_deletion(void)
{
	struct pair p;

	pair_spliced(&p);
	expect(!end_drop(p.app_key), "cannot be deleted");
	say(p.own, "12345");
	expect(readable(p.app, SOON) && unread(p.app) == 5, "%d of 5", unread(p.app));
}

static void peek(void)
{
	char buf[16];
	struct pair p;

	pair_spliced(&p);
	say(p.own, "abc");
	say(p.own, "def");
	expect(recv(p.app, buf, sizeof(buf), MSG_PEEK) == 6 && !memcmp(buf, "abcdef", 6),
	       "MSG_PEEK does not see both messages");
	expect(recv(p.app, buf, 2, MSG_PEEK) == 2 && !memcmp(buf, "ab", 2), "a short one");
	hear(p.app, "abcdef");
}

static void wait_all(void)
{
	struct reader r;
	struct pair p;

	pair_spliced(&p);
	set_blocking(p.app);
	say(p.own, "abc");
	reader_start(&r, p.app, 6, MSG_WAITALL);
	if (!r.done)
		say(p.own, "def");
	expect(reader_ended(&r, SOON), "it never ended");
	answer("%zd of 6", r.got);
}

static void low_water(void)
{
	int low = 10;
	struct pair p;

	pair_spliced(&p);
	setsockopt(p.app, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof(low));
	say(p.own, "12345");
	answer("%s", readable(p.app, 100) ? "ignored" : "kept");
}

static void vectors(void)
{
	char a[3], b[3], c[8];
	struct iovec v[2] = {{a, 3}, {b, 3}}, w = {c, 8};
	struct mmsghdr m[2] = {{.msg_hdr = {.msg_iov = v, .msg_iovlen = 2}},
			       {.msg_hdr = {.msg_iov = &w, .msg_iovlen = 1}}};
	struct pair p;

	pair_spliced(&p);
	expect(writev(p.own, (struct iovec[]){{(void *)"abcd", 4}, {(void *)"efgh", 4}}, 2) == 8,
	       "writev");
	expect(readv(p.app, v, 2) == 6 && !memcmp(a, "abc", 3) && !memcmp(b, "def", 3), "readv");
	hear(p.app, "gh");
	say(p.own, "12345678");
	expect(recvmmsg(p.app, m, 2, MSG_DONTWAIT, NULL) == 2 && m[0].msg_len == 6 &&
		       m[1].msg_len == 2 && !memcmp(c, "78", 2),
	       "recvmmsg");
}

static void splice_from_socket(void)
{
	struct pair p;
	int pipe_fd[2];
	char buf[16];
	ssize_t n;

	pair_spliced(&p);
	expect(!pipe(pipe_fd), "pipe");
	say(p.own, "redirected");
	n = splice(p.app, NULL, pipe_fd[1], NULL, 100, SPLICE_F_NONBLOCK);
	if (n > 0)
		answer("%s", read(pipe_fd[0], buf, sizeof(buf)) == 10 ? "reads them" : "other");
	else
		answer("%s", n < 0 && errno == EAGAIN ? "EAGAIN" : n ? strerror(errno) : "end");
	if (n < 0)
		hear(p.app, "redirected");
}

static void splice_to_socket(void)
{
	struct pair p;
	int pipe_fd[2];

	pair_spliced(&p);
	expect(!pipe(pipe_fd) && write(pipe_fd[1], "through", 7) == 7, "pipe");
	expect(splice(pipe_fd[0], NULL, p.app, NULL, 7, 0) == 7, "splice: %s", strerror(errno));
	hear_all(p.own, "through", SOON);
	expect(seen->n_msg, "sk_msg was not asked");
	answer("%s", seen->n_redirected ? "redirected" : "by TCP");
}

/* Written again after sendfile has returned: does the reader see it? */
static void send_file(void)
{
	int file = memfd_create("file", MFD_CLOEXEC);
	struct pair p;
	char buf[16];
	off_t at = 0;

	pair_spliced(&p);
	expect(file >= 0 && write(file, "old bytes", 9) == 9, "memfd");
	expect(sendfile(p.app, file, &at, 9) == 9, "sendfile: %s", strerror(errno));
	expect(pwrite(file, "new", 3, 0) == 3 && seen->n_redirected, "not redirected");
	expect(recv(p.own, buf, sizeof(buf), 0) == 9 && !memcmp(buf + 3, " bytes", 6), "other");
	answer("%s", memcmp(buf, "old", 3) ? "the page itself" : "a copy");
}

static void send_file_large(void)
{
	int file = memfd_create("file", MFD_CLOEXEC);
	char block[4096];
	struct pair p;
	off_t at = 0;
	size_t n = 0;

	memset(block, 'x', sizeof(block));
	pair_spliced(&p);
	for (int i = 0; i < 256; i++)
		expect(write(file, block, sizeof(block)) == sizeof(block), "memfd");
	while (at < 1 << 20)
		expect(sendfile(p.app, file, &at, (1 << 20) - at) > 0, "sendfile: %s",
		       strerror(errno));
	while (readable(p.own, 200)) {
		ssize_t got = recv(p.own, block, sizeof(block), 0);

		expect(got > 0, "recv");
		n += got;
	}
	expect(n == 1 << 20, "%zu bytes of 1 MiB", n);
}

static void zerocopy(void)
{
	struct msghdr m = {0};
	char control[128];
	int one = 1;
	struct pair p;
	struct pollfd e;

	pair_spliced(&p);
	expect(!setsockopt(p.app, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)), "SO_ZEROCOPY");
	expect(send(p.app, "zero copies", 11, MSG_ZEROCOPY | MSG_NOSIGNAL) == 11, "send: %s",
	       strerror(errno));
	hear_all(p.own, "zero copies", SOON);
	e = (struct pollfd){.fd = p.app};
	(void)poll(&e, 1, 300);
	m.msg_control = control;
	m.msg_controllen = sizeof(control);
	answer("%s", recvmsg(p.app, &m, MSG_ERRQUEUE) < 0 ? "never" : "comes");
}

static void urgent(void)
{
	struct pair p;
	char buf[16];
	ssize_t n;

	pair_spliced(&p);
	say(p.own, "ab");
	if (send(p.own, "!", 1, MSG_OOB | MSG_NOSIGNAL) != 1) {
		answer("refused");
		return;
	}
	if (events_of(p.app, 100) & POLLPRI) {
		answer("urgent");
		return;
	}
	n = recv(p.app, buf, sizeof(buf), 0);
	answer("%s", n == 3 && buf[2] == '!' ? "a byte like the others" : "lost");
}

static void tls_after(void)
{
	struct pair p;

	pair_spliced(&p);
	if (setsockopt(p.app, IPPROTO_TCP, TCP_ULP, "tls", 3)) {
		if (errno == ENOENT)
			lacks("kTLS");
		answer("%s", strerror(errno));
		return;
	}
	answer("accepted");
}

static void tls_before(void)
{
	struct pair p;
	int r;

	pair_new(&p);
	if (setsockopt(p.app, IPPROTO_TCP, TCP_ULP, "tls", 3))
		lacks("kTLS");
	r = end_put(p.app, p.app_key);
	answer("%s", r == -EINVAL ? "EINVAL" : r ? strerror(-r) : "accepted");
	if (!iter_run(FACTS_LOOK, p.app_key))
		return;
	expect(seen->iter.has_ulp, "the ULP is not seen");
}

static void recv_trunc(void)
{
	struct pair p;
	ssize_t n;

	pair_spliced(&p);
	say(p.own, "abcdef");
	n = recv(p.app, NULL, 4, MSG_TRUNC);
	answer("%s", n == 4 ? "discards" : n < 0 && errno == EFAULT ? "EFAULT" : "other");
}

static void outq(void)
{
	struct pair p;
	int n = -1;

	pair_spliced(&p);
	say(p.app, "unread");
	expect(!ioctl(p.app, TIOCOUTQ, &n), "SIOCOUTQ");
	expect(n == 0, "%d bytes", n);
}

const struct fact facts_calls[] = {
	{"FIONREAD with redirected bytes?", "7 of 7|0 of 7", fionread_redirected},
	{"FIONREAD with TCP bytes?", "5 of 5|0 of 5", fionread_tcp},
	{"FIONREAD with both?", "12 of 12|7 of 12|5 of 12", fionread_both},
	{"FIONREAD after deletion counts TCP bytes", NULL, fionread_after_deletion},
	{"SIOCOUTQ does not count redirected bytes that are unread", NULL, outq},
	{"MSG_PEEK sees redirected bytes and leaves them", NULL, peek},
	{"MSG_WAITALL waits for two redirected messages?", "3 of 6|6 of 6", wait_all},
	{"SO_RCVLOWAT is kept for redirected bytes?", "ignored|kept", low_water},
	{"readv, writev, recvmmsg work", NULL, vectors},
	{"splice(2) out of a socket with redirected bytes?", "EAGAIN|reads them",
	 splice_from_socket},
	{"splice(2) into a socket?", "redirected|by TCP", splice_to_socket},
	{"sendfile gives a copy or the file's page?", "a copy|the page itself", send_file},
	{"sendfile of 1 MiB is whole", NULL, send_file_large},
	{"MSG_ZEROCOPY: the completion?", "never|comes", zerocopy},
	{"MSG_OOB that is redirected?", "a byte like the others|urgent|lost|refused", urgent},
	{"recv with MSG_TRUNC and no buffer?", "discards|EFAULT", recv_trunc},
	{"kTLS on a socket in the map?", "accepted|Device or resource busy|Invalid argument",
	 tls_after},
	{"a socket with kTLS into the map?", "accepted|EINVAL", tls_before},
	{0},
};
