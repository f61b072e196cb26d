/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/filter.h"

#include <assert.h>
#include "proxy/filter_impl.h"

static const struct {
	int (*request)(const struct sl_filter *f, struct sl_filter_env *env, struct sl_request *req,
		       struct sl_response *ret_response);
	int (*response)(const struct sl_filter *f, const struct sl_filter_env *env,
			struct sl_response *res);
	bool calls;
} kinds[] = {
	[SL_FILTER_KIND_REQUEST_HEADERS] = {.request = sl_filter_request_headers},
	[SL_FILTER_KIND_RESPONSE_HEADERS] = {.response = sl_filter_response_headers},
	[SL_FILTER_KIND_REDIRECT] = {.request = sl_filter_redirect},
	[SL_FILTER_KIND_REWRITE] = {.request = sl_filter_rewrite},
	[SL_FILTER_KIND_CORS] = {.request = sl_filter_cors_request,
				 .response = sl_filter_cors_response},
	[SL_FILTER_KIND_MIRROR] = {.calls = true},
	[SL_FILTER_KIND_AUTH] = {.calls = true},
};

int sl_filters_request(const struct sl_filter *filters, uint32_t n, struct sl_filter_env *env,
		       struct sl_request *req, struct sl_response *ret_response)
{
	for (uint32_t i = env->next; i < n; i++) {
		const struct sl_filter *f = &filters[i];
		int r;

		assert(f->kind < sizeof(kinds) / sizeof(kinds[0]));
		if (kinds[f->kind].calls) {
			env->next = i + 1;
			return SL_FILTER_CALL;
		}
		if (!kinds[f->kind].request)
			continue;
		r = kinds[f->kind].request(f, env, req, ret_response);
		if (r) {
			env->next = 0;
			return r;
		}
	}
	env->next = 0;
	return 0;
}

int sl_filters_response(const struct sl_filter *filters, uint32_t n,
			const struct sl_filter_env *env, struct sl_response *res)
{
	for (uint32_t i = 0; i < n; i++) {
		const struct sl_filter *f = &filters[i];
		int r;

		assert(f->kind < sizeof(kinds) / sizeof(kinds[0]));
		if (!kinds[f->kind].response)
			continue;
		r = kinds[f->kind].response(f, env, res);
		if (r)
			return r;
	}
	return 0;
}
