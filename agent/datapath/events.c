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

static const struct reason reasons[] = {
	[SL_REASON_STEERED] = {"steered", "taken to the agent"},
	[SL_REASON_OWN] = {"own", "the agent's own socket, left alone"},
	[SL_REASON_OPEN] = {"open", "left alone by the failure policy"},
	[SL_REASON_DIRECT] = {"direct", "balanced by the kernel, by the failure policy"},
	[SL_REASON_CLOSED] = {"closed", "refused by the failure policy"},
	[SL_REASON_NO_ENDPOINT] = {"no_endpoint", "refused: no ready endpoint to balance to"},
	[SL_REASON_NO_NETNS] = {"no_netns", "network namespace not prepared"},
	[SL_REASON_NO_FAMILY] = {"no_family", "no listener of the address family"},
	[SL_REASON_NO_LISTENER] = {"no_listener", "the agent's listener is gone"},
	[SL_REASON_FORGED] = {"forged", "somebody else listens on the agent's port"},
	[SL_REASON_STALE] = {"stale", "the agent's heartbeat is too old"},
	[SL_REASON_MPTCP] = {"mptcp", "Multipath TCP is not steered"},
	[SL_REASON_DEVICE] = {"device", "sockets bound to a device are not steered"},
	[SL_REASON_SOURCE] = {"source", "bound to an address of somebody else"},
	[SL_REASON_PORT_TAKEN] = {"port_taken", "bound to a port in use towards the listener"},
	[SL_REASON_NO_MEMORY] = {"no_memory", "no memory to remember the destination"},
	[SL_REASON_EVENT_LOST] = {"event_lost", "ring buffer full"},
	[SL_REASON_FLOW_LOST] = {"flow_lost", "destination not handed over in the kernel"},
	[SL_REASON_FLOW_STALE] = {"flow_stale", "left-over flow removed"},
};
_Static_assert(sizeof(reasons) / sizeof(*reasons) == SL_REASON_MAX, "a reason without a name");

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
	int n_cpus = libbpf_num_possible_cpus();
	_cleanup_(sl_freep) uint64_t *per_cpu = NULL;
	uint64_t sums[SL_REASON_MAX] = {0};

	if (n_cpus < 0)
		return n_cpus;
	per_cpu = sl_new_n(uint64_t, n_cpus);
	if (!per_cpu)
		return -ENOMEM;
	for (uint32_t i = 0; i < SL_REASON_MAX; i++) {
		int r = bpf_map_lookup_elem(dp->map[SL_DP_STAT], &i, per_cpu);

		if (r)
			return r;
		for (int cpu = 0; cpu < n_cpus; cpu++)
			sums[i] += per_cpu[cpu];
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
