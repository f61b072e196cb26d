/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of namespaces in folders. A file appears before the namespace is mounted on it, so it is
 * looked at again until it is one. A folder that does not exist is waited for at the nearest parent
 * that does.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "netns/known.h"

#define FIRST_RETRY_NS SL_NS_PER_MS
#define LAST_RETRY_NS  (10 * SL_NS_PER_S)

enum {
	FOLDER_EVENTS = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF |
			IN_MOVE_SELF | IN_ONLYDIR | IN_MASK_ADD,
	PARENT_EVENTS =
		IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | IN_MASK_ADD,
	ATTACH_TRIES = 16,
};

struct name {
	struct sl_list in_folder;
	struct sl_netns *netns; /* NULL: none yet */
	uint64_t retry_ns, pause_ns;
	bool seen; /* by the last listing */
	char text[];
};

struct sl_netns_folder {
	struct sl_netns_watch *watch;
	char *path;
	int wd;	    /* of the folder, or of a parent while it waits; -1: neither */
	bool waits; /* for the folder to come */
	struct sl_list names;
	uint64_t retry_ns, pause_ns; /* to attach; pause 0: not needed */
};

/* ---- names ---- */

static void drop_name(struct name *name)
{
	struct sl_netns *n = name->netns;

	sl_list_remove(&name->in_folder);
	free(name);
	/* Even if processes are left: without its name it is about to go, and we would keep it. A
	 * process that lives on makes itself known. */
	if (n && --n->n_names == 0 && sl_netns_is_unnamed(n))
		sl_netns_forget(n);
}

static struct name *find_name(const struct sl_netns_folder *f, const char *text)
{
	sl_list_foreach (it, &f->names) {
		struct name *name = sl_container_of(it, struct name, in_folder);

		if (strcmp(name->text, text) == 0)
			return name;
	}
	return NULL;
}

static void arm_retry(struct sl_netns_watch *w, uint64_t at)
{
	if (!w->retry_timer.loop || at < w->retry_timer.deadline_ns)
		sl_timer_arm(w->loop, &w->retry_timer, at);
}

/* Twice as long each time: the mount usually follows within a millisecond, or never. */
static uint64_t next_retry(struct sl_netns_watch *w, uint64_t *pause_ns)
{
	uint64_t at;

	*pause_ns = *pause_ns ? *pause_ns * 2 : FIRST_RETRY_NS;
	if (*pause_ns > LAST_RETRY_NS)
		*pause_ns = LAST_RETRY_NS;
	at = sl_loop_now(w->loop) + *pause_ns;
	arm_retry(w, at);
	return at;
}

static int open_name(const struct sl_netns_folder *f, const struct name *name)
{
	_cleanup_(sl_freep) char *path = sl_asprintf("%s/%s", f->path, name->text);
	int fd;

	if (!path)
		return -ENOMEM;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	return fd < 0 ? -errno : fd;
}

static void resolve(struct sl_netns_folder *f, struct name *name)
{
	_cleanup_(sl_closep) int fd = open_name(f, name);
	struct sl_netns *n;

	if (fd < 0 || sl_netns_admit(f->watch, fd, 0, name->text, &n)) {
		name->retry_ns = next_retry(f->watch, &name->pause_ns);
		return;
	}
	name->netns = n;
	n->n_names++;
}

/* Returns 0 or -ENOMEM. */
static int add_name(struct sl_netns_folder *f, const char *text)
{
	struct name *name = find_name(f, text);
	size_t size = strlen(text) + 1;

	if (!name) {
		name = sl_calloc(1, sizeof(*name) + size);
		if (!name)
			return -ENOMEM;
		memcpy(name->text, text, size);
		sl_list_append(&f->names, &name->in_folder);
	}
	name->seen = true;
	if (!name->netns)
		resolve(f, name);
	return 0;
}

static void drop_names(struct sl_netns_folder *f, bool unseen_only)
{
	sl_list_foreach_safe (it, &f->names) {
		struct name *name = sl_container_of(it, struct name, in_folder);

		if (!unseen_only || !name->seen)
			drop_name(name);
	}
}

static void close_dir(DIR **d)
{
	if (*d)
		(void)closedir(*d); /* only read from */
}

/* Make the names those that are there. */
static int list_names(struct sl_netns_folder *f)
{
	_cleanup_(close_dir) DIR *d = opendir(f->path);
	const struct dirent *e;
	int r;

	if (!d)
		return -errno;
	sl_list_foreach (it, &f->names)
		sl_container_of(it, struct name, in_folder)->seen = false;
	while ((errno = 0, e = readdir(d))) {
		if (e->d_type == DT_DIR)
			continue;
		r = add_name(f, e->d_name);
		if (r)
			return r;
	}
	if (errno)
		return -errno;
	drop_names(f, true);
	return 0;
}

/* ---- folders ---- */

/* Two folders may wait at the same parent, or be one folder: inotify knows them by one number. */
static void detach(struct sl_netns_folder *f)
{
	struct sl_netns_watch *w = f->watch;
	int wd = f->wd;

	f->wd = -1;
	if (wd < 0)
		return;
	for (uint32_t i = 0; i < w->n_folders; i++)
		if (w->folders[i].wd == wd)
			return;
	(void)inotify_rm_watch(w->inotify, wd); /* fails when the kernel removed it already */
}

