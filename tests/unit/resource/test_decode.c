/* SPDX-License-Identifier: Apache-2.0 */
/* What all kinds share: which objects are ours, and metadata. */
#include "decoding.h"
#include <errno.h>
#include <jansson.h>

#define NS "apiVersion: v1\nkind: Namespace\n"

Test(decode, kinds_that_are_not_ours_are_ignored)
{
	static const struct {
		const char *type, *message; /* NULL: without a word */
	} cases[] = {
		{"{apiVersion: apps/v1, kind: Deployment", NULL},
		{"{apiVersion: v1, kind: PersistentVolume", NULL},
		{"{apiVersion: example.org/v1, kind: HTTPRoute", NULL},
		{"{apiVersion: discovery.k8s.io/v1, kind: Service", NULL},
		{"{apiVersion: gateway.networking.k8s.io/v1beta1, kind: TLSRoute",
		 "version \"v1beta1\" of kind TLSRoute"},
		{"{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway",
		 "kind Gateway is not supported"},
		{"{apiVersion: gateway.networking.k8s.io/v1beta1, kind: ReferenceGrant",
		 "kind ReferenceGrant is not supported"},
		{"{apiVersion: gateway.networking.k8s.io/v1alpha2, kind: BackendTLSPolicy",
		 "version \"v1alpha2\" of kind BackendTLSPolicy"},
		{"{apiVersion: gateway.networking.x-k8s.io/v1alpha1, kind: XMesh",
		 "kind XMesh is not supported"},
		{"{apiVersion: gateway.networking.k8s.io/v1alpha2, kind: HTTPRoute",
		 "version \"v1alpha2\" of kind HTTPRoute"},
		{"{apiVersion: discovery.k8s.io/v1beta1, kind: EndpointSlice",
		 "version \"v1beta1\" of kind EndpointSlice"},
		{"{apiVersion: v2, kind: Service", "version \"v2\" of kind Service"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *text = sl_asprintf("%s, metadata: {name: x, namespace: y}}", cases[i].type);
		struct decoded d;

		decode(text, &d);
		cr_expect_eq(d.r, SL_DECODE_IGNORED, "%s", text);
		cr_expect_eq(d.diags.n_errors, 0);
		cr_expect_null(d.object);
		cr_expect_eq(d.key.len, 0);
		cr_expect_eq(d.diags.n, cases[i].message ? 1 : 0, "%s", text);
		if (d.diags.n && cases[i].message)
			cr_expect(strstr(d.diags.items[0].message.ptr, cases[i].message), "%s: %s",
				  text, d.diags.items[0].message.ptr);
		decoded_free(&d);
		free(text);
	}
}

Test(decode, versions_of_a_kind_are_listed_with_the_best_first)
{
	for (size_t kind = 0; kind < SL_N_KINDS; kind++) {
		const char *const *v = sl_kind_api_versions((enum sl_kind)kind);

		cr_assert_not_null(v[0], "%zu", kind);
		for (; *v; v++) {
			char *text = sl_asprintf("{apiVersion: %s, kind: %s}", *v,
						 sl_kind_name((enum sl_kind)kind));
			struct decoded d;

			decode(text, &d);
			cr_expect_eq(d.r, SL_DECODE_INVALID, "%s is ours, without metadata", text);
			decoded_free(&d);
			free(text);
		}
	}
	cr_expect_str_eq(sl_kind_api_versions(SL_KIND_TLSROUTE)[0], "gateway.networking.k8s.io/v1");
	cr_expect_str_eq(sl_kind_api_versions(SL_KIND_TLSROUTE)[2],
			 "gateway.networking.k8s.io/v1alpha2");
}

Test(decode, what_is_not_an_object_of_kubernetes_is_an_error)
{
	static const struct problem_case cases[] = {
		{"scalar", "hello", "", 1, "expected an object"},
		{"list", "\n- a", "", 2, "expected an object"},
		{"no version", "kind: Pod", "apiVersion", 1, "required"},
		{"no kind", "apiVersion: v1", "kind", 1, "required"},
		{"null kind", "apiVersion: v1\nkind:", "kind", 1, "required"},
		{"empty kind", "apiVersion: v1\nkind: ''", "kind", 2, "must not be empty"},
		{"number as version", "kind: Pod\napiVersion: 1", "apiVersion", 2,
		 "expected string"},
		{"no metadata", NS, "metadata", 1, "required"},
		{"metadata is text", NS "metadata: x", "metadata", 3,
		 "expected object, got string"},
	};

	check_all("", cases, SL_DECODE_INVALID, SL_SEVERITY_ERROR);
}

Test(decode, bad_metadata_is_an_error_of_the_object)
{
	static const struct problem_case cases[] = {
		{"no name", "metadata:\n  namespace: a", "metadata.name", 4, "required"},
		{"empty name", "metadata: {name: ''}", "metadata.name", 3, "must not be empty"},
		{"number", "metadata:\n  name: 7", "metadata.name", 4,
		 "expected string, got number"},
		{"upper case", "metadata: {name: Abc}", "metadata.name", 3, "DNS subdomain"},
		{"hyphen first", "metadata: {name: -a}", "metadata.name", 3, "DNS subdomain"},
		{"empty label", "metadata: {name: a..b}", "metadata.name", 3, "DNS subdomain"},
		{"slash", "metadata: {name: a/b}", "metadata.name", 3, "got \"a/b\""},
		{"namespace with dot", "metadata: {name: a, namespace: b.c}", "metadata.namespace",
		 3, "DNS label"},
		{"empty namespace", "metadata: {name: a, namespace: ''}", "metadata.namespace", 3,
		 "must not be empty"},
		{"label is a number", "metadata:\n  name: a\n  labels:\n    version: 2",
		 "metadata.labels.version", 6, "expected string, got number"},
		{"label is a boolean", "metadata:\n  name: a\n  labels:\n    app.io/on: true",
		 "metadata.labels[\"app.io/on\"]", 6, "expected string, got boolean"},
		{"labels are a list", "metadata:\n  name: a\n  labels: []", "metadata.labels", 5,
		 "expected object"},
		{"time", "metadata: {name: a, creationTimestamp: yesterday}",
		 "metadata.creationTimestamp", 3, "RFC 3339"},
		{"generation", "metadata: {name: a, generation: 1.5}", "metadata.generation", 3,
		 "expected integer"},
		{"negative generation", "metadata: {name: a, generation: -1}",
		 "metadata.generation", 3, "must be from 0"},
	};

	check_all("apiVersion: v1\nkind: Pod\n", cases, SL_DECODE_INVALID, SL_SEVERITY_ERROR);
}

Test(decode, metadata_is_read_and_defaulted)
{
	struct decoded d;

	decode("\n\napiVersion: v1\nkind: Pod\nmetadata:\n  name: web.1\n  uid: u-1\n  generation: "
	       "4\n"
	       "  creationTimestamp: 2024-02-29T12:30:00Z\n  labels: {app: web, 'a.io/b': ''}\n"
	       "  annotations: {note: \"hi\\nyou\"}\n  managedFields: [1]\n  ownerReferences: []\n",
	       &d);
	cr_assert_eq(d.r, 0);
	cr_expect_eq(d.diags.n, 0);
	expect_str(d.key, "Pod/default/web.1");
	expect_str(d.object->meta.namespace, "default");
	expect_str(d.object->meta.name, "web.1");
	expect_str(d.object->meta.uid, "u-1");
	expect_str(d.object->meta.file, "a.yaml");
	cr_expect_eq(d.object->meta.line, 3);
	cr_expect_eq(d.object->meta.generation, 4);
	cr_expect_eq(d.object->meta.created_at, 1709209800);
	cr_assert_eq(d.object->meta.n_labels, 2);
	expect_str(d.object->meta.labels[0].name, "app");
	expect_str(d.object->meta.labels[0].value, "web");
	expect_str(d.object->meta.labels[1].name, "a.io/b");
	expect_str(d.object->meta.labels[1].value, "");
	expect_str(sl_object_annotation(d.object, SL_STR("note")), "hi\nyou");
	decoded_free(&d);
}

Test(decode, a_namespace_belongs_to_no_namespace)
{
	struct decoded d;

	decode(NS "metadata: {name: shop, namespace: odd, creationTimestamp: null}\nspec: "
		  "{}\nstatus: {x: 1}",
	       &d);
	cr_assert_eq(d.r, 0);
	cr_expect_eq(d.diags.n, 0);
	expect_str(d.key, "Namespace//shop");
	expect_str(d.object->meta.namespace, "");
	cr_expect_eq(d.object->meta.created_at, INT64_MAX);
	cr_expect_eq(d.object->meta.generation, 0);
	decoded_free(&d);
}

Test(decode, unknown_fields_are_warnings)
{
	static const struct problem_case cases[] = {
		{"top", "metadata: {name: a}\nspecs: {}", "specs", 4, "unknown field"},
		{"metadata", "metadata:\n  name: a\n  lables: {}", "metadata.lables", 5,
		 "unknown field"},
		{"odd name", "metadata:\n  name: a\n  \"x\\ny\": {}", "metadata[\"x?y\"]", 5,
		 "unknown field"},
	};

	check_all(NS, cases, 0, SL_SEVERITY_WARNING);
}

Test(decode, name_lengths_are_limited)
{
	static const struct {
		const char *kind;
		size_t limit;
	} cases[] = {{"Pod", 253}, {"Service", 63}, {"Namespace", 63}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t over = 0; over < 2; over++) {
			char *name = repeat(cases[i].limit + over, "", "a");
			char *text = sl_asprintf("{apiVersion: v1, kind: %s, metadata: {name: %s}, "
						 "spec: {clusterIP: None}}",
						 cases[i].kind, name);
			const struct sl_diag *diag;
			struct decoded d;

			decode(text, &d);
			diag = find_diag(&d.diags, SL_SEVERITY_ERROR, "metadata.name",
					 "must have at most");
			cr_expect_eq(diag != NULL, over, "%s %zu", cases[i].kind, over);
			decoded_free(&d);
			free(text);
			free(name);
		}
	}
}

