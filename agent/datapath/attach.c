/* SPDX-License-Identifier: Apache-2.0 */
/* Which programs the hooks run, and which maps and links are pinned: ours, another agent's before
 * us, of the same version or not. */
#include "datapath/internal.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "sluice.skel.h"

/* Kernel objects are the same when their ids are. 0: there is none. */
static uint32_t map_id(int fd)
{
	struct bpf_map_info have = {0};
	uint32_t len = sizeof(have);

	return fd < 0 || bpf_obj_get_info_by_fd(fd, &have, &len) ? 0 : have.id;
}

static uint32_t link_id(int fd)
{
	struct bpf_link_info have = {0};
	uint32_t len = sizeof(have);

	return fd < 0 || bpf_obj_get_info_by_fd(fd, &have, &len) ? 0 : have.id;
}

/* Have path be a pin of fd. *fresh: it was not. */
static int pin(const char *path, int fd, uint32_t (*id_of)(int fd), bool *fresh)
{
	_cleanup_(sl_closep) int there = bpf_obj_get(path);
	int r;

	*fresh = false;
	if (there >= 0 && id_of(there) == id_of(fd))
		return 0;
	if (there >= 0 && unlink(path) < 0)
		return -errno;
	r = bpf_obj_pin(fd, path);
	*fresh = !r;
	return r;
}

static int pin_maps(struct sl_datapath *dp)
{
	for (int i = 0; i < SL_DP_MAPS; i++) {
		_cleanup_(sl_freep) char *path = sl_dp_pin_path(dp->dir, "", sl_dp_map_names[i]);
		bool fresh = false;
		int r = path ? pin(path, dp->map[i], map_id, &fresh) : -ENOMEM;

		if (r)
			return r;
		if (fresh)
			dp->fresh_maps |= 1U << i;
	}
	return 0;
}

/* The pinned link of a program if it still holds on to this cgroup, or -ENOENT. */
static int link_get(const char *path, uint64_t cgroup_id)
{
	_cleanup_(sl_closep) int fd = bpf_obj_get(path);
	struct bpf_link_info have = {0};
	uint32_t len = sizeof(have);
	int r;

	if (fd < 0)
		return fd;
	r = bpf_obj_get_info_by_fd(fd, &have, &len);
	if (r)
		return r;
	if (have.type == BPF_LINK_TYPE_CGROUP && have.cgroup.cgroup_id == cgroup_id)
		return sl_take_fd(&fd);
	/* Attached elsewhere, or its cgroup was removed. */
	return unlink(path) < 0 ? -errno : -ENOENT;
}

/* Two of them must not both decide about a socket: ours takes the place of the other version's. The
 * other programs act on sockets that they know alone. */
static bool steers(int i)
{
	return !strncmp(sl_dp_programs[i], "sl_connect", strlen("sl_connect")) ||
	       !strncmp(sl_dp_programs[i], "sl_sendmsg", strlen("sl_sendmsg"));
}

/* The link that an agent of another version left for this program, for ours to go on with. */
static int link_get_before(struct sl_datapath *dp, int i)
{
	_cleanup_(sl_freep) char *path =
		sl_dp_pin_path(dp->dir, SL_DP_BEFORE_DIR "/" SL_DP_LINK_PREFIX, sl_dp_programs[i]);
	int fd;

	if (!path)
		return -ENOMEM;
	fd = link_get(path, dp->cgroup_id);
	if (fd >= 0)
		(void)unlink(path); /* pinned again below its own name */
	return fd;
}

static int attach_program(struct sl_datapath *dp, int i)
{
	struct bpf_program *prog =
		bpf_object__find_program_by_name(dp->skel->obj, sl_dp_programs[i]);
	_cleanup_(sl_freep) char *path =
		sl_dp_pin_path(dp->dir, SL_DP_LINK_PREFIX, sl_dp_programs[i]);
	bool fresh;
	int r = 0;

	if (!path)
		return -ENOMEM;
	if (dp->link[i] < 0)
		dp->link[i] = link_get(path, dp->cgroup_id);
	if (dp->link[i] == -ENOENT && dp->other_abi && steers(i))
		dp->link[i] = link_get_before(dp, i);
	if (dp->link[i] >= 0)
		r = bpf_link_update(dp->link[i], bpf_program__fd(prog), NULL);
	else if (dp->link[i] == -ENOENT)
		dp->link[i] = bpf_link_create(bpf_program__fd(prog), dp->cgroup_fd,
					      bpf_program__expected_attach_type(prog), NULL);
	if (r || dp->link[i] < 0)
		return r ? r : dp->link[i];
	r = pin(path, dp->link[i], link_id, &fresh);
	if (!r && fresh)
		dp->fresh_links |= 1U << i;
	return r;
}

/* An agent of another version has begun to put its own in their place. */
static bool ours_are_set_aside(const struct sl_datapath *dp)
{
	bool found = false;

	for (int i = 0; i < SL_DP_MAPS && !found; i++) {
		_cleanup_(sl_freep) char *path =
			sl_dp_pin_path(dp->dir, SL_DP_BEFORE_DIR "/", sl_dp_map_names[i]);
		_cleanup_(sl_closep) int fd = path ? bpf_obj_get(path) : -1;

		found = fd >= 0 && map_id(fd) == map_id(dp->map[i]);
	}
	return found;
}

/* What of another version is in the way. */
static int clear_pins(struct sl_datapath *dp)
{
	int r;

	/* Ours again, after another agent's attempt to take over. */
	if (dp->attached)
		return ours_are_set_aside(dp) ? sl_dp_pins_take_back(dp->dir) : 0;
	if (!dp->other_abi)
		return dp->beside ? 0 : sl_dp_pins_forget_before(dp->dir);
	r = sl_dp_pins_check(dp->dir, dp->skel, &(uint32_t){0});
	return r == -ESTALE ? sl_dp_pins_set_aside(dp->dir) : r < 0 ? r : 0;
}

int sl_datapath_attach(struct sl_datapath *dp, char *err, size_t err_len)
{
	int r = clear_pins(dp);

	if (!r)
		r = pin_maps(dp);
	if (r)
		return sl_dp_error(err, err_len, r, "cannot pin maps in %s: %s", dp->dir,
				   sl_strerror(r));
	for (int i = 0; i < SL_DP_LINKS; i++) {
		r = attach_program(dp, i);
		if (r)
			return sl_dp_error(err, err_len, r, "cannot attach %s to the cgroup: %s%s",
					   sl_dp_programs[i], sl_strerror(r),
					   r == -EPERM ? " (another program there forbids it, or "
							 "CAP_NET_ADMIN is missing)"
						       : "");
	}
	dp->attached = true;
	return 0;
}

void sl_dp_unpin_fresh(struct sl_datapath *dp)
{
	for (int i = 0; i < SL_DP_LINKS + SL_DP_MAPS; i++) {
		bool is_link = i < SL_DP_LINKS;
		int k = is_link ? i : i - SL_DP_LINKS;
		_cleanup_(sl_freep) char *path = NULL;

		if (!((is_link ? dp->fresh_links : dp->fresh_maps) & 1U << k))
			continue;
		path = sl_dp_pin_path(dp->dir, is_link ? SL_DP_LINK_PREFIX : "",
				      is_link ? sl_dp_programs[k] : sl_dp_map_names[k]);
		if (path)
			(void)unlink(path); /* the error that brought us here is the one to tell */
	}
	if (!dp->took_over)
		(void)sl_dp_dir_remove(dp->dir);
}
