/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"
#include "h1_check.h"

/* The first byte says which method is answered, the second how the rest is split. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct h1_split split;

	if (size < 2)
		return 0;
	split = (struct h1_split){data[1], data[1] % 16 + 1};
	fuzz_verdict(h1_check_response((const char *)data + 2, size - 2,
				       (enum sl_method)(data[0] % (SL_METHOD_PATCH + 1)), split));
	return 0;
}
