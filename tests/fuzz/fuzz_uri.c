/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"
#include "h1_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_verdict(h1_check_uri((const char *)data, size));
	return 0;
}
