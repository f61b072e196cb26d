/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Shared by the files of this folder that splicing is made of; nobody else includes it. */
#include "datapath/hops.h"
#include "datapath/internal.h"

struct bpf_link;
struct ring_buffer;
struct splice_bpf;

/* Slots of one worker. Free ones wait in order of their age: what was freed last is given out last,
 * and not before SL_HOPS_REST_NS, when no program that saw the hop before can still be running. */
struct sl_hops_share {
	uint32_t *free; /* ring of n_slots */
	uint64_t *freed_ns;
	uint32_t first, n_free, first_slot, n_slots;
	char apart[64]; /* from what the next worker writes */
};

struct sl_hops {
	struct splice_bpf *skel;     /* owns the maps' descriptors */
	int sock, peer, want, unfit; /* maps, borrowed from skel */
	int sink[2];		     /* the first is in the map, shut down for writing */
	int msg_link;		     /* -1: attached in the old way */
	int iter_link;
	struct bpf_link *detector_link;
	enum sl_detector detector;
	struct sl_hop *table; /* mapped */
	uint32_t n_slots, n_shares, budget;
	struct sl_hops_share *shares;
	uint64_t rest_ns;  /* SL_HOPS_REST_NS; 0 during the self-test */
	uint32_t last_gen; /* atomic */
	struct ring_buffer *ring;
	sl_hops_event_fn event_fn; /* during sl_hops_events_consume() */
	void *event_arg;
};

#define SL_HOPS_REST_NS 10000000000ULL

/* hops_lease.c */
int sl_hops_shares_new(struct sl_hops *h, uint32_t n_workers);
void sl_hops_shares_free(struct sl_hops *h);
/* All slots are free, and may be given out at once. */
void sl_hops_rested(struct sl_hops *h);

/* selftest.c */
/* Two ends of a connection over 127.0.0.1. Returns 0 or -errno. */
int sl_hops_pair(int *ret_active, int *ret_passive);
/* Tries on sockets of 127.0.0.1 in the network namespace at hand what splicing relies on. Returns
 * 0, -ENOTSUP (report says what does not hold) or another -errno (it could not be tried). */
int sl_hops_selftest(struct sl_hops *h, struct sl_hops_report *report);
