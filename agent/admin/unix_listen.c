/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/unix_listen.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include "base/alloc.h"
#include "base/cleanup.h"

static int connect_to(const struct sockaddr_un *sun)
{
	_cleanup_(sl_closep) int fd =
		socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)sun, sizeof(*sun)))
		return -errno;
	return 0;
}

/* The path is taken: by a dead agent's socket, which goes, or by something that stays. */
static int remove_stale(const struct sockaddr_un *sun)
{
	struct stat st;
	int r;

	if (lstat(sun->sun_path, &st))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	r = connect_to(sun);
	if (r == 0 || r == -EAGAIN) /* -EAGAIN: somebody listens, with a full backlog */
		return -EADDRINUSE;
	if (r != -ECONNREFUSED)
		return r;
	return unlink(sun->sun_path) && errno != ENOENT ? -errno : 0;
}

static int make_folder(const char *path)
{
	_cleanup_(sl_freep) char *dir = sl_strdup(path);
	char *slash;

	if (!dir)
		return -ENOMEM;
	slash = strrchr(dir, '/');
	if (!slash || slash == dir)
		return 0;
	*slash = '\0';
	return mkdir(dir, 0755) && errno != EEXIST ? -errno : 0;
}

int sl_unix_listen(const char *path, int backlog, int inherited, int *ret_fd)
{
	_cleanup_(sl_closep) int theirs = inherited;
	_cleanup_(sl_closep) int fd =
		socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct stat st;
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	size_t len = strlen(path);
	int r;

	if (theirs >= 0 && !lstat(path, &st) && S_ISSOCK(st.st_mode)) {
		*ret_fd = sl_take_fd(&theirs);
		return 0;
	}
	if (len >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	memcpy(sun.sun_path, path, len + 1);
	/* The mode of the descriptor becomes the file's: it is never open to others, not even
	 * shortly. */
	if (fd < 0 || fchmod(fd, 0600))
		return -errno;
	r = make_folder(path);
	if (!r)
		r = remove_stale(&sun);
	if (r)
		return r;
	if (bind(fd, (struct sockaddr *)&sun, sizeof(sun)) || listen(fd, backlog))
		return -errno;
	*ret_fd = sl_take_fd(&fd);
	return 0;
}

int sl_unix_forget(const char *path)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	size_t len = strlen(path);
	const char *slash = strrchr(path, '/');
	int r;

	if (len >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	memcpy(sun.sun_path, path, len + 1);
	r = remove_stale(&sun);
	if (r || !slash || slash == path)
		return r;
	sun.sun_path[slash - path] = '\0';
	/* Others may have files there, or it is a mount. */
	if (rmdir(sun.sun_path) && errno != ENOTEMPTY && errno != ENOENT && errno != EBUSY)
		return -errno;
	return 0;
}
