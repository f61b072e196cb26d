/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/emit.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include "base/clock.h"
#include "base/utf8.h"
#include "obs/series.h"

enum { NUMBER_TEXT = 32 };

const uint64_t sl_histogram_bounds_ns[SL_HISTOGRAM_BUCKETS] = {
	500 * SL_NS_PER_US, 1 * SL_NS_PER_MS,	2500 * SL_NS_PER_US, 5 * SL_NS_PER_MS,
	10 * SL_NS_PER_MS,  25 * SL_NS_PER_MS,	50 * SL_NS_PER_MS,   100 * SL_NS_PER_MS,
	250 * SL_NS_PER_MS, 500 * SL_NS_PER_MS, 1 * SL_NS_PER_S,     2500 * SL_NS_PER_MS,
	5 * SL_NS_PER_S,    10 * SL_NS_PER_S,	30 * SL_NS_PER_S,    60 * SL_NS_PER_S,
};

static void put(struct sl_metrics_out *o, struct sl_str s)
{
	if (!o->error)
		o->error = sl_buf_append_str(o->buf, s);
}

/* Backslash and line feed are escaped, in a label also the quote; the exposition is UTF-8. */
static void put_escaped(struct sl_metrics_out *o, struct sl_str s, bool quoted)
{
	while (s.len) {
		size_t n = sl_utf8_len(s);

		if (!n)
			put(o, SL_STR(SL_UTF8_REPLACEMENT));
		else if (*s.ptr == '\\')
			put(o, SL_STR("\\\\"));
		else if (*s.ptr == '\n')
			put(o, SL_STR("\\n"));
		else if (*s.ptr == '"' && quoted)
			put(o, SL_STR("\\\""));
		else
			put(o, (struct sl_str){s.ptr, n});
		s = sl_str_skip(s, n ? n : 1);
	}
}

/* Names come from the agent's own code. */
static bool is_name(const char *name)
{
	static const char first[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_:";
	static const char rest[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_:0123456789";

	return *name && strchr(first, *name) && !name[strspn(name, rest)];
}

void sl_emit_family(struct sl_metrics_out *o, const char *name, const char *help, const char *type)
{
	assert(is_name(name));
	o->family = name;
	put(o, SL_STR("# HELP "));
	put(o, sl_str_from(name));
	put(o, SL_STR(" "));
	put_escaped(o, sl_str_from(help), false);
	put(o, SL_STR("\n# TYPE "));
	put(o, sl_str_from(name));
	put(o, SL_STR(" "));
	put(o, sl_str_from(type));
	put(o, SL_STR("\n"));
}

void sl_emit_sample(struct sl_metrics_out *o, const char *suffix,
		    const struct sl_metric_label *labels, size_t n_labels, const char *value)
{
	assert(o->family);
	put(o, sl_str_from(o->family));
	put(o, sl_str_from(suffix));
	for (size_t i = 0; i < n_labels; i++) {
		assert(is_name(labels[i].name));
		put(o, i ? SL_STR(",") : SL_STR("{"));
		put(o, sl_str_from(labels[i].name));
		put(o, SL_STR("=\""));
		put_escaped(o, labels[i].value, true);
		put(o, SL_STR("\""));
	}
	put(o, n_labels ? SL_STR("} ") : SL_STR(" "));
	put(o, sl_str_from(value));
	put(o, SL_STR("\n"));
}

static void format_u64(char out[NUMBER_TEXT], uint64_t v)
{
	(void)snprintf(out, NUMBER_TEXT, "%" PRIu64, v);
}

/* Seconds without trailing zeros: 0.0025, 1, 2.5. */
static void format_seconds(char out[NUMBER_TEXT], uint64_t ns)
{
	uint64_t whole = ns / SL_NS_PER_S, rest = ns % SL_NS_PER_S;
	size_t n = (size_t)snprintf(out, NUMBER_TEXT, "%" PRIu64 ".%09" PRIu64, whole, rest);

	while (out[n - 1] == '0')
		n--;
	if (out[n - 1] == '.')
		n--;
	out[n] = '\0';
}

void sl_metrics_out_family(struct sl_metrics_out *o, const char *name, const char *help,
			   enum sl_metric_type type)
{
	sl_emit_family(o, name, help, type == SL_METRIC_COUNTER ? "counter" : "gauge");
}

void sl_metrics_out_u64(struct sl_metrics_out *o, const struct sl_metric_label *labels,
			size_t n_labels, uint64_t value)
{
	char text[NUMBER_TEXT];

	format_u64(text, value);
	sl_emit_sample(o, "", labels, n_labels, text);
}

void sl_metrics_out_ns(struct sl_metrics_out *o, const struct sl_metric_label *labels,
		       size_t n_labels, uint64_t ns)
{
	char text[NUMBER_TEXT];

	format_seconds(text, ns);
	sl_emit_sample(o, "", labels, n_labels, text);
}

void sl_emit_histogram(struct sl_metrics_out *o, const struct sl_metric_label *labels,
		       size_t n_labels, const struct sl_histogram_cells *cells)
{
	struct sl_metric_label with_le[SL_SERIES_MAX_LABELS + 1];
	char text[NUMBER_TEXT], le[NUMBER_TEXT];
	uint64_t sum = 0;

	assert(n_labels <= SL_SERIES_MAX_LABELS);
	for (size_t i = 0; i < n_labels; i++)
		with_le[i] = labels[i];
	with_le[n_labels].name = "le";
	for (size_t i = 0; i <= SL_HISTOGRAM_BUCKETS; i++) {
		sum += cells->buckets[i];
		if (i < SL_HISTOGRAM_BUCKETS)
			format_seconds(le, sl_histogram_bounds_ns[i]);
		with_le[n_labels].value =
			i < SL_HISTOGRAM_BUCKETS ? sl_str_from(le) : SL_STR("+Inf");
		format_u64(text, sum);
		sl_emit_sample(o, "_bucket", with_le, n_labels + 1, text);
	}
	format_seconds(text, cells->sum_ns);
	sl_emit_sample(o, "_sum", labels, n_labels, text);
	format_u64(text, sum);
	sl_emit_sample(o, "_count", labels, n_labels, text);
}
