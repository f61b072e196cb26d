/* SPDX-License-Identifier: Apache-2.0 */
#include "source/scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include "base/cleanup.h"
#include "base/log.h"

enum { MAX_DEPTH = 16, MAX_ENTRIES = 20000 };

struct scan {
	const struct sl_scan_sink *sink;
	char path[PATH_MAX]; /* of what is looked at, starts with the root's */
	size_t root_len;
	char real_root[PATH_MAX];
	size_t n_entries;
	bool full; /* said already that there are too many */
};

static void closedirp(DIR **dir)
{
	if (*dir)
		(void)closedir(*dir); /* it was only read */
}

static const char *rel_of(const struct scan *s)
{
	return s->path[s->root_len] ? s->path + s->root_len + 1 : "";
}

bool sl_scan_wants(const char *name)
{
	static const char *const endings[] = {".yaml", ".yml", ".json"};
	size_t len = strlen(name);

	if (name[0] == '.')
		return false;
	for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
		size_t n = strlen(endings[i]);

		if (len > n && strcmp(name + len - n, endings[i]) == 0)
			return true;
	}
	return false;
}

/* A link to a folder: is it one of ours? */
static bool stays_inside(const struct scan *s)
{
	char real[PATH_MAX];
	size_t n = strlen(s->real_root);

	return realpath(s->path, real) && strncmp(real, s->real_root, n) == 0 && real[n] == '/';
}

static int scan_folder(struct scan *s, unsigned depth);

static int scan_entry(struct scan *s, unsigned depth)
{
	const char *name = strrchr(s->path, '/') + 1;
	struct stat st;
	bool is_link = false;
	int r = lstat(s->path, &st);

	if (!r && S_ISLNK(st.st_mode)) {
		is_link = true;
		r = stat(s->path, &st);
	}
	if (r) {
		/* A link that leads nowhere is nothing; so is what has just gone. */
		if (errno != ENOENT)
			s->sink->on_problem(s->sink->arg, rel_of(s), sl_strerror(-errno));
		return 0;
	}
	if (is_link || (S_ISREG(st.st_mode) && st.st_nlink > 1))
		s->sink->on_link(s->sink->arg);
	if (S_ISREG(st.st_mode) && sl_scan_wants(name))
		return s->sink->on_file(s->sink->arg, rel_of(s), s->path);
	if (!S_ISDIR(st.st_mode) || (is_link && !stays_inside(s)))
		return 0;
	if (depth == MAX_DEPTH) {
		s->sink->on_problem(s->sink->arg, rel_of(s), "nested too deep");
		return 0;
	}
	return scan_folder(s, depth + 1);
}

/* Puts name behind the path, does the entry, and takes it away again. */
static int visit(struct scan *s, const char *name, unsigned depth)
{
	size_t len = strlen(s->path);
	int n, r;

	if (s->n_entries == MAX_ENTRIES) {
		if (!s->full)
			s->sink->on_problem(s->sink->arg, rel_of(s),
					    "too many files, the rest is ignored");
		s->full = true;
		return 0;
	}
	s->n_entries++;
	n = snprintf(s->path + len, sizeof(s->path) - len, "/%s", name);
	if (n < 0 || (size_t)n >= sizeof(s->path) - len) {
		s->path[len] = '\0';
		s->sink->on_problem(s->sink->arg, rel_of(s), "a path in it is too long");
		return 0;
	}
	r = scan_entry(s, depth);
	s->path[len] = '\0';
	return r;
}

static int scan_folder(struct scan *s, unsigned depth)
{
	_cleanup_(closedirp) DIR *dir = NULL;
	struct dirent *e;
	int r = s->sink->on_folder(s->sink->arg, rel_of(s), s->path);

	if (r)
		return r;
	dir = opendir(s->path);
	if (!dir) {
		if (depth == 0)
			return -errno;
		if (errno != ENOENT)
			s->sink->on_problem(s->sink->arg, rel_of(s), sl_strerror(-errno));
		return 0;
	}
	while (errno = 0, e = readdir(dir)) {
		if (e->d_name[0] == '.')
			continue;
		r = visit(s, e->d_name, depth);
		if (r)
			return r;
	}
	if (errno)
		s->sink->on_problem(s->sink->arg, rel_of(s), sl_strerror(-errno));
	return 0;
}

int sl_scan(const char *root, const struct sl_scan_sink *sink)
{
	struct scan s = {.sink = sink};
	int n = snprintf(s.path, sizeof(s.path), "%s", root);

	if (n < 0 || (size_t)n >= sizeof(s.path))
		return -ENAMETOOLONG;
	while (n > 1 && s.path[n - 1] == '/')
		s.path[--n] = '\0';
	s.root_len = (size_t)n;
	if (!realpath(root, s.real_root))
		return -errno;
	return scan_folder(&s, 0);
}
