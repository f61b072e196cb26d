/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Leaks under the address sanitizer. The test framework's processes end without the sanitizer's
 * check at exit, and a failure in a suite's .fini does not fail the test: so a test asks at its
 * end, when whatever it still has is reachable from a variable.
 */
#include <criterion/criterion.h>

__attribute__((weak)) int __lsan_do_recoverable_leak_check(void);

static inline void check_leaks(void)
{
	cr_assert(!__lsan_do_recoverable_leak_check || !__lsan_do_recoverable_leak_check(),
		  "memory is leaked, stderr says where it came from");
}
