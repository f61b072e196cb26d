/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/filter.h"

static bool strs_eq(const struct sl_str *a, uint32_t n_a, const struct sl_str *b, uint32_t n_b)
{
	uint32_t i = 0;

	while (n_a == n_b && i < n_a && sl_str_eq(a[i], b[i]))
		i++;
	return n_a == n_b && i == n_a;
}

static bool edits_eq(const struct sl_header_edit *a, uint32_t n_a, const struct sl_header_edit *b,
		     uint32_t n_b)
{
	uint32_t i = 0;

	while (n_a == n_b && i < n_a && sl_str_ieq(a[i].name, b[i].name) &&
	       sl_str_eq(a[i].value, b[i].value))
		i++;
	return n_a == n_b && i == n_a;
}

static bool headers_eq(const struct sl_header_edits *a, const struct sl_header_edits *b)
{
	return edits_eq(a->set, a->n_set, b->set, b->n_set) &&
	       edits_eq(a->add, a->n_add, b->add, b->n_add) &&
	       edits_eq(a->remove, a->n_remove, b->remove, b->n_remove);
}

static bool path_eq(const struct sl_path_edit *a, const struct sl_path_edit *b)
{
	return a->type == b->type && sl_str_eq(a->value, b->value) &&
	       sl_str_eq(a->prefix, b->prefix);
}

static bool cors_eq(const struct sl_cors *a, const struct sl_cors *b)
{
	if (a->n_origins != b->n_origins || a->any_origin != b->any_origin ||
	    a->any_method != b->any_method || a->any_header != b->any_header ||
	    a->credentials != b->credentials || !sl_str_eq(a->methods, b->methods) ||
	    !sl_str_eq(a->headers, b->headers) || !sl_str_eq(a->exposed, b->exposed) ||
	    !sl_str_eq(a->max_age, b->max_age))
		return false;
	for (uint32_t i = 0; i < a->n_origins; i++) {
		const struct sl_cors_origin *x = &a->origins[i], *y = &b->origins[i];

		if (x->https != y->https || x->open != y->open || x->port != y->port ||
		    !sl_str_eq(x->host, y->host))
			return false;
	}
	return true;
}

static bool auth_eq(const struct sl_ext_auth *a, const struct sl_ext_auth *b)
{
	return sl_str_eq(a->backend, b->backend) && sl_str_eq(a->authority, b->authority) &&
	       a->resolved == b->resolved && a->grpc == b->grpc && sl_str_eq(a->path, b->path) &&
	       strs_eq(a->request_headers, a->n_request_headers, b->request_headers,
		       b->n_request_headers) &&
	       strs_eq(a->response_headers, a->n_response_headers, b->response_headers,
		       b->n_response_headers) &&
	       a->body_bytes == b->body_bytes;
}

static bool mirror_eq(const struct sl_mirror *a, const struct sl_mirror *b)
{
	return sl_str_eq(a->backend, b->backend) &&
	       (uint64_t)a->numerator * b->denominator == (uint64_t)b->numerator * a->denominator;
}

bool sl_filter_eq(const struct sl_filter *a, const struct sl_filter *b)
{
	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case SL_FILTER_KIND_REQUEST_HEADERS:
	case SL_FILTER_KIND_RESPONSE_HEADERS:
		return headers_eq(&a->headers, &b->headers);
	case SL_FILTER_KIND_REDIRECT:
		return sl_str_eq(a->redirect.scheme, b->redirect.scheme) &&
		       sl_str_eq(a->redirect.hostname, b->redirect.hostname) &&
		       path_eq(&a->redirect.path, &b->redirect.path) &&
		       a->redirect.port == b->redirect.port &&
		       a->redirect.status == b->redirect.status;
	case SL_FILTER_KIND_REWRITE:
		return sl_str_eq(a->rewrite.hostname, b->rewrite.hostname) &&
		       path_eq(&a->rewrite.path, &b->rewrite.path);
	case SL_FILTER_KIND_CORS:
		return cors_eq(a->cors, b->cors);
	case SL_FILTER_KIND_MIRROR:
		return mirror_eq(a->mirror, b->mirror);
	case SL_FILTER_KIND_AUTH:
		return auth_eq(a->auth, b->auth);
	}
	return false;
}
