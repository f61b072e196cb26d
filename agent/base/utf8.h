/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. */
#include "base/str.h"

#define SL_UTF8_REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

/* Length of the sequence that s begins with: 1 to 4, or 0 when it is invalid, cut off or s empty.
 */
size_t sl_utf8_len(struct sl_str s);
