/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Where the cgroup2 file system is mounted. Private to netns/. Thread: any. */
#include <limits.h>

/* The first cgroup2 mount of /proc/self/mountinfo. Returns 0, -ENOENT when there is none, -errno.
 */
int sl_cgroup_mount(char ret_path[PATH_MAX]);
