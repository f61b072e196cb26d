/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every text that a pattern matches as a whole begins and ends with. Only the plain core of
 * the syntax is understood; whatever else occurs (options, alternatives outside of groups,
 * lookaround, quoting), nothing is claimed.
 */
#include <errno.h>
#include "snapshot/regex.h"

struct scan {
	struct sl_str rest;
	char head[SL_REGEX_LITERAL_MAX];
	char tail[SL_REGEX_LITERAL_MAX]; /* a ring: the last ones of the run of literals */
	size_t n_head, n_tail;		 /* n_tail: all of the run */
	bool head_ended;
};

static bool take(struct sl_str *s, char c)
{
	if (!s->len || *s->ptr != c)
		return false;
	*s = sl_str_skip(*s, 1);
	return true;
}

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* ---- what is skipped: true when it was understood ---- */

/* Behind the "\": one character that stands for itself (ret) or for a class (*ret_literal false).
 */
static bool skip_escape(struct sl_str *s, char *ret, bool *ret_literal)
{
	if (!s->len || (unsigned char)*s->ptr >= 0x80)
		return false;
	*ret = *s->ptr;
	*ret_literal = !is_alnum(*ret);
	*s = sl_str_skip(*s, 1);
	return *ret_literal || memchr("dDwWsS", *ret, 6);
}

/* Behind the "[". */
static bool skip_class(struct sl_str *s)
{
	char c;
	bool literal;

	(void)take(s, '^'); /* may be there */
	(void)take(s, ']'); /* first, it is a member */
	while (s->len) {
		if (take(s, ']'))
			return true;
		if (*s->ptr == '[')
			return false; /* perhaps a named class */
		if (take(s, '\\')) {
			if (!skip_escape(s, &c, &literal))
				return false;
			continue;
		}
		*s = sl_str_skip(*s, 1);
	}
	return false;
}

/* Behind the "(". */
static bool skip_group(struct sl_str *s)
{
	unsigned depth = 1;
	bool literal;
	char c;

	for (bool opened = true; s->len;) {
		if (opened && *s->ptr == '*')
			return false;
		if (opened && take(s, '?') && !take(s, ':'))
			return false;
		opened = false;
		if (take(s, '(')) {
			depth++;
			opened = true;
		} else if (take(s, ')')) {
			if (--depth == 0)
				return true;
		} else if (take(s, '\\')) {
			if (!skip_escape(s, &c, &literal))
				return false;
		} else if (take(s, '[')) {
			if (!skip_class(s))
				return false;
		} else {
			*s = sl_str_skip(*s, 1);
		}
	}
	return false;
}

/* *ret: there was one. */
static bool skip_quantifier(struct sl_str *s, bool *ret)
{
	*ret = take(s, '*') || take(s, '+') || take(s, '?');
	if (!*ret && take(s, '{')) {
		while (s->len && (*s->ptr == ',' || (*s->ptr >= '0' && *s->ptr <= '9')))
			*s = sl_str_skip(*s, 1);
		if (!take(s, '}'))
			return false; /* then "{" stands for itself: leave it */
		*ret = true;
	}
	if (*ret && !take(s, '?'))
		(void)take(s, '+'); /* lazy, possessive: what is matched is the same */
	return true;
}

/* ---- literals ---- */

static void add_literal(struct scan *sc, char c)
{
	if (!sc->head_ended && sc->n_head < sizeof(sc->head))
		sc->head[sc->n_head++] = c;
	sc->tail[sc->n_tail++ % sizeof(sc->tail)] = c;
}

static void add_unknown(struct scan *sc)
{
	sc->head_ended = true;
	sc->n_tail = 0;
}

static bool scan_atom(struct scan *sc)
{
	struct sl_str *s = &sc->rest;
	bool literal = false, quantified;
	char c = *s->ptr;

	*s = sl_str_skip(*s, 1);
	switch (c) {
	case '\\':
		if (!skip_escape(s, &c, &literal))
			return false;
		break;
	case '[':
		if (!skip_class(s))
			return false;
		break;
	case '(':
		if (!skip_group(s))
			return false;
		break;
	case '.':
		break;
	case '$':
		return s->len == 0;
	case '^':
	case '|':
	case ')':
	case '*':
	case '+':
	case '?':
	case '{':
		return false;
	default:
		literal = true;
	}
	if (!skip_quantifier(s, &quantified))
		return false;
	if (literal && !quantified)
		add_literal(sc, c);
	else
		add_unknown(sc);
	return true;
}

static int keep_tail(const struct scan *sc, struct sl_arena *arena, struct sl_str *ret)
{
	size_t size = sizeof(sc->tail), n = sc->n_tail < size ? sc->n_tail : size;
	char text[SL_REGEX_LITERAL_MAX];

	for (size_t i = 0; i < n; i++)
		text[i] = sc->tail[(sc->n_tail - n + i) % size];
	return sl_arena_str(arena, (struct sl_str){text, n}, ret);
}

int sl_regex_literals(struct sl_str pattern, struct sl_arena *arena, struct sl_str *ret_head,
		      struct sl_str *ret_tail)
{
	struct scan sc = {.rest = pattern};

	(void)take(&sc.rest, '^'); /* the match is anchored anyway */
	while (sc.rest.len) {
		if (!scan_atom(&sc)) {
			sc.n_head = sc.n_tail = 0;
			break;
		}
	}
	if (sl_arena_str(arena, (struct sl_str){sc.head, sc.n_head}, ret_head))
		return -ENOMEM;
	return keep_tail(&sc, arena, ret_tail);
}
