/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/unix_listen.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct place {
	char root[40], folder[64], path[80];
};

static void make_place(struct place *p)
{
	(void)snprintf(p->root, sizeof(p->root), "/tmp/sluice-unix-XXXXXX");
	cr_assert_not_null(mkdtemp(p->root));
	(void)snprintf(p->folder, sizeof(p->folder), "%s/run", p->root);
	(void)snprintf(p->path, sizeof(p->path), "%s/admin.sock", p->folder);
}

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

Test(unix_listen, what_a_dead_process_left_goes_with_its_folder)
{
	struct place p;
	int fd;

	make_place(&p);
	cr_assert_eq(sl_unix_listen(p.path, 1, -1, &fd), 0);
	cr_expect_eq(sl_unix_forget(p.path), -EADDRINUSE);
	cr_expect(exists(p.path));
	(void)close(fd);
	cr_expect_eq(sl_unix_forget(p.path), 0);
	cr_expect_not(exists(p.folder));
	cr_expect_eq(sl_unix_forget(p.path), 0, "nothing is there any more");
	cr_expect_eq(rmdir(p.root), 0);
}

Test(unix_listen, what_is_not_ours_stays)
{
	char other[100];
	struct place p;
	int fd;

	make_place(&p);
	cr_assert_eq(sl_unix_listen(p.path, 1, -1, &fd), 0);
	(void)close(fd);
	(void)snprintf(other, sizeof(other), "%s/other", p.folder);
	fd = open(other, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	cr_assert_geq(fd, 0);
	(void)close(fd);
	cr_expect_eq(sl_unix_forget(p.path), 0);
	cr_expect_not(exists(p.path));
	cr_expect(exists(other), "a folder that somebody uses stays");
	cr_expect_eq(sl_unix_forget(other), -EEXIST, "what is no socket stays");
	cr_expect(exists(other));
	(void)unlink(other);
	(void)rmdir(p.folder);
	(void)rmdir(p.root);
}

Test(unix_listen, a_path_that_is_too_long_is_refused)
{
	char path[300];

	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	cr_expect_eq(sl_unix_forget(path), -ENAMETOOLONG);
}
