/* SPDX-License-Identifier: Apache-2.0 */
/* BackendTLSPolicy. */
#include <errno.h>
#include "decoding.h"

#define HEAD                                                                            \
	"apiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\nmetadata: {" \
	"name: p, namespace: shop}\nspec:\n"
#define TARGET	   "  targetRefs: [{group: '', kind: Service, name: cart}]\n"
#define VALIDATION "  validation: {hostname: a.example, wellKnownCACertificates: System"

static const struct sl_backend_tls_policy *policy(const struct decoded *d)
{
	cr_assert_eq(d->r, 0);
	return (const struct sl_backend_tls_policy *)d->object;
}

Test(tls_policy, everything)
{
	const struct sl_backend_tls_policy *p;
	struct decoded d;

	decode(HEAD "  targetRefs:\n"
		    "  - {group: '', kind: Service, name: cart}\n"
		    "  - {group: '', kind: Service, name: cart, sectionName: web}\n"
		    "  validation:\n"
		    "    hostname: a.example\n"
		    "    caCertificateRefs:\n"
		    "    - {group: '', kind: ConfigMap, name: one}\n"
		    "    - {group: '', kind: Secret, name: two}\n"
		    "    - {group: x.y, kind: Bucket, name: three}\n"
		    "    subjectAltNames:\n"
		    "    - {type: Hostname, hostname: '*.b.example'}\n"
		    "    - {type: URI, uri: 'spiffe://c/d'}\n"
		    "  options:\n"
		    "    example.com/else: x\n"
		    "    sluice.dev/client-certificate: me\n",
	       &d);
	p = policy(&d);
	cr_expect_null(p->error);
	cr_expect_eq(d.diags.n, 0);
	cr_expect_eq(p->n_targets, 2);
	expect_str(p->targets[1].section_name, "web");
	expect_str(p->tls.hostname, "a.example");
	cr_expect_eq(p->tls.n_cas, 3);
	expect_str(p->tls.cas[2].group, "x.y");
	cr_expect_eq(p->tls.n_names, 2);
	expect_str(p->tls.names[0].text, "*.b.example");
	cr_expect(p->tls.names[1].is_uri);
	expect_str(p->tls.client_certificate, "me");
	cr_assert_eq(p->object.n_needs, 3);
	cr_expect_eq(p->object.needs[0].kind, SL_KIND_CONFIGMAP);
	expect_str(p->object.needs[0].name, "one");
	cr_expect_eq(p->object.needs[1].kind, SL_KIND_SECRET);
	expect_str(p->object.needs[2].name, "me");
	expect_str(p->object.needs[2].namespace, "shop");
	decoded_free(&d);
}

