/* SPDX-License-Identifier: Apache-2.0 */
#include "client_hello_check.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_verdict(client_hello_check((const char *)data, size));
	return 0;
}
