/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What filter.c and the filters share. Private to filter*.c. */
#include "proxy/filter.h"

/* One filter's part on a request. Returns as sl_filters_request(). */
int sl_filter_request_headers(const struct sl_filter *f, struct sl_filter_env *env,
			      struct sl_request *req, struct sl_response *ret_response);
int sl_filter_redirect(const struct sl_filter *f, struct sl_filter_env *env, struct sl_request *req,
		       struct sl_response *ret_response);
int sl_filter_rewrite(const struct sl_filter *f, struct sl_filter_env *env, struct sl_request *req,
		      struct sl_response *ret_response);
int sl_filter_cors_request(const struct sl_filter *f, struct sl_filter_env *env,
			   struct sl_request *req, struct sl_response *ret_response);
/* One filter's part on a response. Returns 0 or -ENOMEM. */
int sl_filter_response_headers(const struct sl_filter *f, const struct sl_filter_env *env,
			       struct sl_response *res);
int sl_filter_cors_response(const struct sl_filter *f, const struct sl_filter_env *env,
			    struct sl_response *res);

/* Send the request to that authority: Host and authority stay the same. Returns 0 or -ENOMEM. */
int sl_filter_set_authority(const struct sl_filter_env *env, struct sl_request *req,
			    struct sl_str authority);
/* The path after the edit; NONE gives path itself. A result always begins with "/", unless the edit
 * does not apply (a prefix that the matched path does not have): path itself then. Returns 0 or
 * -ENOMEM. */
int sl_filter_edit_path(const struct sl_path_edit *edit, const struct sl_filter_env *env,
			struct sl_str path, struct sl_str *ret);
