/* SPDX-License-Identifier: Apache-2.0 */
#include "facts_load.h"
#include "facts.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "facts.skel.h"

struct facts_shared *seen;
int socks_fd = -1, foreign_fd = -1, bare_fd = -1, ends_fd = -1;

static struct facts_bpf *base;

static int print(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	return getenv("FACTS_DEBUG") ? vfprintf(stderr, fmt, ap) : 0;
}

/* A copy of the object with one program, on the maps of the first. NULL: refused. */
static struct facts_bpf *load_one(const char *name)
{
	struct facts_bpf *skel = facts_bpf__open();
	struct bpf_program *prog;
	struct bpf_map *map;

	if (!skel)
		return NULL;
	bpf_object__for_each_program(prog, skel->obj)
		bpf_program__set_autoload(prog, !strcmp(bpf_program__name(prog), name));
	if (base)
		bpf_object__for_each_map(map, skel->obj)
		{
			struct bpf_map *old =
				bpf_object__find_map_by_name(base->obj, bpf_map__name(map));

			if (old && !bpf_map__is_internal(map))
				(void)bpf_map__reuse_fd(map, bpf_map__fd(old)); /* load says */
		}
	if (!facts_bpf__load(skel))
		return skel;
	facts_bpf__destroy(skel);
	return NULL;
}

int facts_load(void)
{
	libbpf_set_print(print);
	base = load_one("on_msg");
	if (!base)
		return -errno;
	socks_fd = bpf_map__fd(base->maps.socks);
	foreign_fd = bpf_map__fd(base->maps.foreign);
	bare_fd = bpf_map__fd(base->maps.bare);
	ends_fd = bpf_map__fd(base->maps.ends);
	if (bpf_prog_attach(bpf_program__fd(base->progs.on_msg), socks_fd, BPF_SK_MSG_VERDICT, 0))
		return -errno;
	seen = mmap(NULL, sizeof(*seen), PROT_READ | PROT_WRITE, MAP_SHARED,
		    bpf_map__fd(base->maps.shared), 0);
	return seen == MAP_FAILED ? -errno : 0;
}

/* Of iterators, which run often: loaded by the first that asks. */
static struct facts_bpf *load_iter(const char *name)
{
	static struct {
		const char *name;
		struct facts_bpf *skel;
	} have[8];
	size_t i = 0;

	while (have[i].name && strcmp(have[i].name, name))
		i++;
	if (!have[i].skel)
		have[i].skel = load_one(name);
	have[i].name = name;
	return have[i].skel;
}

/* Reads the whole of iterator @name in the network namespace at hand. */
static bool run(const char *name, uint64_t key)
{
	struct facts_bpf *skel = load_iter(name);
	struct bpf_link *link;
	char buf[64];
	int fd;

	if (!skel)
		return false;
	seen->target = key;
	seen->from_iter_found = 0;
	seen->from_iter_error = 0;
	link = bpf_program__attach_iter(bpf_object__find_program_by_name(skel->obj, name), NULL);
	expect(link != NULL, "iterator %s is not attached: %s", name, strerror(errno));
	fd = bpf_iter_create(bpf_link__fd(link));
	expect(fd >= 0, "no iterator %s: %s", name, strerror(errno));
	while (read(fd, buf, sizeof(buf)) > 0)
		;
	close(fd);
	bpf_link__destroy(link);
	return true;
}

bool iter_run(enum facts_op op, uint64_t key)
{
	static const char *const names[] = {[FACTS_LOOK] = "iter_look",
					    [FACTS_INSERT] = "iter_insert",
					    [FACTS_DELETE] = "iter_delete"};

	return run(names[op], key);
}

bool iter_storage(uint64_t key)
{
	return run("iter_storage", key);
}

static bool attach_foreign(const char *name)
{
	struct facts_bpf *skel = load_one(name);
	struct bpf_program *prog;

	if (!skel)
		return false;
	prog = bpf_object__find_program_by_name(skel->obj, name);
	return !bpf_prog_attach(bpf_program__fd(prog), foreign_fd, BPF_SK_MSG_VERDICT, 0);
}

bool foreign_attach(void)
{
	return attach_foreign("on_msg_foreign");
}

bool msg_netns(void)
{
	return attach_foreign("on_msg_netns");
}

int trace_attach(bool fentry)
{
	const char *name = fentry ? "splice_fentry" : "splice_kprobe";
	struct facts_bpf *skel = load_one(name);
	struct bpf_link *link;

	if (!skel)
		return -errno;
	link = bpf_program__attach(bpf_object__find_program_by_name(skel->obj, name));
	return link ? 0 : -errno; /* stays until the process ends */
}
