/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Filters of rules and backendRefs, compiled: what proxy/filter_*.c carries out. Immutable. */
#include "base/str.h"

struct sl_header_edit {
	struct sl_str name;  /* as configured */
	struct sl_str value; /* empty for remove */
};

/* At most one action per name (checked when decoded), so the order of the three does not matter. */
struct sl_header_edits {
	const struct sl_header_edit *set, *add, *remove;
	uint32_t n_set, n_add, n_remove;
};

enum sl_path_edit_type { SL_PATH_EDIT_NONE, SL_PATH_EDIT_FULL, SL_PATH_EDIT_PREFIX };

struct sl_path_edit {
	enum sl_path_edit_type type;
	struct sl_str value;  /* PREFIX: without trailing "/" */
	struct sl_str prefix; /* PREFIX: the rule's matched prefix, without trailing "/" */
};

enum sl_filter_kind {
	SL_FILTER_KIND_REQUEST_HEADERS,
	SL_FILTER_KIND_RESPONSE_HEADERS,
	SL_FILTER_KIND_REDIRECT,
	SL_FILTER_KIND_REWRITE,
};

struct sl_filter {
	enum sl_filter_kind kind;
	union {
		struct sl_header_edits headers;
		struct {
			struct sl_str scheme; /* "http", "https" or empty: the request's */
			struct sl_str hostname;
			struct sl_path_edit path;
			uint16_t port; /* 0: derived */
			uint16_t status;
		} redirect;
		struct {
			struct sl_str hostname; /* empty: unchanged */
			struct sl_path_edit path;
		} rewrite;
	};
};
