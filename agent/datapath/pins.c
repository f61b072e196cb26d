/* SPDX-License-Identifier: Apache-2.0 */
#include "datapath/internal.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <linux/magic.h>
#include <stdarg.h>
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
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return sl_dp_error(err, err_len, -errno, "cannot make %s: %s", dir,
				   sl_strerror(-errno));
	return 0;
}

static int remove_matching(const char *dir, const char *prefix)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int r = 0;

	if (!d)
		return errno == ENOENT ? 0 : -errno;
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.' || strncmp(e->d_name, prefix, strlen(prefix)) != 0)
			continue;
		if (unlinkat(dirfd(d), e->d_name, 0) < 0 && errno != ENOENT && !r)
			r = -errno;
	}
	(void)closedir(d); /* opened for reading */
	return r;
}

int sl_dp_pins_remove(const char *dir)
{
	/* Links first: a program must not run on while its maps are being replaced. */
	int r = remove_matching(dir, SL_DP_LINK_PREFIX);

	if (!r)
		r = remove_matching(dir, "");
	if (!r && rmdir(dir) < 0 && errno != ENOENT)
		r = -errno;
	return r;
}

int sl_datapath_remove(const char *bpffs_dir)
{
	return sl_dp_pins_remove(bpffs_dir ? bpffs_dir : SL_PIN_DIR);
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
static int map_check(const char *dir, struct bpf_map *map)
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
			       have.value_size == bpf_map__value_size(map) &&
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
		r = map_check(dir, map);
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
