/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Shared by the files of this folder; nobody else includes it. */
#include <errno.h>
#include "base/map.h"
#include "datapath/datapath.h"

struct ring_buffer;
struct sluice_bpf;

enum sl_dp_map {
	SL_DP_CONF,
	SL_DP_SVC,
	SL_DP_EP,
	SL_DP_NETNS,
	SL_DP_ADDR,
	SL_DP_ORIG,
	SL_DP_OWN,
	SL_DP_FLOW,
	SL_DP_STAT,
	SL_DP_EVENTS,
	SL_DP_SEEN,
	SL_DP_SPLIT,
	SL_DP_SPLIT_EP,
	SL_DP_MEMBER,
	SL_DP_UDP,
	SL_DP_MAPS,
};

#define SL_DP_LINKS 11

struct sl_datapath {
	struct sluice_bpf *skel; /* owns the maps' descriptors */
	char *dir;		 /* of the pins */
	int map[SL_DP_MAPS];	 /* borrowed from skel */
	int link[SL_DP_LINKS];
	int lock;			  /* the locked folder, see sl_dp_dir_lock() */
	uint32_t fresh_maps, fresh_links; /* bit per map, link: pinned by this open */
	bool took_over;
	bool beside;	      /* another agent had the pins when this was opened */
	bool other_abi;	      /* and its maps cannot be ours */
	bool attached;	      /* once */
	bool paused;	      /* the maps are not ours to write to */
	struct sl_conf *conf; /* mapped */
	int cgroup_fd;
	uint64_t cgroup_id, heartbeat_limit_ns;
	enum sl_failure_policy policy;
	enum sl_vip_provider provider;

	struct sl_map services; /* what sl_svc and sl_ep hold: struct sl_dp_service by its key */
	uint32_t next_id;
	struct sl_pmap applied; /* the last plan's services, if all of it was; else empty */
	uint32_t next_split_id;
	struct sl_pmap splits_applied; /* likewise its splits */
	struct sl_map versions;	       /* of splits, as split_flows.c knows them, by key */
	sl_datapath_flows_fn flows_fn;
	void *flows_arg;

	struct ring_buffer *ring;
	sl_datapath_event_fn event_fn; /* during sl_datapath_events_consume() */
	void *event_arg;
};

/* One line for the caller's err buffer; returns error unchanged. */
int sl_dp_error(char *err, size_t err_len, int error, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* pins.c: the bpffs folder. */
int sl_dp_bpffs_prepare(const char *dir, char *err, size_t err_len);
/* dir/prefix name; NULL without memory. The caller frees it. */
char *sl_dp_pin_path(const char *dir, const char *prefix, const char *name);
#define SL_DP_LINK_PREFIX "link_"
/* Where the pins of an agent of another version go when ours take their places. */
#define SL_DP_BEFORE_DIR "before"
/* Moves all pins there; what was there is removed. Returns 0 or -errno. */
int sl_dp_pins_set_aside(const char *dir);
/* Removes all pins, and has those set aside in their places again. Returns 0 or -errno. */
int sl_dp_pins_take_back(const char *dir);
/* Removes what was set aside. Returns 0 or -errno. */
int sl_dp_pins_forget_before(const char *dir);
/* May the maps pinned in dir be used by this agent? 1: yes, 0: nothing there, or -ESTALE: they are
 * another version's (*ret_version: which, 0 if unknown), or another -errno. */
int sl_dp_pins_check(const char *dir, const struct sluice_bpf *skel, uint32_t *ret_version);
/* Removes links, then maps, also those set aside, and nothing that is not named as ours. Returns 0
 * or -errno. */
int sl_dp_pins_remove(const char *dir);
/* One agent at a time: locks the folder for as long as the descriptor that it returns is open,
 * hence at most for the life of the process. create: makes the folder if need be. -EBUSY: another
 * has it; -ENOENT: it is not there. */
int sl_dp_dir_lock(const char *dir, bool create);
/* Unless something of somebody else is in it. Returns 0 or -errno. */
int sl_dp_dir_remove(const char *dir);

/* loader.c: names, as they are pinned. */
extern const char *const sl_dp_programs[SL_DP_LINKS];
extern const char *const sl_dp_map_names[SL_DP_MAPS];

/* attach.c: undo what this open pinned; what it took over stays. */
void sl_dp_unpin_fresh(struct sl_datapath *dp);

/* netns_map.c: forgets the connections that the listeners of a dead agent were to accept. Returns 0
 * or -errno. */
int sl_dp_flows_clear(struct sl_datapath *dp);

/* map_sync.c: fills dp->services from the maps and removes left-over endpoints. */
int sl_dp_services_load(struct sl_datapath *dp);
void sl_dp_services_free(struct sl_datapath *dp);

/* split_sync.c: the same for splits. apply and retract as in datapath.h. */
int sl_dp_splits_load(struct sl_datapath *dp);
int sl_dp_splits_apply(struct sl_datapath *dp, const struct sl_plan *plan);
int sl_dp_splits_retract(struct sl_datapath *dp, const struct sl_plan *plan);
void sl_dp_split_key(struct sl_split_key *key, const struct sl_split_at *at);

/* split_flows.c: a version is in the map (out of memory: its flows are not told); it was, and val
 * is the last that was seen of it. */
void sl_dp_flows_begin(struct sl_datapath *dp, const struct sl_plan_split *split, uint32_t id);
void sl_dp_flows_end(struct sl_datapath *dp, const struct sl_split_key *key,
		     const struct sl_split_val *val);
void sl_dp_flows_free(struct sl_datapath *dp);

/* A full hash map says -E2BIG; our callers know -ENOSPC. */
static inline int sl_dp_map_error(int r)
{
	return r == -E2BIG ? -ENOSPC : r;
}

/* events.c: called by libbpf for each record, arg is the datapath. */
int sl_dp_event(void *arg, void *record, size_t len);
