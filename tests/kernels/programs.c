/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each of Sluice's programs through the verifier, one by one, and how many instructions that walks:
 * a program that has grown near a kernel's limit is to fail here, long before it does in the field.
 * TAP. Needs root.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include "sluice.skel.h"
#include "splice.skel.h"

/* Kernels give up at a million; today's largest needs a little more than half of this. */
#define BUDGET 20000

static int print(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	return getenv("DP_DEBUG") ? vfprintf(stderr, fmt, ap) : 0;
}

/* Each object of bpf/ as its loader opens it. @skel is what destroy() takes. */
static struct bpf_object *open_sluice(void **ret_skel)
{
	struct sluice_bpf *skel = sluice_bpf__open();

	*ret_skel = skel;
	if (!skel)
		return NULL;
	skel->rodata->sl_has_set_retval = libbpf_probe_bpf_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
								  BPF_FUNC_set_retval, NULL) == 1;
	return skel->obj;
}

static void destroy_sluice(void *skel)
{
	sluice_bpf__destroy(skel);
}

static struct bpf_object *open_splice(void **ret_skel)
{
	struct splice_bpf *skel = splice_bpf__open();

	*ret_skel = skel;
	if (!skel)
		return NULL;
	/* One of them is enough to see splice(2): the loader asks the kernel which. */
	(void)bpf_program__set_autoload(skel->progs.sl_spl_fentry, false);
	(void)bpf_program__set_autoload(skel->progs.sl_spl_kprobe, false);
	(void)bpf_program__set_autoload(skel->progs.sl_spl_trace, false);
	return skel->obj;
}

static void destroy_splice(void *skel)
{
	splice_bpf__destroy(skel);
}

static const struct object {
	struct bpf_object *(*open)(void **ret_skel);
	void (*destroy)(void *skel);
} objects[] = {
	{open_sluice, destroy_sluice},
	{open_splice, destroy_splice},
};

/* Instructions that the verifier walked; 0: the kernel does not say (before 5.16); -1: refused. */
static int64_t verify(const struct object *o, const char *name)
{
	struct bpf_prog_info info = {0};
	uint32_t len = sizeof(info);
	struct bpf_program *prog;
	int64_t n = -1;
	void *skel;
	struct bpf_object *obj = o->open(&skel);

	if (!obj)
		return -1;
	bpf_object__for_each_program(prog, obj)
		bpf_program__set_autoload(prog, !strcmp(bpf_program__name(prog), name));
	prog = bpf_object__find_program_by_name(obj, name);
	if (!bpf_object__load(obj) && !bpf_obj_get_info_by_fd(bpf_program__fd(prog), &info, &len))
		n = info.verified_insns;
	o->destroy(skel);
	return n;
}

/* 1: good, 0: not, -1: refused, which is allowed where the object does not load
 * it by itself. */
static int check_program(const struct object *o, const struct bpf_program *prog, int i)
{
	const char *name = bpf_program__name(prog);
	int64_t n = verify(o, name);
	bool good = n >= 0 && n <= BUDGET;

	if (n < 0 && !bpf_program__autoload(prog)) {
		printf("# not asked: %s: refused\n", name);
		return -1;
	}
	printf("%sok %d - %s", good ? "" : "not ", i, name);
	if (n > 0)
		printf(": %lld instructions of %d", (long long)n, BUDGET);
	else
		printf(": %s", n ? "refused" : "loads");
	printf("\n");
	return good;
}

int main(void)
{
	struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
	int n = 0, n_failed = 0;

	libbpf_set_print(print);
	(void)setrlimit(RLIMIT_MEMLOCK, &unlimited); /* where it counts and cannot be: a refusal */
	for (size_t i = 0; i < sizeof(objects) / sizeof(*objects); i++) {
		struct bpf_program *prog;
		void *skel;
		struct bpf_object *obj = objects[i].open(&skel);

		if (!obj) {
			printf("Bail out! no object\n");
			return 99;
		}
		bpf_object__for_each_program(prog, obj)
		{
			int r = check_program(&objects[i], prog, n + 1);

			n += r >= 0;
			n_failed += !r;
		}
		objects[i].destroy(skel);
	}
	printf("1..%d\n", n);
	return n_failed != 0;
}