Test(tls_policy, whom_it_is_for_has_to_be_known)
{
	static const struct problem_case cases[] = {
		{"none", VALIDATION "}\n", "spec.targetRefs", 0, "must have at least one item"},
		{"empty", "  targetRefs: []\n" VALIDATION "}\n", "spec.targetRefs", 5,
		 "must have at least one item"},
		{"group", "  targetRefs: [{kind: Service, name: a}]\n" VALIDATION "}\n",
		 "spec.targetRefs[0].group", 5, "required, but missing"},
		{"name", "  targetRefs: [{group: '', kind: Service}]\n" VALIDATION "}\n",
		 "spec.targetRefs[0].name", 5, "required, but missing"},
		{"twice",
		 "  targetRefs: [{group: '', kind: Service, name: a}, {group: '', kind: Service, "
		 "name: a}]\n" VALIDATION "}\n",
		 "spec.targetRefs[1]", 5, "is the same as targetRefs[0]"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char *text = sl_asprintf("%s%s", HEAD, cases[i].yaml);
		struct decoded d;

		decode(text, &d);
		cr_expect_eq(d.r, SL_DECODE_INVALID, "%s", cases[i].name);
		cr_expect_not_null(
			find_diag(&d.diags, SL_SEVERITY_ERROR, cases[i].field, cases[i].message),
			"%s", cases[i].name);
		decoded_free(&d);
		free(text);
	}
}

/* Else its targets would be spoken to in the clear. */
Test(tls_policy, one_with_errors_is_kept)
{
	static const struct problem_case cases[] = {
		{"no validation", "", "spec.validation", 0, "required, but missing"},
		{"no hostname", "  validation: {wellKnownCACertificates: System}\n",
		 "spec.validation.hostname", 0, "required, but missing"},
		{"an address",
		 "  validation: {hostname: 10.0.0.1, wellKnownCACertificates: "
		 "System}\n",
		 "spec.validation.hostname", 0, "not an IP address"},
		{"a wildcard", "  validation: {hostname: '*.a', wellKnownCACertificates: System}\n",
		 "spec.validation.hostname", 0, "must be"},
		{"nobody to believe", "  validation: {hostname: a}\n", "spec.validation", 0,
		 "must have either caCertificateRefs or wellKnownCACertificates"},
		{"both",
		 VALIDATION ", caCertificateRefs: [{group: '', kind: ConfigMap, name: x}]}\n",
		 "spec.validation.wellKnownCACertificates", 0, "beside caCertificateRefs"},
		{"other well-known ones",
		 "  validation: {hostname: a, wellKnownCACertificates: Other}\n",
		 "spec.validation.wellKnownCACertificates", 0, "must be one of System"},
		{"a name without type", VALIDATION ", subjectAltNames: [{hostname: a}]}\n",
		 "spec.validation.subjectAltNames[0]", 0, "type is required"},
		{"a URI without one", VALIDATION ", subjectAltNames: [{type: URI}]}\n",
		 "spec.validation.subjectAltNames[0].uri", 0, "required"},
		{"a relative URI", VALIDATION ", subjectAltNames: [{type: URI, uri: /a}]}\n",
		 "spec.validation.subjectAltNames[0].uri", 0, "absolute URI"},
		{"both names",
		 VALIDATION ", subjectAltNames: [{type: URI, uri: 'a://b', hostname: c}]}\n",
		 "spec.validation.subjectAltNames[0].hostname", 0, "must not be set"},
		{"an unknown option", VALIDATION "}\n  options: {sluice.dev/else: x}\n",
		 "spec.options[\"sluice.dev/else\"]", 0, "not an option that is known"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char *text = sl_asprintf("%s%s", HEAD TARGET, cases[i].yaml);
		const struct sl_rule_error *error;
		struct decoded d;

		decode(text, &d);
		error = policy(&d)->error;
		cr_assert_not_null(error, "%s", cases[i].name);
		cr_expect(sl_str_eqc(error->field, cases[i].field), "%s: %.*s", cases[i].name,
			  SL_STR_ARG(error->field));
		cr_expect_not_null(memmem(error->message.ptr, error->message.len, cases[i].message,
					  strlen(cases[i].message)),
				   "%s: %.*s", cases[i].name, SL_STR_ARG(error->message));
		cr_expect_eq(policy(&d)->n_targets, 1);
		decoded_free(&d);
		free(text);
	}
}

Test(tls_policy, memory)
{
	for (long n = 0; n < 60; n++) {
		struct sl_yaml_error err = {0};
		struct sl_decode_opts opts = {0};
		struct decoded d = {0};
		int r;

		cr_assert_eq(sl_yaml_new(sl_str_from(HEAD TARGET VALIDATION
						     ", subjectAltNames: [{type: Hostname, "
						     "hostname: a}]}\n"),
					 &d.yaml),
			     0);
		cr_assert_eq(sl_yaml_next(d.yaml, &d.doc, &err), 0);
		sl_alloc_fail_after(n);
		r = sl_decode_object(sl_yaml_doc_root(d.doc), &opts, &d.diags, &d.object, &d.key);
		sl_alloc_fail_after(-1);
		cr_assert(r == 0 || r == -ENOMEM, "%ld: %d", n, r);
		decoded_free(&d);
	}
}
