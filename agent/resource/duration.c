/* SPDX-License-Identifier: Apache-2.0 */
#include "resource/duration.h"

#include <errno.h>
#include <inttypes.h>
#include "base/clock.h"

enum { MAX_PARTS = 4, MAX_DIGITS = 5 };

static const struct {
	const char *name;
	uint64_t ns;
} units[] = {
	/* "ms" before "m", of which it is a longer spelling */
	{"ms", SL_NS_PER_MS},
	{"h", 3600 * SL_NS_PER_S},
	{"m", 60 * SL_NS_PER_S},
	{"s", SL_NS_PER_S},
};

/* One number with its unit from the front of *text; 0 bytes taken means that there is none. */
static size_t parse_part(struct sl_str text, uint64_t *ret_ns)
{
	uint64_t value = 0;
	size_t n = 0;

	while (n < text.len && n < MAX_DIGITS && text.ptr[n] >= '0' && text.ptr[n] <= '9')
		value = value * 10 + (uint64_t)(text.ptr[n++] - '0');
	if (n == 0)
		return 0;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		struct sl_str unit = sl_str_from(units[i].name);

		if (sl_str_starts(sl_str_skip(text, n), unit)) {
			*ret_ns = value * units[i].ns;
			return n + unit.len;
		}
	}
	return 0;
}

int sl_duration_parse(struct sl_str text, uint64_t *ret_ns)
{
	uint64_t sum = 0;

	if (text.len == 0)
		return -EINVAL;
	for (int parts = 0; text.len; parts++) {
		uint64_t ns;
		size_t n = parts < MAX_PARTS ? parse_part(text, &ns) : 0;

		if (n == 0)
			return -EINVAL;
		sum += ns; /* at most 4 * 99999 h, which is 1.44e18 ns */
		text = sl_str_skip(text, n);
	}
	*ret_ns = sum;
	return 0;
}

const char *sl_duration_format(uint64_t ns, char out[SL_DURATION_TEXT])
{
	uint64_t ms = ns / SL_NS_PER_MS;
	const struct {
		uint64_t value;
		const char *unit;
	} parts[] = {
		{ms / 3600000, "h"},
		{ms / 60000 % 60, "m"},
		{ms / 1000 % 60, "s"},
		{ms % 1000, "ms"},
	};
	size_t n = 0;

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (parts[i].value)
			n += (size_t)snprintf(out + n, SL_DURATION_TEXT - n, "%" PRIu64 "%s",
					      parts[i].value, parts[i].unit);
	}
	if (n == 0)
		(void)snprintf(out, SL_DURATION_TEXT, "0s"); /* fits */
	return out;
}
