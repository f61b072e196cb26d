/* SPDX-License-Identifier: Apache-2.0 */
#include "netns/mount.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include "base/cleanup.h"
#include "base/str.h"

static bool is_octal(char c)
{
	return c >= '0' && c <= '7';
}

/* Undo the kernel's "\040" for a space and the like, in place. */
static void unescape(char *s)
{
	char *to = s;

	while (*s) {
		if (s[0] == '\\' && is_octal(s[1]) && is_octal(s[2]) && is_octal(s[3])) {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = '\0';
}

/* The mount point, fifth field of a line whose type, behind " - ", is cgroup2
 * (proc_pid_mountinfo(5)); NULL else. Cuts the line. */
static char *cgroup2_mount_point(char *line)
{
	const char *rest = strstr(line, " - ");
	char *field = NULL;

	if (!rest || strncmp(rest + 3, "cgroup2 ", 8) != 0)
		return NULL;
	for (int i = 0; i < 5; i++) {
		field = strsep(&line, " ");
		if (!line)
			return NULL;
	}
	return field;
}

static void close_file(FILE **f)
{
	if (*f)
		(void)fclose(*f); /* only read from */
}

int sl_cgroup_mount(char ret_path[PATH_MAX])
{
	_cleanup_(close_file) FILE *f = fopen("/proc/thread-self/mountinfo", "re");
	_cleanup_(sl_freep) char *line = NULL;
	size_t cap = 0;

	if (!f)
		return -errno;
	while (getline(&line, &cap, f) >= 0) {
		char *path = cgroup2_mount_point(line);

		if (!path)
			continue;
		unescape(path);
		if (strlen(path) >= PATH_MAX)
			return -ENAMETOOLONG;
		memcpy(ret_path, path, strlen(path) + 1);
		return 0;
	}
	return ferror(f) ? -EIO : -ENOENT;
}
