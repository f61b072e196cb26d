/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/* Counting by reason. Per CPU: a hook that is preempted here may lose one, which is fine. */
#include "maps.h"

static __always_inline void sl_count(__u64 reason)
{
	__u32 zero = 0;
	__u64 *counters = bpf_map_lookup_elem(&sl_stat, &zero); /* struct sl_stat, as asserted */

	/* The register that is compared must be the one that is added: the verifier looks at it. */
	asm volatile("" : "+r"(reason));
	if (counters && reason < SL_REASON_MAX)
		counters[reason] += 1;
}
