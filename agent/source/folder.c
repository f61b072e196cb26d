/* SPDX-License-Identifier: Apache-2.0 */
#include "source/folder.h"

#include <errno.h>
#include <limits.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "source/scan.h"
#include "source/store.h"

/* Load when nothing happened for QUIET, at the latest MAX_WAIT after the first event. */
#define QUIET_NS    (20 * SL_NS_PER_MS)
#define MAX_WAIT_NS SL_NS_PER_S
/* After an error that may pass. */
#define RETRY_NS SL_NS_PER_S

/* A folder of the tree under its watch descriptor. */
struct watched {
	int wd;
	bool seen;  /* in the scan that is going on */
	char rel[]; /* "" for the root */
};

struct sl_folder {
	struct sl_loop *loop;
	struct sl_store store;
	sl_config_fn fn;
	void *arg;

	int inotify_fd;
	struct sl_watch watch;
	struct sl_map folders; /* by wd */
	int parent_wd;	       /* of what the root is an entry of: it may be replaced; -1: none */
	const char *base_name; /* the root's name in it, in store.root */

	struct sl_timer timer;
	uint64_t first_ns; /* of the events that wait for the timer; 0: none do */
};

/* ---- watching ---- */

/* Not IN_OPEN or IN_ACCESS: reading the files ourselves must not wake us. */
enum {
	FOLDER_EVENTS = IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO |
			IN_CREATE | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF,
	ENTRY_EVENTS = IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE,
};

/* The store's on_folder. */
static int watch_folder(void *arg, const char *rel, const char *path)
{
	struct sl_folder *f = arg;
	size_t len = strlen(rel);
	struct watched *w, *old;
	int wd =
		inotify_add_watch(f->inotify_fd, path, FOLDER_EVENTS | IN_ONLYDIR | IN_EXCL_UNLINK);
	int r;

	if (wd < 0)
		return -errno;
	if (wd == f->parent_wd)
		f->parent_wd = -1; /* the root is "." or a link to where it is in */
	old = sl_map_get(&f->folders, SL_KEY(&wd));
	if (old && strcmp(old->rel, rel) == 0) {
		old->seen = true;
		return 0;
	}
	if (old && old->seen)
		f->store.has_links = true; /* one folder in two places, by a mount */
	w = sl_malloc(sizeof(*w) + len + 1);
	if (!w)
		return -ENOMEM;
	w->wd = wd;
	w->seen = true;
	memcpy(w->rel, rel, len + 1);
	r = sl_map_put(&f->folders, SL_KEY(&w->wd), w, NULL);
	if (r)
		free(w);
	else
		free(old); /* the folder was renamed */
	return r;
}

/* Not being able to is no reason to give up: the root's own watch sees it go, and then it is looked
 * for from time to time. */
static void watch_parent(struct sl_folder *f)
{
	char path[PATH_MAX];
	const char *slash = strrchr(f->store.root, '/');
	int n;

	f->base_name = slash ? slash + 1 : f->store.root;
	if (!slash)
		n = snprintf(path, sizeof(path), ".");
	else
		n = snprintf(path, sizeof(path), "%.*s/", (int)(slash - f->store.root),
			     f->store.root);
	if (n < 0 || (size_t)n >= sizeof(path))
		return;
	f->parent_wd = inotify_add_watch(f->inotify_fd, path, ENTRY_EVENTS | IN_ONLYDIR);
}

/* ---- loading ---- */

static void drop_unwatched(struct sl_folder *f)
{
	struct watched *w;
	size_t pos = 0;

	while ((w = sl_map_next(&f->folders, &pos, NULL))) {
		if (w->seen)
			continue;
		(void)inotify_rm_watch(f->inotify_fd, w->wd); /* gone already when its folder is */
		sl_map_del(&f->folders, SL_KEY(&w->wd));
		free(w);
	}
}

