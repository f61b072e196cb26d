/* SPDX-License-Identifier: Apache-2.0 */
#include "source/yaml_scalar.h"

#include <errno.h>
#include <math.h>

static bool is_one_of(struct sl_str s, const char *const names[])
{
	for (size_t i = 0; names[i]; i++) {
		if (sl_str_eqc(s, names[i]))
			return true;
	}
	return false;
}

static size_t skip_sign(struct sl_str s)
{
	return s.len && (s.ptr[0] == '-' || s.ptr[0] == '+');
}

static size_t skip_digits(struct sl_str s, size_t i)
{
	while (i < s.len && s.ptr[i] >= '0' && s.ptr[i] <= '9')
		i++;
	return i;
}

/* 10, or 16 and 8 behind "0x" and "0o"; 0 when s is not an integer. *ret_start: the first digit. */
static int integer_base(struct sl_str s, size_t *ret_start)
{
	size_t i = skip_sign(s);

	*ret_start = i;
	if (s.len - i > 2 && s.ptr[i] == '0' && (s.ptr[i + 1] == 'x' || s.ptr[i + 1] == 'o')) {
		bool hex = s.ptr[i + 1] == 'x';
		const char *digits = hex ? "0123456789abcdefABCDEF" : "01234567";

		*ret_start = i + 2;
		return i == 0 && strspn(s.ptr + 2, digits) == s.len - 2 ? (hex ? 16 : 8) : 0;
	}
	if (i == s.len || skip_digits(s, i) != s.len)
		return 0;
	return s.ptr[i] == '0' && s.len - i > 1 ? 0 : 10;
}

static bool is_float(struct sl_str s)
{
	size_t start = skip_sign(s);
	size_t i = skip_digits(s, start);
	size_t n_digits = i - start;
	bool whole = true;

	if (i < s.len && s.ptr[i] == '.') {
		size_t end = skip_digits(s, i + 1);

		n_digits += end - i - 1;
		i = end;
		whole = false;
	}
	if (n_digits && i < s.len && (s.ptr[i] == 'e' || s.ptr[i] == 'E')) {
		size_t digits = i + 1 + skip_sign(sl_str_skip(s, i + 1));

		i = skip_digits(s, digits);
		if (i == digits)
			return false;
		whole = false;
	}
	/* A whole number gets here with leading zeros only, or when it is too long. */
	return n_digits && i == s.len && !(whole && s.ptr[start] == '0');
}

static json_t *text(struct sl_str s)
{
	return json_stringn_nocheck(s.ptr, s.len);
}

json_t *sl_yaml_resolve(struct sl_str s)
{
	static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
	static const char *const trues[] = {"true", "True", "TRUE", NULL};
	static const char *const falses[] = {"false", "False", "FALSE", NULL};
	char number[64];
	size_t start;
	double real;
	int base;

	if (is_one_of(s, nulls))
		return json_null();
	if (is_one_of(s, trues))
		return json_true();
	if (is_one_of(s, falses))
		return json_false();
	if (s.len >= sizeof(number) || memchr(s.ptr, '\0', s.len))
		return text(s);
	memcpy(number, s.ptr, s.len); /* with an end for strtoll() and strtod() */
	number[s.len] = '\0';
	s.ptr = number;
	base = integer_base(s, &start);
	if (base) {
		long long v;

		errno = 0;
		v = strtoll(base == 10 ? number : number + start, NULL, base);
		if (errno == 0)
			return json_integer(v);
	}
	if (!is_float(s))
		return text(s);
	real = strtod(number, NULL);
	return isfinite(real) ? json_real(real) : text(s);
}