Test(decode, an_invalid_object_says_which_one_it_is)
{
	static const struct {
		const char *text, *key, *label;
	} cases[] = {
		{"{apiVersion: v1, kind: Service, metadata: {name: a, namespace: b}}",
		 "Service/b/a", "Service b/a"},
		{"{apiVersion: v1, kind: Service, metadata: {name: a}}", "Service/default/a",
		 "Service default/a"},
		{"{apiVersion: v1, kind: Service, metadata: {name: A}}", "", "Service default/A"},
		{"{apiVersion: v1, kind: Service, metadata: {namespace: b}}", "", "Service"},
		{"{apiVersion: v1, kind: Service}", "", "Service"},
		{"{apiVersion: v1, metadata: {name: a}}", "", "default/a"},
		{"{apiVersion: v1, kind: Namespace, metadata: {name: a, labels: 1}}",
		 "Namespace//a", "Namespace a"},
		{"[]", "", ""},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct decoded d;

		decode(cases[i].text, &d);
		cr_expect_eq(d.r, SL_DECODE_INVALID, "%s", cases[i].text);
		cr_expect_null(d.object);
		expect_str(d.key, cases[i].key);
		cr_assert_gt(d.diags.n, 0);
		expect_str(d.diags.items[0].object, cases[i].label);
		decoded_free(&d);
	}
}

