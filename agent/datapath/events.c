/* SPDX-License-Identifier: Apache-2.0 */
/* What the programs tell: the ring buffer and the counters. */
#include "datapath/internal.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include "base/alloc.h"
#include "base/cleanup.h"

struct reason {
	const char *name, *help;
};

#define REASON(upper, name, text) [SL_REASON_##upper] = {#name, text},
static const struct reason reasons[] = {SL_REASONS(REASON)};
#undef REASON

const char *sl_reason_name(unsigned reason)
{
	return reason < SL_REASON_MAX ? reasons[reason].name : NULL;
}

const char *sl_reason_help(unsigned reason)
{
	return reason < SL_REASON_MAX ? reasons[reason].help : NULL;
}

int sl_datapath_stats(const struct sl_datapath *dp, uint64_t ret[SL_REASON_MAX])
{
	int n_cpus = libbpf_num_possible_cpus(), r;
	_cleanup_(sl_freep) struct sl_stat *per_cpu = NULL;
	uint64_t sums[SL_REASON_MAX] = {0};
	uint32_t zero = 0;

	if (n_cpus < 0)
		return n_cpus;
	per_cpu = sl_new_n(struct sl_stat, n_cpus);
	if (!per_cpu)
		return -ENOMEM;
	r = bpf_map_lookup_elem(dp->map[SL_DP_STAT], &zero, per_cpu);
	if (r)
		return r;
	for (int cpu = 0; cpu < n_cpus; cpu++) {
		const __u64 *counters = (const __u64 *)&per_cpu[cpu]; /* as abi.h asserts */

		for (unsigned i = 0; i < SL_REASON_MAX; i++)
			sums[i] += counters[i];
	}
	memcpy(ret, sums, sizeof(sums));
	return 0;
}

int sl_dp_event(void *arg, void *record, size_t len)
{
	struct sl_datapath *dp = arg;

	if (len >= sizeof(struct sl_event))
		dp->event_fn(dp->event_arg, record);
	return 0;
}

int sl_datapath_events_fd(const struct sl_datapath *dp)
{
	return ring_buffer__epoll_fd(dp->ring);
}

int sl_datapath_events_consume(struct sl_datapath *dp, sl_datapath_event_fn fn, void *arg)
{
	dp->event_fn = fn;
	dp->event_arg = arg;
	return ring_buffer__consume(dp->ring);
}
