/* SPDX-License-Identifier: Apache-2.0 */
/* spec.targetRefs of policies (GEP-713). */
#include "resource/kinds.h"

enum { MAX_TARGETS = 16 };

static const char *const target_fields[] = {"group", "kind", "name", "sectionName", NULL};
static const char *const whole_target_fields[] = {"group", "kind", "name", NULL};

static bool is_allowed(const struct sl_parent_ref *ref, unsigned allowed)
{
	if (!ref->group.len)
		return sl_str_eqc(ref->kind, "Service");
	return (allowed & SL_TARGET_ROUTES) &&
	       sl_str_eqc(ref->group, "gateway.networking.k8s.io") &&
	       (sl_str_eqc(ref->kind, "HTTPRoute") || sl_str_eqc(ref->kind, "GRPCRoute"));
}

static void decode_target(const struct sl_cursor *at, unsigned allowed, struct sl_parent_ref *ref)
{
	struct sl_cursor kind;
	char quoted[SL_QUOTE_TEXT];

	ref->group = ref->kind = ref->name = ref->section_name = SL_STR("");
	ref->namespace = at->dec->object->meta.namespace;
	ref->has_group = ref->has_kind = true;
	if (!sl_cursor_is_object(at, allowed & SL_TARGET_SECTIONS ? target_fields
								  : whole_target_fields))
		return;
	(void)sl_read_str(at, "group", &sl_text_group, &ref->group); /* "" unless told */
	(void)sl_require_str(at, "name", &sl_text_ref_name, &ref->name);
	if (allowed & SL_TARGET_SECTIONS)
		(void)sl_read_str(at, "sectionName", &sl_text_subdomain,
				  &ref->section_name); /* optional */
	if (!sl_require_str(at, "kind", &sl_text_kind, &ref->kind) || is_allowed(ref, allowed))
		return;
	kind = sl_cursor_member(at, "kind");
	sl_cursor_error(&kind, "must be Service of group \"\"%s, got %s",
			allowed & SL_TARGET_ROUTES
				? ", or HTTPRoute or GRPCRoute of group gateway.networking.k8s.io"
				: "",
			sl_quote(ref->kind, quoted));
}

static bool same_target(const struct sl_parent_ref *a, const struct sl_parent_ref *b)
{
	return sl_str_eq(a->kind, b->kind) && sl_str_eq(a->name, b->name) &&
	       sl_str_eq(a->section_name, b->section_name);
}

static void check_target(const struct sl_cursor *array, const struct sl_parent_ref *refs, size_t i)
{
	struct sl_cursor at = sl_cursor_item(array, i);

	for (size_t k = 0; k < i; k++) {
		if (same_target(&refs[k], &refs[i])) {
			sl_cursor_error(&at, "is the same as targetRefs[%zu]", k);
			return;
		}
	}
}

void sl_decode_policy_targets(const struct sl_cursor *spec, struct sl_policy_object *p,
			      unsigned allowed)
{
	struct sl_cursor array = sl_cursor_member(spec, "targetRefs");
	size_t n = 0;

	if (!array.node) {
		sl_cursor_error(&array, "required, but missing");
		return;
	}
	if (!sl_read_array(spec, "targetRefs", MAX_TARGETS, &array, &n))
		return;
	if (!n)
		sl_cursor_error(&array, "must have at least one item");
	p->target_refs = sl_decoder_new_n(spec->dec, struct sl_parent_ref, n + 1);
	if (!p->target_refs)
		return;
	p->n_target_refs = (uint32_t)n;
	for (size_t i = 0; i < n; i++) {
		struct sl_cursor at = sl_cursor_item(&array, i);

		decode_target(&at, allowed, &p->target_refs[i]);
		check_target(&array, p->target_refs, i);
	}
}
