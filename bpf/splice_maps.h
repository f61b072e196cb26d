/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/* Maps of splicing, beside sl_orig of the other programs. Sizes are defaults, as in maps.h. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "sluice/abi.h"

/* The sockets that bytes are redirected to and from, by cookie. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 2 * SL_MAX_HOPS);
	__type(key, __u64);
	__type(value, __u64);
} sl_sock SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, SL_MAX_HOPS);
	__type(key, __u32);
	__type(value, struct sl_hop);
} sl_hop SEC(".maps");

/* Where each slot's app has its struct sock: for a look at its lock. Not for user space. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SL_MAX_HOPS);
	__type(key, __u32);
	__type(value, __u64);
} sl_app SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct sl_peer);
} sl_peer SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SL_MAX_HOPS);
	__type(key, struct sl_want_key);
	__type(value, struct sl_want);
} sl_want SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, SL_MAX_UNFIT);
	__type(key, struct sl_unfit_key);
	__type(value, __u64);
} sl_unfit SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, SL_SPLICE_EV_BYTES);
} sl_splice_ev SEC(".maps");

/* The other programs' map: the loader puts theirs in its place. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct sl_orig);
} sl_orig SEC(".maps");
