/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What every fuzz target has: libFuzzer's entry point, and a way to say that a property is broken.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* fault: NULL, or what does not hold. A fuzzer keeps the input of an abort. */
static inline void fuzz_verdict(const char *fault)
{
	if (!fault)
		return;
	fprintf(stderr, "broken property: %s\n", fault);
	abort();
}
