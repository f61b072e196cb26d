/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a certificate is for whom the agent meant to talk to (RFC 9525). Its subject is never
 * looked at, as the common name is no name of a host. */
#include <openssl/x509v3.h>
#include "tls/impl.h"

static struct sl_str text_of(const ASN1_STRING *s)
{
	return (struct sl_str){(const char *)ASN1_STRING_get0_data(s),
			       (size_t)ASN1_STRING_length(s)};
}

/* wanted is "*.example.com": the certificate says the same, or one label more than the rest. */
static bool wildcard_matches(struct sl_str wanted, struct sl_str name)
{
	const char *dot = memchr(name.ptr, '.', name.len);

	return dot && dot != name.ptr &&
	       sl_str_ieq(sl_str_skip(name, (size_t)(dot - name.ptr)), sl_str_skip(wanted, 1));
}

/* The entries of subjectAltName of one type. */
static bool any_entry(X509 *cert, int type, struct sl_str wanted)
{
	GENERAL_NAMES *all = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	bool found = false;

	for (int i = 0; i < sk_GENERAL_NAME_num(all) && !found; i++) {
		const GENERAL_NAME *entry = sk_GENERAL_NAME_value(all, i);

		if (entry->type != type)
			continue;
		found = type == GEN_URI
				? sl_str_eq(wanted, text_of(entry->d.uniformResourceIdentifier))
				: wildcard_matches(wanted, text_of(entry->d.dNSName));
	}
	GENERAL_NAMES_free(all);
	return found;
}

static bool host_matches(X509 *cert, struct sl_str host)
{
	if (sl_str_starts(host, SL_STR("*.")))
		return any_entry(cert, GEN_DNS, host);
	return X509_check_host(cert, host.ptr, host.len,
			       X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
				       X509_CHECK_FLAG_NEVER_CHECK_SUBJECT,
			       NULL) == 1;
}

bool sl_tls_names_match(const struct sl_tls_context *c, X509 *cert)
{
	if (!c->n_names)
		return host_matches(cert, sl_str_from(c->hostname));
	for (uint32_t i = 0; i < c->n_names; i++) {
		const struct sl_tls_name *name = &c->names[i];

		if (name->type == SL_TLS_NAME_URI ? any_entry(cert, GEN_URI, name->text)
						  : host_matches(cert, name->text))
			return true;
	}
	return false;
}