Test(decode, times_are_seconds_since_the_epoch)
{
	static const struct {
		const char *text;
		int64_t seconds; /* INT64_MIN: not a time */
	} cases[] = {
		{"1970-01-01T00:00:00Z", 0},
		{"1969-12-31T23:59:59Z", -1},
		{"2000-02-29T00:00:00Z", 951782400},
		{"2026-11-23T07:51:00Z", 1795420260},
		{"2026-11-23t07:51:00.123456z", 1795420260},
		{"2026-11-23T08:51:00+01:00", 1795420260},
		{"2026-11-23T02:21:00-05:30", 1795420260},
		{"2016-12-31T23:59:60Z", 1483228800},
		{"9999-12-31T23:59:59Z", 253402300799},
		{"0000-01-01T00:00:00Z", -62167219200},
		{"0001-01-01T00:00:00Z", -62135596800},
		{"2023-02-29T00:00:00Z", INT64_MIN},
		{"1900-02-29T00:00:00Z", INT64_MIN},
		{"2023-00-01T00:00:00Z", INT64_MIN},
		{"2023-13-01T00:00:00Z", INT64_MIN},
		{"2023-04-31T00:00:00Z", INT64_MIN},
		{"2023-04-00T00:00:00Z", INT64_MIN},
		{"2023-04-30T24:00:00Z", INT64_MIN},
		{"2023-04-30T00:60:00Z", INT64_MIN},
		{"2023-04-30T00:00:61Z", INT64_MIN},
		{"2023-04-30T00:00:00", INT64_MIN},
		{"2023-04-30T00:00:00.Z", INT64_MIN},
		{"2023-04-30T00:00:00ZZ", INT64_MIN},
		{"2023-04-30T00:00:00+1:00", INT64_MIN},
		{"2023-04-30T00:00:00+24:00", INT64_MIN},
		{"2023-04-30 00:00:00Z", INT64_MIN},
		{"2023-04-30", INT64_MIN},
		{"23-04-30T00:00:00Z", INT64_MIN},
		{"", INT64_MIN},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *text = sl_asprintf("{apiVersion: v1, kind: Pod, metadata: {name: a, "
					 "creationTimestamp: '%s'}}",
					 cases[i].text);
		struct decoded d;

		decode(text, &d);
		if (cases[i].seconds == INT64_MIN) {
			cr_expect_eq(d.r, SL_DECODE_INVALID, "%s", cases[i].text);
		} else {
			cr_assert_eq(d.r, 0, "%s", cases[i].text);
			cr_expect_eq(d.object->meta.created_at, cases[i].seconds, "%s",
				     cases[i].text);
		}
		decoded_free(&d);
		free(text);
	}
}

