/* SPDX-License-Identifier: Apache-2.0 */
/* "explain": which fault of a FaultInjection may hit a request. */
#include <errno.h>
#include <time.h>
#include "base/clock.h"
#include "core/views_explain.h"
#include "snapshot/faults.h"
#include "snapshot/match.h"

static int describe_fault(struct sl_buf *out, const struct sl_fault *f)
{
	bool delays = f->delay.of.numerator, aborts = f->abort.of.numerator;
	int r = 0;

	if (!delays && !aborts)
		return sl_buf_append_str(out, SL_STR("of 0 requests"));
	if (delays)
		r = sl_buf_printf(out, "%u of %u requests wait %llu ms", f->delay.of.numerator,
				  f->delay.of.denominator,
				  (unsigned long long)(f->delay.ns / SL_NS_PER_MS));
	if (!r && delays && f->delay.jitter_ns)
		r = sl_buf_printf(out, " (+-%llu)",
				  (unsigned long long)(f->delay.jitter_ns / SL_NS_PER_MS));
	if (!r && aborts)
		r = sl_buf_printf(out, "%s%u of %u are answered", delays ? ", " : "",
				  f->abort.of.numerator, f->abort.of.denominator);
	if (!r && aborts && f->abort.http_status)
		r = sl_buf_printf(out, " %u", f->abort.http_status);
	if (!r && aborts && f->abort.grpc_status)
		r = sl_buf_printf(out, "%s gRPC %u", f->abort.http_status ? "," : "",
				  f->abort.grpc_status);
	return r;
}

static int describe_moment(struct sl_buf *out, const char *before, int64_t s)
{
	time_t t = (time_t)s;
	struct tm tm;
	char text[24] = "";

	if (gmtime_r(&t, &tm))
		(void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return sl_buf_printf(out, ", %s %s", before, text);
}

static int describe(const struct explain *e, struct sl_buf *out, const struct sl_faults *f,
		    const struct sl_fault *hit)
{
	int64_t now_s = time(NULL);
	int r = sl_buf_printf(out, "%.*s: ", SL_STR_ARG(f->policy));

	if (!r && e->control->opts->proxy.no_faults)
		return sl_buf_append_str(out, SL_STR("does nothing on this host (--no-faults)"));
	if (!r && !hit)
		return sl_buf_append_str(out, SL_STR("none of its faults is for this request"));
	if (!r)
		r = describe_fault(out, hit);
	if (!r && now_s < f->starts_s)
		r = describe_moment(out, "from", f->starts_s);
	return r ? r : describe_moment(out, now_s < f->expires_s ? "until" : "ended", f->expires_s);
}

int explain_put_faults(struct explain *e, json_t *to, const struct sl_faults *f,
		       const struct sl_request *req, struct sl_str path)
{
	struct sl_buf text = SL_BUF_INIT(0);
	struct sl_match_scratch *scratch;
	int r = f ? sl_match_scratch_new(&scratch) : 0;

	if (r || !f)
		return r;
	r = describe(e, &text, f, sl_faults_find(f, req, path, scratch, &e->arena));
	if (!r)
		r = explain_put_str(to, "faults", sl_buf_str(&text));
	(void)sl_match_scratch_free(scratch); /* always NULL */
	sl_buf_deinit(&text);
	return r;
}
