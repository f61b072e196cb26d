/* SPDX-License-Identifier: Apache-2.0 */
#include "datapath/internal.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "sluice.skel.h"

#define BPFFS_MOUNT "/sys/fs/bpf"

int sl_dp_error(char *err, size_t err_len, int error, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(err, err_len, fmt, ap); /* a truncated message is better than none */
	va_end(ap);
	return error;
}

char *sl_dp_pin_path(const char *dir, const char *prefix, const char *name)
{
	return sl_asprintf("%s/%s%s", dir, prefix, name);
}

static bool on_bpffs(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && fs.f_type == BPF_FS_MAGIC;
}

int sl_dp_bpffs_prepare(const char *dir, char *err, size_t err_len)
{
	_cleanup_(sl_freep) char *parent = sl_strdup(dir);
	char *slash = parent ? strrchr(parent, '/') : NULL;

	if (!parent)
		return sl_dp_error(err, err_len, -ENOMEM, "out of memory");
	if (!slash || slash == parent || !slash[1])
		return sl_dp_error(err, err_len, -EINVAL,
				   "the folder for pins must be an absolute path below a bpf file "
				   "system, not \"%s\"",
				   dir);
	*slash = '\0';
	if (!on_bpffs(parent) && !strcmp(parent, BPFFS_MOUNT) &&
	    mount("bpf", parent, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") < 0)
		return sl_dp_error(
			err, err_len, -errno,
			"cannot mount the bpf file system at %s: %s (in a container, mount "
			"the host's there)",
			parent, sl_strerror(-errno));
	if (!on_bpffs(parent))
		return sl_dp_error(err, err_len, -EINVAL,
				   "%s is not on a bpf file system: mount -t bpf bpf %s", dir,
				   parent);
	return 0;
}

int sl_dp_dir_lock(const char *dir, bool create)
{
	/* Who detaches removes the folder: then what was locked is not what others will find. */
	for (int tries = 0; tries < 100; tries++) {
		_cleanup_(sl_closep) int fd = -1;
		struct stat locked, found;

		if (create && mkdir(dir, 0700) < 0 && errno != EEXIST)
			return -errno;
		fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0 && errno == ENOENT && create)
			continue;
		if (fd < 0)
			return -errno;
		if (flock(fd, LOCK_EX | LOCK_NB) < 0)
			return errno == EWOULDBLOCK ? -EBUSY : -errno;
		if (fstat(fd, &locked) < 0)
			return -errno;
		if (stat(dir, &found) == 0 && found.st_dev == locked.st_dev &&
		    found.st_ino == locked.st_ino)
			return sl_take_fd(&fd);
	}
	return -EBUSY;
}

int sl_dp_dir_remove(const char *dir)
{
	return rmdir(dir) < 0 && errno != ENOENT && errno != ENOTEMPTY ? -errno : 0;
}

static int remove_matching(const char *dir, const char *prefix)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int r = 0;

	if (!d)
		return errno == ENOENT ? 0 : -errno;
	while ((e = readdir(d))) {
		if (strncmp(e->d_name, prefix, strlen(prefix)) != 0)
			continue;
		if (unlinkat(dirfd(d), e->d_name, 0) < 0 && errno != ENOENT && !r)
			r = -errno;
	}
	(void)closedir(d); /* opened for reading */
	return r;
}

static int remove_pins(const char *dir)
{
	/* Links first: a program must not run on while its maps are being replaced. */
	int r = remove_matching(dir, SL_DP_LINK_PREFIX "sl_");

	return r ? r : remove_matching(dir, "sl_");
}

int sl_dp_pins_forget_before(const char *dir)
{
	_cleanup_(sl_freep) char *before = sl_dp_pin_path(dir, "", SL_DP_BEFORE_DIR);
	int r = before ? remove_pins(before) : -ENOMEM;

	return r ? r : sl_dp_dir_remove(before);
}

int sl_dp_pins_remove(const char *dir)
{
	int r = remove_pins(dir);

	return r ? r : sl_dp_pins_forget_before(dir);
}

static bool is_pin(const char *name)
{
	static const char link[] = SL_DP_LINK_PREFIX;

	if (!strncmp(name, link, sizeof(link) - 1))
		name += sizeof(link) - 1;
	return !strncmp(name, "sl_", 3);
}

static int move_pins(const char *from, const char *to)
{
	DIR *d = opendir(from);
	const struct dirent *e;
	int r = 0;

	if (!d)
		return -errno;
	while (!r && (e = readdir(d))) {
		_cleanup_(sl_freep) char *old = NULL;
		_cleanup_(sl_freep) char *new = NULL;

		if (!is_pin(e->d_name))
			continue;
		old = sl_dp_pin_path(from, "", e->d_name);
		new = sl_dp_pin_path(to, "", e->d_name);
		r = !old || !new ? -ENOMEM : rename(old, new) < 0 ? -errno : 0;
	}
	(void)closedir(d); /* opened for reading */
	return r;
}

