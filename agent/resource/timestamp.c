/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include "resource/kinds.h"

/* n decimal digits at *pos, and then the character that ends them (0: none). */
static int take_digits(struct sl_str s, size_t *pos, size_t n, char end, int64_t *ret)
{
	uint64_t v;

	if (s.len - *pos < n + (end != 0) ||
	    sl_str_to_u64((struct sl_str){s.ptr + *pos, n}, UINT32_MAX, &v))
		return -EINVAL;
	*pos += n;
	if (end && s.ptr[(*pos)++] != end)
		return -EINVAL;
	*ret = (int64_t)v;
	return 0;
}

static bool is_leap(int64_t y)
{
	return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
}

static int64_t days_in_month(int64_t y, int64_t m)
{
	static const int8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	return days[m - 1] + (m == 2 && is_leap(y));
}

/* Since 1970-01-01, proleptic Gregorian, years 0 to 9999. */
static int64_t days_since_epoch(int64_t y, int64_t m, int64_t d)
{
	int64_t before = y - 1; /* leap days of all the years before this one */
	int64_t days = 365 * y + (y ? before / 4 - before / 100 + before / 400 + 1 : 0);

	for (int64_t i = 1; i < m; i++)
		days += days_in_month(y, i);
	return days + d - 1 - 719528;
}

/* "Z" or "+hh:mm" up to the end, in seconds east. */
static int take_offset(struct sl_str s, size_t pos, int64_t *ret)
{
	int64_t h, m;
	char sign;

	if (pos >= s.len)
		return -EINVAL;
	sign = s.ptr[pos++];
	if (sign == 'Z' || sign == 'z') {
		*ret = 0;
		return pos == s.len ? 0 : -EINVAL;
	}
	if ((sign != '+' && sign != '-') || take_digits(s, &pos, 2, ':', &h) ||
	    take_digits(s, &pos, 2, 0, &m) || pos != s.len || h > 23 || m > 59)
		return -EINVAL;
	*ret = (sign == '-' ? -1 : 1) * (h * 3600 + m * 60);
	return 0;
}

int sl_timestamp_parse(struct sl_str s, int64_t *ret)
{
	int64_t year, month, day, hour, minute, second, offset;
	size_t pos = 0;

	if (take_digits(s, &pos, 4, '-', &year) || take_digits(s, &pos, 2, '-', &month) ||
	    take_digits(s, &pos, 2, 0, &day) || pos == s.len ||
	    (s.ptr[pos] != 'T' && s.ptr[pos] != 't'))
		return -EINVAL;
	pos++;
	if (take_digits(s, &pos, 2, ':', &hour) || take_digits(s, &pos, 2, ':', &minute) ||
	    take_digits(s, &pos, 2, 0, &second))
		return -EINVAL;
	if (pos < s.len && s.ptr[pos] == '.') {
		size_t start = ++pos;

		while (pos < s.len && s.ptr[pos] >= '0' && s.ptr[pos] <= '9')
			pos++; /* fractions of a second do not matter */
		if (pos == start)
			return -EINVAL;
	}
	if (take_offset(s, pos, &offset) || month < 1 || month > 12 || day < 1 ||
	    day > days_in_month(year, month) || hour > 23 || minute > 59 || second > 60)
		return -EINVAL;
	*ret = days_since_epoch(year, month, day) * 86400 + hour * 3600 + minute * 60 + second -
	       offset;
	return 0;
}
