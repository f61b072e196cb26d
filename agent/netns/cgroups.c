/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "netns/mount.h"
#include "netns/netns.h"

/* The kernel's FILEID_KERNFS: the handle is the cgroup's id alone. Not in the UAPI headers of all
 * distributions. */
enum { HANDLE_KERNFS = 0xfe };

/* A kubelet's UID is a UUID, or for static Pods 32 hexadecimal digits. */
enum { UID_MIN = 32, UID_MAX = 36 };

struct sl_cgroups {
	int fd; /* of the mount */
	size_t path_len;
	char path[PATH_MAX];
};

SL_DEFINE_CLEANUP(struct sl_cgroups *, sl_cgroups_close)

int sl_cgroups_find_pods(char *ret_path, size_t size)
{
	static const char *const names[] = {"kubepods.slice", "kubepods"};
	char mount[PATH_MAX];
	int r = sl_cgroup_mount(mount);

	for (size_t i = 0; !r && i < sizeof(names) / sizeof(*names); i++) {
		struct stat st;
		int n = snprintf(ret_path, size, "%s/%s", mount, names[i]);

		if (n < 0 || (size_t)n >= size)
			return -ENAMETOOLONG;
		if (!stat(ret_path, &st) && S_ISDIR(st.st_mode))
			return 0;
	}
	return r ? r : -ENOENT;
}

int sl_cgroups_open(struct sl_cgroups **ret)
{
	_cleanup_(sl_cgroups_closep) struct sl_cgroups *c = sl_new(struct sl_cgroups);
	int r;

	if (!c)
		return -ENOMEM;
	c->fd = -1;
	r = sl_cgroup_mount(c->path);
	if (r)
		return r;
	c->path_len = strlen(c->path);
	c->fd = open(c->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->fd < 0)
		return -errno;
	*ret = sl_take(c);
	return 0;
}

struct sl_cgroups *sl_cgroups_close(struct sl_cgroups *c)
{
	if (!c)
		return NULL;
	sl_closep(&c->fd);
	free(c);
	return NULL;
}

/* What the kernel says behind the path of what was removed after it had been opened. */
static bool is_deleted(const char *path, size_t len)
{
	static const char mark[] = " (deleted)";

	return len >= sizeof(mark) &&
	       memcmp(path + len - (sizeof(mark) - 1), mark, sizeof(mark) - 1) == 0;
}

/* full (out): path from the root of the file system, with NUL. Returns its length or -errno. */
static int full_path(const struct sl_cgroups *c, uint64_t cgroup_id, char full[PATH_MAX])
{
	union {
		struct file_handle handle;
		char room[sizeof(struct file_handle) + sizeof(uint64_t)];
	} h = {.handle = {.handle_bytes = sizeof(uint64_t), .handle_type = HANDLE_KERNFS}};
	_cleanup_(sl_closep) int fd = -1;
	char link[64];
	ssize_t len;

	memcpy(h.handle.f_handle, &cgroup_id, sizeof(cgroup_id));
	fd = open_by_handle_at(c->fd, &h.handle, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return errno == ESTALE ? -ENOENT : -errno;
	(void)snprintf(link, sizeof(link), "/proc/thread-self/fd/%d", fd);
	len = readlink(link, full, PATH_MAX);
	if (len < 0)
		return -errno;
	if (len >= PATH_MAX)
		return -ENAMETOOLONG;
	full[len] = '\0';
	return is_deleted(full, (size_t)len) ? -ENOENT : (int)len;
}

int sl_cgroups_path(const struct sl_cgroups *c, uint64_t cgroup_id, char *ret, size_t len)
{
	char full[PATH_MAX];
	const char *path = full;
	int r = full_path(c, cgroup_id, full);

	if (r < 0)
		return r;
	/* Outside of what this mount shows, the kernel tells the path from the hierarchy's root. */
	if (sl_str_starts((struct sl_str){full, (size_t)r}, (struct sl_str){c->path, c->path_len}))
		path += c->path_len;
	if (path[0] == '\0')
		path = "/";
	if (strlen(path) >= len)
		return -ENAMETOOLONG;
	memcpy(ret, path, strlen(path) + 1);
	return 0;
}

static bool uid_valid(const char *uid, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!isxdigit((unsigned char)uid[i]) && uid[i] != '-')
			return false;
	return len >= UID_MIN && len <= UID_MAX;
}

/* The UID in one component of a path: "pod<uid>", as kubelet's cgroupfs driver names it, or as its
 * systemd driver does, "...-pod<uid>.slice" with
 * "_" for "-". Returns false when it is no Pod's. */
static bool uid_of(struct sl_str component, char ret_uid[64])
{
	struct sl_str slice = SL_STR(".slice"), uid = component;
	char text[UID_MAX + 1];

	if (uid.len > slice.len && sl_str_eq(sl_str_skip(uid, uid.len - slice.len), slice)) {
		const char *dash;

		uid.len -= slice.len;
		dash = memrchr(uid.ptr, '-', uid.len);
		if (!dash)
			return false;
		uid = sl_str_skip(uid, (size_t)(dash + 1 - uid.ptr));
	}
	if (!sl_str_starts(uid, SL_STR("pod")))
		return false;
	uid = sl_str_skip(uid, 3);
	if (uid.len > UID_MAX)
		return false;
	for (size_t i = 0; i < uid.len; i++)
		text[i] = uid.ptr[i] == '_' ? '-' : uid.ptr[i];
	if (!uid_valid(text, uid.len))
		return false;
	memcpy(ret_uid, text, uid.len);
	ret_uid[uid.len] = '\0';
	return true;
}

int sl_cgroups_pod_uid(const struct sl_cgroups *c, uint64_t cgroup_id, char ret_uid[64])
{
	char path[PATH_MAX];
	int r = sl_cgroups_path(c, cgroup_id, path, sizeof(path));

	if (r)
		return r;
	for (const char *p = path; *p;) {
		const char *end = strchrnul(p, '/');

		if (uid_of((struct sl_str){p, (size_t)(end - p)}, ret_uid))
			return 0;
		p = *end ? end + 1 : end;
	}
	return -ENOENT;
}