int sl_dp_pins_set_aside(const char *dir)
{
	_cleanup_(sl_freep) char *before = sl_dp_pin_path(dir, "", SL_DP_BEFORE_DIR);
	int r = before ? sl_dp_pins_forget_before(dir) : -ENOMEM;

	if (r)
		return r;
	if (mkdir(before, 0700) < 0 && errno != EEXIST)
		return -errno;
	return move_pins(dir, before);
}

int sl_dp_pins_take_back(const char *dir)
{
	_cleanup_(sl_freep) char *before = sl_dp_pin_path(dir, "", SL_DP_BEFORE_DIR);
	int r = before ? remove_pins(dir) : -ENOMEM;

	if (!r)
		r = move_pins(before, dir);
	return r ? r : sl_dp_dir_remove(before);
}

bool sl_datapath_is_locked(const char *bpffs_dir)
{
	_cleanup_(sl_closep) int lock = sl_dp_dir_lock(bpffs_dir ? bpffs_dir : SL_PIN_DIR, false);

	return lock == -EBUSY;
}

int sl_datapath_pins_id(const char *bpffs_dir, uint64_t *ret_dev, uint64_t *ret_ino)
{
	struct stat st;

	if (stat(bpffs_dir ? bpffs_dir : SL_PIN_DIR, &st) < 0)
		return -errno;
	*ret_dev = st.st_dev;
	*ret_ino = st.st_ino;
	return 0;
}

int sl_datapath_remove(const char *bpffs_dir)
{
	const char *dir = bpffs_dir ? bpffs_dir : SL_PIN_DIR;
	_cleanup_(sl_closep) int lock = sl_dp_dir_lock(dir, false);
	int r;

	if (lock < 0)
		return lock == -ENOENT ? 0 : lock;
	r = sl_dp_pins_remove(dir);
	return r ? r : sl_dp_dir_remove(dir);
}

static int pin_get(const char *dir, const char *prefix, const char *name)
{
	_cleanup_(sl_freep) char *path = sl_dp_pin_path(dir, prefix, name);

	return path ? bpf_obj_get(path) : -ENOMEM;
}

static int conf_version(int fd, uint32_t *ret)
{
	struct bpf_map_info have = {0};
	uint32_t zero = 0, len = sizeof(have);
	struct sl_conf conf;
	int r = bpf_obj_get_info_by_fd(fd, &have, &len);

	if (r)
		return r;
	if (have.type != BPF_MAP_TYPE_ARRAY || have.value_size != sizeof(conf))
		return 0;
	r = bpf_map_lookup_elem(fd, &zero, &conf);
	if (!r)
		*ret = conf.abi_version;
	return r;
}

/* 0: nothing pinned under the name, 1: fits, -ESTALE: does not. */
static int map_check(const char *dir, const struct bpf_map *map, bool may_grow)
{
	_cleanup_(sl_closep) int fd = pin_get(dir, "", bpf_map__name(map));
	struct bpf_map_info have = {0};
	uint32_t len = sizeof(have);
	int r;

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	r = bpf_obj_get_info_by_fd(fd, &have, &len);
	if (r)
		return r;
	return have.type == bpf_map__type(map) && have.key_size == bpf_map__key_size(map) &&
			       (may_grow || have.value_size == bpf_map__value_size(map)) &&
			       have.map_flags == bpf_map__map_flags(map)
		       ? 1
		       : -ESTALE;
}

int sl_dp_pins_check(const char *dir, const struct sluice_bpf *skel, uint32_t *ret_version)
{
	_cleanup_(sl_closep) int conf = pin_get(dir, "", bpf_map__name(skel->maps.sl_conf));
	int r, n = 0;
	struct bpf_map *map;
	struct bpf_program *prog;

	*ret_version = 0;
	if (conf >= 0) {
		r = conf_version(conf, ret_version);
		if (r)
			return r;
		if (*ret_version != SL_ABI_VERSION)
			return -ESTALE;
	} else if (conf != -ENOENT) {
		return conf;
	}
	bpf_object__for_each_map(map, skel->obj)
	{
		if (bpf_map__is_internal(map))
			continue;
		/* Counters gain reasons: no cause to throw away services. The loader sees to it. */
		r = map_check(dir, map, map == skel->maps.sl_stat);
		if (r < 0)
			return r;
		n += r;
	}
	bpf_object__for_each_program(prog, skel->obj)
	{
		_cleanup_(sl_closep) int fd =
			pin_get(dir, SL_DP_LINK_PREFIX, bpf_program__name(prog));

		if (fd < 0 && fd != -ENOENT)
			return fd;
		n += fd >= 0;
	}
	/* Something without the map that tells its version: an interrupted removal, or not ours. */
	if (n && conf < 0)
		return -ESTALE;
	return n > 0;
}
