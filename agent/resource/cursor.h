/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A place in the JSON tree that is being decoded, and readers that check what they find there. A
 * cursor knows its way from the root, so every problem names the exact field and line. Readers do
 * not return errors: a problem is reported where it is found, marks the rule being decoded (or the
 * object when it is not inside one), and decoding goes on so that all problems are seen in one go.
 * Private to this folder. Thread: control.
 */
#include <jansson.h>
#include "resource/decode.h"
#include "resource/syntax.h"

struct sl_decoder {
	const struct sl_decode_opts *opts;
	struct sl_diags *diags;
	struct sl_object *object;   /* being built; NULL until its kind is known */
	struct sl_str label;	    /* "HTTPRoute shop/cart" */
	struct sl_route_rule *rule; /* errors belong to it; NULL: to the whole object */
	bool invalid;		    /* there was an error outside of rules */
	bool oom;		    /* sticky; what was read since is meaningless */
};

/* On the stack of whoever reads; up must outlive it. */
struct sl_cursor {
	struct sl_decoder *dec;
	const struct sl_cursor *up; /* NULL: the root */
	json_t *node;	 /* NULL: absent (JSON null counts as absent, as in Kubernetes) */
	const char *key; /* NULL: an array's item, see index */
	size_t index;
};

#define SL_REASON_UNSUPPORTED  "UnsupportedValue"
#define SL_REASON_INCOMPATIBLE "IncompatibleFilters"

/* Report a problem at a place. reason counts inside a rule only. */
void sl_cursor_error(const struct sl_cursor *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3))); /* UnsupportedValue */
void sl_cursor_incompatible(const struct sl_cursor *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3))); /* IncompatibleFilters */
void sl_cursor_warn(const struct sl_cursor *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Line of the place, or of the nearest one around it that has one. */
uint32_t sl_cursor_line(const struct sl_cursor *c);

/* The member of an object; node is NULL when absent. */
struct sl_cursor sl_cursor_member(const struct sl_cursor *c, const char *key);
/* The same for an object with text for values; for what is none, an error and node NULL. Its
 * members are still to be read with sl_cursor_str(). */
struct sl_cursor sl_cursor_texts(const struct sl_cursor *c, const char *key);
struct sl_cursor sl_cursor_item(const struct sl_cursor *array, size_t i);
bool sl_cursor_has(const struct sl_cursor *c, const char *key);
/* Error when c is not an object; warning for each member that is not in known (ends with NULL). */
bool sl_cursor_is_object(const struct sl_cursor *c, const char *const known[]);

/*
 * Read c itself. All return true with the result set, or false with it untouched: absent (without a
 * word), of another type, or not within what is allowed (reported).
 */
bool sl_cursor_str(const struct sl_cursor *c, const struct sl_text_type *type, struct sl_str *ret);
bool sl_cursor_int(const struct sl_cursor *c, int64_t min, int64_t max, int64_t *ret);

/* The same for a member. */
bool sl_read_str(const struct sl_cursor *c, const char *key, const struct sl_text_type *type,
		 struct sl_str *ret);
bool sl_require_str(const struct sl_cursor *c, const char *key, const struct sl_text_type *type,
		    struct sl_str *ret);
bool sl_read_int(const struct sl_cursor *c, const char *key, int64_t min, int64_t max,
		 int64_t *ret);
bool sl_read_port(const struct sl_cursor *c, const char *key, uint16_t *ret);
bool sl_read_bool(const struct sl_cursor *c, const char *key, bool *ret);
/* One of names (ends with NULL); *ret is its index. */
bool sl_read_enum(const struct sl_cursor *c, const char *key, const char *const names[], int *ret);
/* An IP literal, port 0. */
bool sl_cursor_ip(const struct sl_cursor *c, struct sl_addr *ret);
bool sl_read_object(const struct sl_cursor *c, const char *key, const char *const known[],
		    struct sl_cursor *ret);
/* An array of at most max items. With more it is an error, and *ret_n is max. */
bool sl_read_array(const struct sl_cursor *c, const char *key, size_t max, struct sl_cursor *ret,
		   size_t *ret_n);

/* Zeroed array in the object's arena; NULL sets dec->oom. */
void *sl_decoder_array(struct sl_decoder *dec, size_t n, size_t size);
#define sl_decoder_new_n(dec, type, n) ((type *)sl_decoder_array((dec), (n), sizeof(type)))