/* Watch the nearest parent. ret_missing is what is not there below it. Cuts path. */
static int wait_at_parent(struct sl_netns_folder *f, char *path, char *ret_missing)
{
	for (;;) {
		char *slash = strrchr(path, '/');

		if (!slash)
			return -ENOENT;
		memcpy(ret_missing, path, strlen(path) + 1);
		*slash = '\0';
		f->wd = inotify_add_watch(f->watch->inotify, path[0] ? path : "/", PARENT_EVENTS);
		if (f->wd >= 0)
			return 0;
		if (errno != ENOENT)
			return -errno;
	}
}

static int try_attach(struct sl_netns_folder *f)
{
	char path[PATH_MAX], missing[PATH_MAX];
	int r;

	detach(f);
	f->waits = false;
	f->wd = inotify_add_watch(f->watch->inotify, f->path, FOLDER_EVENTS);
	if (f->wd >= 0) {
		r = list_names(f);
		return r == -ENOENT ? -EAGAIN : r; /* it went again */
	}
	if (errno != ENOENT)
		return -errno;
	memcpy(path, f->path, strlen(f->path) + 1);
	r = wait_at_parent(f, path, missing);
	if (r)
		return r;
	if (access(missing, F_OK) == 0)
		return -EAGAIN; /* it came in between, and nobody will tell */
	f->waits = true;
	drop_names(f, false);
	return 0;
}

static int attach(struct sl_netns_folder *f)
{
	int r = -EAGAIN;

	for (int i = 0; i < ATTACH_TRIES && r == -EAGAIN; i++)
		r = try_attach(f);
	if (r)
		f->retry_ns = next_retry(f->watch, &f->pause_ns);
	else
		f->pause_ns = 0;
	return r;
}

static void on_folder_event(struct sl_netns_folder *f, const struct inotify_event *e)
{
	if (e->mask & (IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT) || f->waits) {
		(void)attach(f); /* tried again later if it fails */
	} else if (e->len && !(e->mask & IN_ISDIR)) {
		struct name *name;

		if (e->mask & (IN_DELETE | IN_MOVED_FROM)) {
			name = find_name(f, e->name);
			if (name)
				drop_name(name);
		} else if (add_name(f, e->name)) {
			f->retry_ns = next_retry(f->watch, &f->pause_ns);
		}
	}
}

static void on_event(struct sl_netns_watch *w, const struct inotify_event *e)
{
	for (uint32_t i = 0; i < w->n_folders; i++) {
		struct sl_netns_folder *f = &w->folders[i];

		if (e->mask & IN_Q_OVERFLOW)
			(void)attach(f); /* tried again later if it fails */
		else if (f->wd == e->wd)
			on_folder_event(f, e);
	}
}

static void on_inotify(struct sl_watch *watch, uint32_t events)
{
	struct sl_netns_watch *w = sl_container_of(watch, struct sl_netns_watch, inotify_watch);
	char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t len = read(w->inotify, buf, sizeof(buf));

	(void)events; /* level-triggered: what is left comes in the next round */
	for (ssize_t at = 0; at < len;) {
		const struct inotify_event *e = (const void *)(buf + at);

		on_event(w, e);
		at += (ssize_t)(sizeof(*e) + e->len);
	}
}

static void on_retry(struct sl_timer *t)
{
	struct sl_netns_watch *w = sl_container_of(t, struct sl_netns_watch, retry_timer);
	uint64_t now = sl_loop_now(w->loop);

	for (uint32_t i = 0; i < w->n_folders; i++) {
		struct sl_netns_folder *f = &w->folders[i];

		if (f->pause_ns && f->retry_ns <= now)
			(void)attach(f); /* tried again later if it fails */
		else if (f->pause_ns)
			arm_retry(w, f->retry_ns);
		sl_list_foreach (it, &f->names) {
			struct name *name = sl_container_of(it, struct name, in_folder);

			if (!name->netns && name->retry_ns <= now)
				resolve(f, name);
			else if (!name->netns)
				arm_retry(w, name->retry_ns);
		}
	}
}

int sl_netns_folders_open(struct sl_netns_watch *w, const char *const *dirs, uint32_t n_dirs)
{
	int r;

	w->retry_timer = SL_TIMER_INIT(on_retry);
	w->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (w->inotify < 0)
		return -errno;
	r = sl_watch_add(w->loop, &w->inotify_watch, w->inotify, EPOLLIN, on_inotify);
	if (r)
		return r;
	w->folders = sl_new_n(struct sl_netns_folder, n_dirs);
	if (!w->folders)
		return -ENOMEM;
	for (uint32_t i = 0; i < n_dirs; i++) {
		struct sl_netns_folder *f = &w->folders[i];

		if (strlen(dirs[i]) >= PATH_MAX)
			return -ENAMETOOLONG;
		*f = (struct sl_netns_folder){.watch = w, .wd = -1};
		sl_list_init(&f->names);
		f->path = sl_strdup(dirs[i]);
		if (!f->path)
			return -ENOMEM;
		w->n_folders = i + 1;
		r = attach(f);
		if (r)
			return r;
	}
	return 0;
}

void sl_netns_folders_close(struct sl_netns_watch *w)
{
	for (uint32_t i = 0; i < w->n_folders; i++) {
		struct sl_netns_folder *f = &w->folders[i];

		sl_list_foreach_safe (it, &f->names)
			free(sl_container_of(it, struct name, in_folder));
		free(f->path);
	}
	free(w->folders);
	sl_timer_cancel(&w->retry_timer);
	sl_watch_remove(&w->inotify_watch);
	sl_closep(&w->inotify);
}
