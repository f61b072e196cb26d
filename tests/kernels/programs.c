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

/* Kernels give up at a million; today's largest needs a third of this. */
#define BUDGET 10000

static int print(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	return getenv("DP_DEBUG") ? vfprintf(stderr, fmt, ap) : 0;
}

/* Instructions that the verifier walked; 0: the kernel does not say (before 5.16); -1: refused. */
static int64_t verify(const char *name)
{
	struct sluice_bpf *skel = sluice_bpf__open();
	struct bpf_prog_info info = {0};
	uint32_t len = sizeof(info);
	struct bpf_program *prog;
	int64_t n = -1;

	if (!skel)
		return -1;
	bpf_object__for_each_program(prog, skel->obj)
		bpf_program__set_autoload(prog, !strcmp(bpf_program__name(prog), name));
	skel->rodata->sl_has_set_retval = libbpf_probe_bpf_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
								  BPF_FUNC_set_retval, NULL) == 1;
	prog = bpf_object__find_program_by_name(skel->obj, name);
	if (!sluice_bpf__load(skel) && !bpf_obj_get_info_by_fd(bpf_program__fd(prog), &info, &len))
		n = info.verified_insns;
	sluice_bpf__destroy(skel);
	return n;
}

static bool check_program(const char *name, int i)
{
	int64_t n = verify(name);
	bool good = n >= 0 && n <= BUDGET;

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
	struct sluice_bpf *skel = sluice_bpf__open();
	struct bpf_program *prog;
	int n = 0, n_failed = 0;

	libbpf_set_print(print);
	(void)setrlimit(RLIMIT_MEMLOCK, &unlimited); /* where it counts and cannot be: a refusal */
	if (!skel) {
		printf("Bail out! no object\n");
		return 99;
	}
	bpf_object__for_each_program(prog, skel->obj) n_failed +=
		!check_program(bpf_program__name(prog), ++n);
	sluice_bpf__destroy(skel);
	printf("1..%d\n", n);
	return n_failed != 0;
}
