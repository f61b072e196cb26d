/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"
#include "h1_check.h"

/* The first byte says how the rest is split. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct h1_split split;

	if (!size)
		return 0;
	split = (struct h1_split){data[0], data[0] % 16 + 1};
	fuzz_verdict(h1_check_request((const char *)data + 1, size - 1, split));
	return 0;
}