static int load(struct sl_folder *f, bool force)
{
	struct watched *w;
	size_t pos = 0;
	int r;

	if (f->parent_wd < 0)
		watch_parent(f);
	while ((w = sl_map_next(&f->folders, &pos, NULL)))
		w->seen = false;
	f->first_ns = 0;
	r = sl_store_load(&f->store, force, sl_clock_now_ns());
	if (r < 0 && !f->store.model)
		return r; /* the first load: whoever opens it is told */
	if (r < 0) {
		sl_warn("configuration not loaded, keeping the last one path=\"%s\" error=\"%s\"",
			f->store.root, sl_strerror(r));
		sl_timer_arm(f->loop, &f->timer, sl_clock_now_ns() + RETRY_NS);
		return r;
	}
	if (f->store.scanned && !f->store.incomplete)
		drop_unwatched(f);
	if (f->store.retry_ns)
		sl_timer_arm(f->loop, &f->timer, f->store.retry_ns);
	if (r == SL_STORE_SAME && !force)
		return 0;
	sl_info("configuration loaded path=\"%s\" files=%zu documents=%zu errors=%zu",
		f->store.root, f->store.report.n_files, f->store.report.n_documents,
		f->store.diags.n_errors);
	sl_folder_tell(f);
	return 0;
}

static void on_timer(struct sl_timer *t)
{
	struct sl_folder *f = sl_container_of(t, struct sl_folder, timer);

	(void)load(f, false); /* tries again by itself */
}

static void schedule(struct sl_folder *f)
{
	uint64_t now = sl_loop_now(f->loop);
	uint64_t deadline;

	if (!f->first_ns)
		f->first_ns = now;
	deadline = now + QUIET_NS;
	if (deadline > f->first_ns + MAX_WAIT_NS)
		deadline = f->first_ns + MAX_WAIT_NS;
	sl_timer_arm(f->loop, &f->timer, deadline);
}

/* What happened is not only about one file. */
static void schedule_scan(struct sl_folder *f)
{
	f->store.rescan = true;
	schedule(f);
}

/* ---- events ---- */

/* A file was written to, closed, replaced, or removed. */
static void on_file_event(struct sl_folder *f, const struct watched *w,
			  const struct inotify_event *e)
{
	char path[PATH_MAX];
	struct sl_file *file;
	int n = snprintf(path, sizeof(path), "%s%s%s", w->rel, w->rel[0] ? "/" : "", e->name);

	if (n < 0 || (size_t)n >= sizeof(path))
		return;
	if (sl_store_file(&f->store, sl_str_from(path), &file)) {
		schedule_scan(f); /* without the mark it is just read a little early */
		return;
	}
	sl_store_touch(&f->store, file);
	if (e->mask & IN_MODIFY) {
		/* Half of a file is not a configuration: wait until it is closed. */
		file->writing_ns = sl_loop_now(f->loop);
		return;
	}
	if (!(e->mask & IN_ATTRIB))
		file->writing_ns = 0;
	file->force = true;
	schedule(f);
}

static bool is_link(const struct sl_folder *f, const struct watched *w, const char *name)
{
	char path[PATH_MAX];
	struct stat st;
	int n = snprintf(path, sizeof(path), "%s/%s%s%s", f->store.root, w->rel,
			 w->rel[0] ? "/" : "", name);

	return n > 0 && (size_t)n < sizeof(path) && !lstat(path, &st) && S_ISLNK(st.st_mode);
}

static void on_overflow(struct sl_folder *f)
{
	struct sl_file *file;
	size_t pos = 0;

	sl_warn("events of the configuration folder were lost, reading all of it path=\"%s\"",
		f->store.root);
	while ((file = sl_map_next(&f->store.files, &pos, NULL))) {
		file->force = true;
		file->writing_ns = 0;
	}
	schedule_scan(f);
}

