/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <unistd.h>
#include "scratch.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

static struct sl_source sources[2];
static uint64_t own;

static uint64_t cookie_of(int fd)
{
	socklen_t len = sizeof(uint64_t);
	uint64_t cookie = 0;

	(void)getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len); /* 0 is none's */
	return cookie;
}

static uint64_t cookie_of_new(const struct sl_source *s)
{
	int fd = s ? sl_source_socket(s, AF_INET, SOCK_STREAM, 0) : socket(AF_INET, SOCK_STREAM, 0);
	uint64_t cookie = cookie_of(fd);

	(void)close(fd);
	return cookie;
}

static void open_source(struct sl_source *s, const char *name)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/%s", scratch.dirs[0], name);
	*s = (struct sl_source){.fd = open(path, O_RDONLY | O_CLOEXEC)};
	cr_assert_geq(s->fd, 0);
	s->cookie = scratch_cookie(0, name);
}

static void set_up(void)
{
	scratch_open();
	scratch_make_dir(0);
	scratch_add(0, "one");
	scratch_add(0, "two");
	own = cookie_of_new(NULL);
	open_source(&sources[0], "one");
	open_source(&sources[1], "two");
}

static void tear_down(void)
{
	(void)close(sources[0].fd);
	(void)close(sources[1].fd);
	scratch_close();
}

TestSuite(netns_enter, .init = set_up, .fini = tear_down, .timeout = 60);

Test(netns_enter, a_socket_belongs_to_the_namespace_and_the_thread_comes_back)
{
	int fd = sl_source_socket(&sources[0], AF_INET6, SOCK_STREAM, 0);

	cr_assert_geq(fd, 0);
	cr_assert_eq(cookie_of(fd), sources[0].cookie);
	cr_assert_neq(sources[0].cookie, own);
	cr_assert_eq(cookie_of_new(NULL), own);
	cr_assert(fcntl(fd, F_GETFL) & O_NONBLOCK);
	cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	(void)close(fd);
}

enum { ROUNDS = 2000 };

/* Returns how many sockets went astray. */
static void *open_many(void *arg)
{
	const struct sl_source *mine = arg;
	uintptr_t n_astray = 0;

	for (int i = 0; i < ROUNDS; i++) {
		n_astray += cookie_of_new(mine) != mine->cookie;
		n_astray += cookie_of_new(NULL) != own;
	}
	return (void *)n_astray;
}

Test(netns_enter, threads_do_not_get_in_each_others_way)
{
	pthread_t threads[2];

	for (int i = 0; i < 2; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, open_many, &sources[i]), 0);
	/* The thread that "self" of /proc names is on its way too. */
	for (int i = 0; i < ROUNDS; i++) {
		cr_assert_eq(cookie_of_new(&sources[i % 2]), sources[i % 2].cookie);
		cr_assert_eq(cookie_of_new(NULL), own);
	}
	for (int i = 0; i < 2; i++) {
		void *n_astray = (void *)1;

		cr_assert_eq(pthread_join(threads[i], &n_astray), 0);
		cr_assert_null(n_astray);
	}
}

Test(netns_enter, a_thread_leaves_no_descriptor_behind)
{
	size_t n_fds = scratch_n_fds();
	pthread_t thread;

	cr_assert_eq(pthread_create(&thread, NULL, open_many, &sources[0]), 0);
	cr_assert_eq(pthread_join(thread, NULL), 0);
	cr_assert_eq(scratch_n_fds(), n_fds);
}

Test(netns_enter, what_cannot_be_entered_or_opened_is_an_error)
{
	struct sl_source file = {.fd = open("/dev/null", O_RDONLY | O_CLOEXEC)};
	struct sl_source closed = {.fd = 1 << 20};

	cr_assert_eq(sl_source_socket(&file, AF_INET, SOCK_STREAM, 0), -EINVAL);
	cr_assert_eq(sl_source_socket(&closed, AF_INET, SOCK_STREAM, 0), -EBADF);
	cr_assert_eq(sl_source_socket(&sources[0], AF_INET, SOCK_STREAM, IPPROTO_UDP),
		     -EPROTONOSUPPORT);
	cr_assert_eq(cookie_of_new(NULL), own);
	(void)close(file.fd);
}
