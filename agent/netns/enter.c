/* SPDX-License-Identifier: Apache-2.0 */
#include "netns/enter.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "netns/netns.h"

/* Each thread keeps its own way back: the process has none that is right for all threads at all
 * times, as "self" means the main thread, which may be away itself. */
static pthread_once_t home_once = PTHREAD_ONCE_INIT;
static pthread_key_t home_key; /* value: descriptor + 1 */
static bool home_key_made;

static void close_home(void *value)
{
	(void)close((int)(intptr_t)value - 1); /* the thread ends */
}

static void make_home_key(void)
{
	home_key_made = pthread_key_create(&home_key, close_home) == 0;
}

/* Returns the calling thread's namespace, which stays the thread's, or -errno. */
static int home(void)
{
	intptr_t value;
	int fd, r;

	(void)pthread_once(&home_once, make_home_key); /* cannot fail for a valid control */
	if (!home_key_made)
		return -EAGAIN;
	value = (intptr_t)pthread_getspecific(home_key);
	if (value)
		return (int)(value - 1);
	fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = pthread_setspecific(home_key, (void *)((intptr_t)fd + 1));
	if (r) {
		(void)close(fd); /* the first error is the one to tell */
		return -r;
	}
	return fd;
}

static int open_socket(int family, int type, int protocol)
{
	int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);

	return fd < 0 ? -errno : fd;
}

/* Returns the way back, or -errno. */
static int enter(int fd)
{
	int back = home();

	if (back >= 0 && setns(fd, CLONE_NEWNET))
		return -errno;
	return back;
}

static void leave(int back)
{
	if (setns(back, CLONE_NEWNET)) {
		sl_error("cannot return to the own network namespace, aborting error=\"%s\"",
			 sl_strerror(errno));
		abort();
	}
}

int sl_netns_socket_at(int fd, int family, int type, int protocol)
{
	int back, r;

	if (fd < 0)
		return open_socket(family, type, protocol);
	back = enter(fd);
	if (back < 0)
		return back;
	r = open_socket(family, type, protocol);
	leave(back);
	return r;
}

/* /proc/sys/net shows the namespace of the thread that opens it. */
static int open_port_range(void)
{
	int fd = open("/proc/sys/net/ipv4/ip_local_port_range", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int sl_source_port_range(const struct sl_source *s, uint16_t *ret_first, uint16_t *ret_last)
{
	_cleanup_(sl_closep) int fd = -1;
	unsigned first, last;
	char text[32] = "";
	int back;

	if (s->fd < 0) {
		fd = open_port_range();
	} else {
		back = enter(s->fd);
		if (back < 0)
			return back;
		fd = open_port_range();
		leave(back);
	}
	if (fd < 0)
		return fd;
	if (read(fd, text, sizeof(text) - 1) < 0)
		return -errno;
	if (sscanf(text, "%u %u", &first, &last) != 2 || first > last || last > UINT16_MAX)
		return -EINVAL;
	*ret_first = (uint16_t)first;
	*ret_last = (uint16_t)last;
	return 0;
}

int sl_source_socket(const struct sl_source *s, int family, int type, int protocol)
{
	return sl_netns_socket_at(s->fd, family, type, protocol);
}

int sl_source_run(const struct sl_source *s, int (*fn)(void *arg), void *arg)
{
	int back, r;

	if (s->fd < 0)
		return fn(arg);
	back = enter(s->fd);
	if (back < 0)
		return back;
	r = fn(arg);
	leave(back);
	return r;
}

struct sl_source *sl_source_ref(struct sl_source *s)
{
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	return s;
}

struct sl_source *sl_source_unref(struct sl_source *s)
{
	if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
		return NULL;
	sl_closep(&s->fd);
	free(s);
	return NULL;
}
