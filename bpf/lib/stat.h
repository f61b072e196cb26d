/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/* Counting by reason. Per CPU: a hook that is preempted here may lose one, which is fine. */
#include "maps.h"

static __always_inline void sl_count(__u32 reason)
{
	__u64 *n = bpf_map_lookup_elem(&sl_stat, &reason);

	if (n)
		*n += 1;
}
