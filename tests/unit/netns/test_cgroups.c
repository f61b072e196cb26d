/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../../lib/leak.h"
#include "base/alloc.h"
#include "scratch.h"

static char root[128]; /* a cgroup of our own */
static struct sl_cgroups *cgroups;

static void set_up(void)
{
	FILE *f = popen("awk '$3==\"cgroup2\"{print $2;exit}' /proc/mounts", "r");
	char mount[64] = "";

	cr_assert_not_null(fgets(mount, sizeof(mount), f));
	(void)pclose(f);
	mount[strcspn(mount, "\n")] = '\0';
	(void)snprintf(root, sizeof(root), "%s/sluice-test-%d", mount, getpid());
	cr_assert_eq(mkdir(root, 0755), 0);
	cr_assert_eq(sl_cgroups_open(&cgroups), 0);
}

static int remove_dir(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	return type == FTW_DP ? rmdir(path) : 0;
}

static void tear_down(void)
{
	cgroups = sl_cgroups_close(cgroups);
	cr_assert_eq(nftw(root, remove_dir, 8, FTW_DEPTH | FTW_PHYS), 0);
}

TestSuite(netns_cgroups, .init = set_up, .fini = tear_down);

/* Below root; returns its id. */
static uint64_t make(const char *path)
{
	char full[512];
	struct stat st;

	scratch_run("mkdir -p '%s/%s'", root, path);
	(void)snprintf(full, sizeof(full), "%s/%s", root, path);
	cr_assert_eq(stat(full, &st), 0);
	return st.st_ino;
}

#define UID   "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"
#define UID_  "0a1b2c3d_4e5f_6071_8293_a4b5c6d7e8f9"
#define PLAIN "0123456789abcdef0123456789abcdef"

static const struct {
	const char *path, *uid; /* NULL: no Pod's */
} cases[] = {
	{"kubepods/burstable/pod" UID, UID},
	{"kubepods/burstable/pod" UID "/1234", UID},
	{"kubepods/pod" UID "/1234/inner/most", UID},
	{"kubepods/besteffort/pod" PLAIN "/1234", PLAIN},
	{"kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" UID_ ".slice", UID},
	{"kubepods.slice/kubepods-pod" UID_ ".slice/cri-containerd-12.scope", UID},
	{"kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" UID_ ".slice/x", UID},
	{"kubepods.slice/kubepods-pod" PLAIN ".slice/crio-12.scope/container", PLAIN},
	{"kubepods.slice/kubepods-burstable.slice", NULL},
	{"kubepods/podless/x", NULL},
	{"kubepods/pod", NULL},
	{"kubepods/pod" PLAIN PLAIN, NULL},
	{"kubepods/podzzzzzzzz-4e5f-6071-8293-a4b5c6d7e8f9", NULL},
	{"system.slice/podman-" UID_ ".scope", NULL},
	{"system.slice/docker.service", NULL},
};

Test(netns_cgroups, the_uid_of_a_pod_is_in_the_path)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char uid[64] = "untouched";
		int r = sl_cgroups_pod_uid(cgroups, make(cases[i].path), uid);

		cr_assert_eq(r, cases[i].uid ? 0 : -ENOENT, "%s: %d", cases[i].path, r);
		cr_assert_str_eq(uid, cases[i].uid ? cases[i].uid : "untouched", "%s",
				 cases[i].path);
	}
}

Test(netns_cgroups, a_path_is_told_from_the_mount)
{
	uint64_t id = make("a/b c");
	char path[256], wanted[256];
	struct stat st;

	(void)snprintf(wanted, sizeof(wanted), "%s/a/b c", strrchr(root, '/'));
	cr_assert_eq(sl_cgroups_path(cgroups, id, path, sizeof(path)), 0);
	cr_assert_str_eq(path, wanted);
	cr_assert_eq(sl_cgroups_path(cgroups, id, path, strlen(wanted)), -ENAMETOOLONG);
	cr_assert_eq(sl_cgroups_path(cgroups, id, path, strlen(wanted) + 1), 0);
	*strrchr(root, '/') = '\0';
	cr_assert_eq(stat(root, &st), 0);
	root[strlen(root)] = '/';
	cr_assert_eq(sl_cgroups_path(cgroups, st.st_ino, path, sizeof(path)), 0);
	cr_assert_str_eq(path, "/");
}

Test(netns_cgroups, what_is_gone_is_not_found)
{
	uint64_t id = make("kubepods/pod" UID);
	char uid[64];

	cr_assert_eq(sl_cgroups_pod_uid(cgroups, id, uid), 0);
	scratch_run("rmdir %s/kubepods/pod" UID, root);
	cr_assert_eq(sl_cgroups_pod_uid(cgroups, id, uid), -ENOENT);
	cr_assert_eq(sl_cgroups_pod_uid(cgroups, UINT64_MAX, uid), -ENOENT);
	cr_assert_eq(sl_cgroups_pod_uid(cgroups, 0, uid), -ENOENT);
}

Test(netns_cgroups, a_removed_cgroup_that_is_still_open_is_not_found)
{
	uint64_t id = make("kubepods/pod" UID);
	char path[256], uid[64];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/kubepods/pod" UID "/cgroup.procs", root);
	f = fopen(path, "re");
	cr_assert_not_null(f);
	scratch_run("rmdir %s/kubepods/pod" UID, root);
	cr_assert_eq(sl_cgroups_pod_uid(cgroups, id, uid), -ENOENT);
	(void)fclose(f);
}

Test(netns_cgroups, opening_without_memory_is_an_error)
{
	struct sl_cgroups *c = NULL;

	(void)sl_alloc_fail_after(0);
	cr_assert_eq(sl_cgroups_open(&c), -ENOMEM);
	(void)sl_alloc_fail_after(-1);
	cr_assert_null(c);
	cr_assert_null(sl_cgroups_close(NULL));
	check_leaks();
}
