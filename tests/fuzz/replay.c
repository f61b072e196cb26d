/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzz target once over each file of its corpus: in builds without libFuzzer, as a test. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "fuzz.h"

static int replay(const char *path)
{
	_cleanup_(sl_freep) uint8_t *data = NULL;
	_cleanup_(sl_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return -errno;
	data = sl_malloc(st.st_size ? (size_t)st.st_size : 1);
	if (!data || read(fd, data, (size_t)st.st_size) != st.st_size)
		return -EIO;
	(void)LLVMFuzzerTestOneInput(data, (size_t)st.st_size); /* aborts when it finds something */
	return 0;
}

static int replay_folder(const char *folder, unsigned *n)
{
	DIR *dir = opendir(folder);
	struct dirent *e;
	int r = 0;

	if (!dir)
		return -errno;
	while (!r && (e = readdir(dir))) {
		char path[PATH_MAX];

		if (e->d_name[0] == '.')
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s", folder, e->d_name); /* open tells */
		fprintf(stderr, "%s\n", path);
		r = replay(path);
		*n += !r;
	}
	closedir(dir);
	return r;
}

int main(int argc, char **argv)
{
	unsigned n = 0;
	int r = argc == 2 ? replay_folder(argv[1], &n) : -EINVAL;

	if (r || !n) {
		fprintf(stderr, "%s: %s\n", argc == 2 ? argv[1] : "one folder expected",
			r ? strerror(-r) : "nothing there");
		return 1;
	}
	printf("%u inputs replayed\n", n);
	return 0;
}
