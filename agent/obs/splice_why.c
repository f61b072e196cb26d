/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/splice_why.h"

const char *sl_splice_why_name(enum sl_splice_why why)
{
#define NAME(upper, name, text) [SL_SPLICE_##upper] = #name,
	static const char *const names[SL_SPLICE_WHY_MAX] = {[SL_SPLICE_NONE] = "",
							     SL_SPLICE_WHYS(NAME)};
#undef NAME

	return (unsigned)why < SL_SPLICE_WHY_MAX ? names[why] : "";
}
