/* SPDX-License-Identifier: Apache-2.0 */
/* Who pays for redirected bytes that nobody reads. */
#include "facts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "bed.h"

static const char *error_word(int error)
{
	return !error		 ? "none"
	       : error == ENOMEM ? "ENOMEM"
	       : error == EAGAIN ? "EAGAIN"
				 : strerror(error);
}

static long tcp_pages(void)
{
	FILE *f = fopen("/proc/net/sockstat", "re");
	char line[256];
	long pages = -1;

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "TCP:", 4) && strstr(line, " mem "))
			sscanf(strstr(line, " mem "), " mem %ld", &pages);
	if (f)
		fclose(f);
	return pages;
}

/* 16 MB into a socket whose reader sleeps, whose receive buffer is 64 KiB. */
static size_t flood(struct pair *p, int *ret_error)
{
	static char block[65536];
	int small = 65536;
	size_t n = 0;

	setsockopt(p->own, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	*ret_error = 0;
	while (n < 16 << 20) {
		ssize_t sent = send(p->app, block, sizeof(block), MSG_NOSIGNAL);

		if (sent < 0) {
			*ret_error = errno;
			break;
		}
		n += sent;
	}
	return n;
}

static void no_back_pressure(void)
{
	struct pair p;
	int error;
	size_t n;

	pair_spliced(&p);
	n = flood(&p, &error);
	if (n >= 16 << 20)
		answer("none");
	else
		answer("%s", error_word(error));
}

static void poll_under_flood(void)
{
	struct pair p;
	int error;

	pair_spliced(&p);
	(void)flood(&p, &error);
	answer("%s", events_of(p.app, 0) & POLLOUT ? "writable" : "not writable");
}

/* What closed sockets had is given back by and by. */
static long settled_tcp_pages(void)
{
	long have = tcp_pages();

	for (int same = 0; same < 10;) {
		long now;

		usleep(10000);
		now = tcp_pages();
		same = now == have ? same + 1 : 0;
		have = now;
	}
	return have;
}

static void tcp_account(void)
{
	long before, after;
	struct pair p;
	int error;
	size_t n;

	pair_spliced(&p);
	before = settled_tcp_pages();
	n = flood(&p, &error);
	after = tcp_pages();
	note("%zu bytes, %ld pages more", n, after - before);
	answer("%s", (after - before) * 4096 >= (long)n / 2 ? "charged" : "not charged");
	pair_close(&p);
}

static void memory_comes_back(void)
{
	long before = settled_tcp_pages(), after;

	for (int i = 0; i < 8; i++) {
		struct pair p;
		int error;

		pair_spliced(&p);
		(void)flood(&p, &error);
		pair_close(&p);
	}
	for (int i = 0; i < 300; i++) {
		after = tcp_pages();
		if (after - before < 1024)
			return;
		usleep(10000);
	}
	expect(false, "%ld pages more than before", after - before);
}

static long slab_kb(void)
{
	FILE *f = fopen("/proc/meminfo", "re");
	char line[128];
	long kb = -1;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Slab: %ld", &kb) == 1)
			break;
	if (f)
		fclose(f);
	return kb;
}

/* Besides its bytes a message has a head, which nobody is charged for. */
static void small_messages(void)
{
	const int n = 100000;
	long before, per;
	struct pair p;

	pair_spliced(&p);
	before = slab_kb();
	for (int i = 0; i < n; i++)
		say(p.app, "x");
	per = (slab_kb() - before) * 1024 / n;
	note("%ld bytes of slab for each message of a byte", per);
	answer("%s", per > 256 ? "more than 256" : "less");
}

static bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return good;
}

#define GROUP "/sys/fs/cgroup/facts"

static long group_bytes(void)
{
	FILE *f = fopen(GROUP "/memory.current", "re");
	long n = -1;

	if (f && fscanf(f, "%ld", &n) != 1)
		n = -1;
	if (f)
		fclose(f);
	return n;
}

/* The receiving socket is made in a group of 8 MiB, its sender outside of it. */
static size_t flood_group(struct pair *p, bool redirect, int *ret_error)
{
	if (!alone)
		lacks("a machine of its own (--alone)");
	if (!write_text("/sys/fs/cgroup/cgroup.subtree_control", "+memory") ||
	    (mkdir(GROUP, 0755) < 0 && errno != EEXIST) ||
	    !write_text(GROUP "/memory.max", "8388608"))
		lacks("the memory controller of cgroup 2");
	expect(write_text(GROUP "/cgroup.procs", "0"), "join: %s", strerror(errno));
	pair_new(p);
	if (redirect)
		pair_put(p, FACTS_REDIRECT, FACTS_REDIRECT);
	expect(write_text("/sys/fs/cgroup/cgroup.procs", "0"), "leave: %s", strerror(errno));
	return flood(p, ret_error);
}

static void group_of_receiver(void)
{
	long before;
	struct pair p;
	int error;
	size_t n;

	if (alone)
		(void)mkdir(GROUP, 0755);
	before = group_bytes();
	n = flood_group(&p, true, &error);
	note("%zu bytes, then %s; the group has %ld bytes more", n, error_word(error),
	     group_bytes() - before);
	pair_close(&p);
	(void)rmdir(GROUP); /* the machine goes anyway */
	answer("%s", error_word(error));
}

static void pressure(bool redirect)
{
	static char block[65536];
	char old[128] = "";
	struct pair p;
	int error = 0;
	FILE *f;

	if (!alone)
		lacks("a machine of its own (--alone)");
	bed_enter(open("/proc/1/ns/net", O_RDONLY | O_CLOEXEC)); /* the limit is there alone */
	f = fopen("/proc/sys/net/ipv4/tcp_mem", "re");
	expect(f && fgets(old, sizeof(old), f), "tcp_mem");
	fclose(f);
	pair_new(&p);
	if (redirect)
		pair_put(&p, FACTS_REDIRECT, FACTS_REDIRECT);
	expect(write_text("/proc/sys/net/ipv4/tcp_mem", "4 8 16"), "tcp_mem: %s", strerror(errno));
	for (int i = 0; i < 100000 && !error; i++)
		if (send(p.app, block, 100, MSG_NOSIGNAL) < 0)
			error = errno;
	expect(write_text("/proc/sys/net/ipv4/tcp_mem", old), "tcp_mem: %s", strerror(errno));
	answer("%s", error_word(error));
}

static void pressure_redirect(void)
{
	pressure(true);
}

static void pressure_tcp(void)
{
	pressure(false);
}

const struct fact facts_memory[] = {
	{"16 MB to a reader whose memory cgroup has 8 MiB?", "none|ENOMEM|EAGAIN",
	 group_of_receiver},
	{"TCP's memory is used up: a redirected send says?", "none|ENOMEM|EAGAIN",
	 pressure_redirect},
	{"TCP's memory is used up: a plain send says?", "none|ENOMEM|EAGAIN", pressure_tcp},
	{"back-pressure on 16 MB to a sleeping reader?", "none|EAGAIN|ENOMEM", no_back_pressure},
	{"its sender is then?", "writable|not writable", poll_under_flood},
	{"they are in TCP's account (sockstat)?", "charged|not charged", tcp_account},
	{"bytes of kernel memory for one redirected byte?", "more than 256|less", small_messages},
	{"closing gives all memory back", NULL, memory_comes_back},
	{0},
};
