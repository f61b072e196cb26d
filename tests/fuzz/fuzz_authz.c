/* SPDX-License-Identifier: Apache-2.0 */
/* The answer of an authorization service: what is taken from it can be sent as HTTP. */
#include "fuzz.h"
#include "http/ext_authz.h"

static const char *check_edits(const struct sl_authz_edits *edits)
{
	for (const struct sl_authz_edit *e = edits->first; e; e = e->next) {
		struct sl_str name = e->name, value = e->value;

		if (!name.len || memchr(name.ptr, ':', name.len))
			return "a name that HTTP does not have";
		if (value.len &&
		    (memchr(value.ptr, '\n', value.len) || memchr(value.ptr, '\r', value.len) ||
		     memchr(value.ptr, '\0', value.len)))
			return "a value that ends its line";
	}
	return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sl_arena a = SL_ARENA_INIT(256);
	struct sl_authz_verdict v;

	if (!sl_authz_read_verdict(&a, (struct sl_str){(const char *)data, size}, &v)) {
		fuzz_verdict(check_edits(&v.edits));
		fuzz_verdict(check_edits(&v.of_answer));
		if (!v.allowed && (v.status < 200 || v.status > 599))
			fuzz_verdict("a denial with a status that HTTP does not have");
	}
	sl_arena_deinit(&a);
	return 0;
}