Test(decode, a_source_without_files_has_no_lines)
{
	json_error_t err;
	json_t *root = json_loads("{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": "
				  "{\"name\": \"a\\u0000b\"}}",
				  JSON_ALLOW_NUL, &err);
	struct sl_decode_opts opts = {0};
	struct sl_diags diags = SL_DIAGS_INIT;
	struct sl_object *object = NULL;
	struct sl_str key;

	cr_assert_not_null(root);
	cr_expect_eq(sl_decode_object(root, &opts, &diags, &object, &key), SL_DECODE_INVALID);
	cr_assert_eq(diags.n, 1);
	cr_expect_eq(diags.items[0].line, 0);
	expect_str(diags.items[0].file, "");
	cr_expect(strstr(diags.items[0].message.ptr, "NUL"), "%s", diags.items[0].message.ptr);
	sl_diags_deinit(&diags);
	json_decref(root);
}

static void fail_each_allocation(const char *text)
{
	struct sl_yaml *yaml = NULL;
	struct sl_yaml_doc *doc = NULL;
	struct sl_yaml_error err;
	long n = 0;
	int r;

	cr_assert_eq(sl_yaml_new(sl_str_from(text), &yaml), 0);
	cr_assert_eq(sl_yaml_next(yaml, &doc, &err), 0);
	do {
		struct sl_decode_opts opts = {.line_of = sl_yaml_doc_line, .line_arg = doc};
		struct sl_diags diags = SL_DIAGS_INIT;
		struct sl_object *object = NULL;
		struct sl_str key;

		sl_alloc_fail_after(n++);
		r = sl_decode_object(sl_yaml_doc_root(doc), &opts, &diags, &object, &key);
		sl_alloc_fail_after(-1);
		cr_assert(r == 0 || r == -ENOMEM, "%d", r);
		cr_assert_eq(r == 0, object != NULL);
		sl_object_unref(object);
		/* The list of problems may be what was short: then they are counted. */
		if (r == 0)
			cr_expect_eq(diags.n_errors, 1);
		r |= diags.n_dropped > 0;
		sl_diags_deinit(&diags);
	} while (r);
	cr_expect_gt(n, 4);
	sl_yaml_doc_free(doc);
	sl_yaml_free(yaml);
}

/* Each has one error. */
Test(decode, each_allocation_may_fail)
{
	fail_each_allocation(
		"apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: a, "
		"labels: {x: y}}\n"
		"spec:\n  parentRefs: [{name: p, kind: Service, group: ''}]\n  hostnames: [a.b]\n  "
		"rules:\n"
		"  - matches: [{path: {value: /a}, headers: [{name: h, value: v}]}]\n"
		"    filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: "
		"a, value: b}], "
		"remove: [c]}}]\n    backendRefs: [{name: s, port: 80}]\n  - name: Bad\n");
	fail_each_allocation(
		"apiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\nmetadata: {name: a}\n"
		"spec:\n  parentRefs: [{name: p, kind: Service, group: ''}]\n  rules:\n"
		"  - matches: [{method: {service: a.B, method: C}, headers: [{name: h, value: "
		"v}]}]\n"
		"    backendRefs: [{name: s, port: 80}]\n  - matches: [{method: {}}]\n");
}