static void on_event(struct sl_folder *f, const struct inotify_event *e)
{
	const char *name = e->len ? e->name : "";
	struct watched *w;

	if (e->mask & IN_Q_OVERFLOW) {
		on_overflow(f);
		return;
	}
	if (e->wd == f->parent_wd) {
		if (e->mask & IN_IGNORED)
			f->parent_wd = -1;
		if (f->parent_wd < 0 || strcmp(name, f->base_name) == 0)
			schedule_scan(f);
		return;
	}
	w = sl_map_get(&f->folders, SL_KEY(&e->wd));
	if (!w)
		return;
	if (e->mask & IN_IGNORED) {
		sl_map_del(&f->folders, SL_KEY(&w->wd));
		free(w);
		schedule_scan(f);
	} else if (!e->len || (e->mask & IN_ISDIR)) {
		schedule_scan(f);
	} else if (sl_scan_wants(name)) {
		on_file_event(f, w, e);
	} else if ((e->mask & ENTRY_EVENTS) && (f->store.has_links || is_link(f, w, name))) {
		/* A link may go through a hidden name: so a ConfigMap's ..data is exchanged. */
		schedule_scan(f);
	}
}

static void on_inotify(struct sl_watch *watch, uint32_t events)
{
	struct sl_folder *f = sl_container_of(watch, struct sl_folder, watch);
	char buf[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t n;

	(void)events;
	/* One buffer a round, the rest in the next: others have work too. */
	n = read(f->inotify_fd, buf, sizeof(buf));
	for (ssize_t at = 0; at < n;) {
		const struct inotify_event *e = (const struct inotify_event *)(buf + at);

		on_event(f, e);
		at += (ssize_t)(sizeof(*e) + e->len);
	}
}

/* ---- life ---- */

static int start(struct sl_folder *f, const char *path)
{
	int r = sl_store_init(&f->store, path);

	if (r)
		return r;
	for (size_t n = strlen(f->store.root); n > 1 && f->store.root[n - 1] == '/'; n--)
		f->store.root[n - 1] = '\0';
	f->store.on_folder = watch_folder;
	f->store.arg = f;
	f->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (f->inotify_fd < 0)
		return -errno;
	r = sl_watch_add(f->loop, &f->watch, f->inotify_fd, EPOLLIN, on_inotify);
	return r ? r : load(f, true);
}

int sl_folder_open(struct sl_loop *loop, const char *path, sl_config_fn fn, void *arg,
		   struct sl_folder **ret)
{
	struct sl_folder *f = sl_new(struct sl_folder);
	int r;

	if (!f)
		return -ENOMEM;
	f->loop = loop;
	f->fn = fn;
	f->arg = arg;
	f->inotify_fd = f->parent_wd = -1;
	f->watch = SL_WATCH_INIT;
	f->timer = SL_TIMER_INIT(on_timer);
	r = start(f, path);
	if (r) {
		sl_folder_close(f);
		return r;
	}
	*ret = f;
	return 0;
}

void sl_folder_tell(struct sl_folder *f)
{
	f->fn(f->arg, f->store.model, &f->store.report);
}

int sl_folder_reload(struct sl_folder *f)
{
	return load(f, true);
}

struct sl_folder *sl_folder_close(struct sl_folder *f)
{
	struct watched *w;
	size_t pos = 0;

	if (!f)
		return NULL;
	sl_timer_cancel(&f->timer);
	sl_watch_remove(&f->watch);
	if (f->inotify_fd >= 0)
		(void)close(f->inotify_fd); /* takes the watches along */
	while ((w = sl_map_next(&f->folders, &pos, NULL)))
		free(w);
	sl_map_deinit(&f->folders);
	sl_store_deinit(&f->store);
	free(f);
	return NULL;
}

int sl_folder_load(const char *path, struct sl_model **ret_model, struct sl_diags *diags,
		   struct sl_config_report *ret)
{
	struct sl_store store;
	int r = sl_store_init(&store, path);

	if (!r)
		r = sl_store_load(&store, true, sl_clock_now_ns());
	if (!r) {
		sl_diags_deinit(diags);
		*diags = store.diags;
		store.diags = SL_DIAGS_INIT;
		*ret = store.report;
		ret->diags = diags;
		*ret_model = sl_take(store.model);
	}
	sl_store_deinit(&store);
	return r;
}
