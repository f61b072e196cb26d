/* SPDX-License-Identifier: Apache-2.0 */
#include "resource/syntax.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_alpha(char c)
{
	return is_lower(c) || (c >= 'A' && c <= 'Z');
}

static bool is_hex(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool is_one_of(char c, const char *set)
{
	return c && strchr(set, c);
}

/* Labels joined by dots: each starts and ends with a letter or digit. */
static bool is_labels(struct sl_str s, bool dots)
{
	char before = '.';

	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];
		bool alnum = is_lower(c) || is_digit(c);

		if (!alnum && c != '-' && !(dots && c == '.'))
			return false;
		if (before == '.' && !alnum)
			return false;
		if (c == '.' && before == '-')
			return false;
		before = c;
	}
	return before != '-' && before != '.';
}

static bool is_dns_label(struct sl_str s)
{
	return is_labels(s, false);
}

static bool is_optional_label(struct sl_str s)
{
	return s.len == 0 || is_dns_label(s);
}

static bool is_subdomain(struct sl_str s)
{
	return is_labels(s, true);
}

static bool is_group(struct sl_str s)
{
	return s.len == 0 || is_subdomain(s);
}

static bool is_wildcard_hostname(struct sl_str s)
{
	if (sl_str_starts(s, SL_STR("*.")))
		s = sl_str_skip(s, 2);
	return is_subdomain(s);
}

static bool is_kind(struct sl_str s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (!is_alpha(s.ptr[i]) && (i == 0 || (!is_digit(s.ptr[i]) && s.ptr[i] != '-')))
			return false;
	}
	return s.len && s.ptr[s.len - 1] != '-';
}

static bool is_token(struct sl_str s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];

		if (!is_alpha(c) && !is_digit(c) && !is_one_of(c, "!#$%&'*+-.^_`|~"))
			return false;
	}
	return s.len > 0;
}

/* RFC 9110 section 5.5: a field value has no control characters but tab. What would slip through
 * here could end the header and begin another. */
static bool is_header_value(struct sl_str s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return false;
	}
	return true;
}

/* RFC 3986 path characters, percent-encoding complete. */
static bool is_path_chars(struct sl_str s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];

		if (c == '%') {
			if (s.len - i < 3 || !is_hex(s.ptr[i + 1]) || !is_hex(s.ptr[i + 2]))
				return false;
			i += 2;
		} else if (!is_alpha(c) && !is_digit(c) && !is_one_of(c, "-/._~!$&'()*+,;=:@")) {
			return false;
		}
	}
	return true;
}

static bool is_path_full(struct sl_str s)
{
	return s.len && s.ptr[0] == '/' && is_path_chars(s);
}

static bool is_path_prefix(struct sl_str s)
{
	return s.len == 0 || is_path_full(s);
}

static bool contains(struct sl_str s, struct sl_str part)
{
	for (size_t i = 0; i + part.len <= s.len; i++) {
		if (sl_str_starts(sl_str_skip(s, i), part))
			return true;
	}
	return false;
}

static bool ends(struct sl_str s, struct sl_str end)
{
	return s.len >= end.len && memcmp(s.ptr + s.len - end.len, end.ptr, end.len) == 0;
}

/* Words joined by dots; a word has letters, digits and "_" and no digit first. */
static bool is_words(struct sl_str s, bool dots)
{
	char before = '.';

	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];
		bool letter = is_alpha(c) || c == '_';

		if (!letter && !is_digit(c) && !(dots && c == '.'))
			return false;
		if (before == '.' && !letter)
			return false;
		before = c;
	}
	return before != '.';
}

static bool is_rpc_method(struct sl_str s)
{
	return is_words(s, false);
}

/* The API lets one dot lead. */
static bool is_rpc_service(struct sl_str s)
{
	return is_words(sl_str_starts(s, SL_STR(".")) ? sl_str_skip(s, 1) : s, true);
}

/* Upper case too: origins are compared without case. */
static bool is_origin_host(struct sl_str s)
{
	char before = '.';

	if (sl_str_starts(s, SL_STR("*.")))
		s = sl_str_skip(s, 2);
	else if (sl_str_eqc(s, "*"))
		return true;
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];

		if (!is_alpha(c) && !is_digit(c) && c != '-' && (c != '.' || before == '.'))
			return false;
		before = c;
	}
	return before != '.';
}

static bool is_cors_origin(struct sl_str s)
{
	const char *colon;
	uint64_t port;

	if (sl_str_eqc(s, "*"))
		return true;
	if (sl_str_starts(s, SL_STR("http://")))
		s = sl_str_skip(s, 7);
	else if (sl_str_starts(s, SL_STR("https://")))
		s = sl_str_skip(s, 8);
	else
		return false;
	colon = memchr(s.ptr, ':', s.len);
	if (colon) {
		size_t host = (size_t)(colon - s.ptr);

		if (sl_str_to_u64(sl_str_skip(s, host + 1), UINT16_MAX, &port) || !port)
			return false;
		s.len = host;
	}
	return is_origin_host(s);
}

static bool is_cors_method(struct sl_str s)
{
	static const char *const methods[] = {"GET",	 "HEAD",    "POST",  "PUT",   "DELETE",
					      "CONNECT", "OPTIONS", "TRACE", "PATCH", "*"};

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		if (sl_str_eqc(s, methods[i]))
			return true;
	}
	return false;
}

const char *sl_path_problem(struct sl_str s)
{
	if (s.len == 0 || s.ptr[0] != '/')
		return "must start with \"/\"";
	if (contains(s, SL_STR("//")))
		return "must not contain \"//\"";
	if (contains(s, SL_STR("/./")) || ends(s, SL_STR("/.")))
		return "must not contain the path segment \".\"";
	if (contains(s, SL_STR("/../")) || ends(s, SL_STR("/..")))
		return "must not contain the path segment \"..\"";
	if (contains(s, SL_STR("%2f")) || contains(s, SL_STR("%2F")))
		return "must not contain an encoded slash (\"%2F\")";
	if (contains(s, SL_STR("#")))
		return "must not contain \"#\"";
	if (!is_path_chars(s))
		return "must have only the characters that RFC 3986 allows in a path";
	return NULL;
}

size_t sl_text_length(struct sl_str s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.len; i++)
		n += ((unsigned char)s.ptr[i] & 0xc0) != 0x80;
	return n;
}

const char *sl_quote(struct sl_str s, char out[SL_QUOTE_TEXT])
{
	enum { KEEP = SL_QUOTE_TEXT - 7 }; /* quotes, "...", NUL, and one to spare */
	size_t n = s.len <= KEEP ? s.len : KEEP;
	size_t w = 0;

	/* Never end inside a character. */
	while (n && n < s.len && ((unsigned char)s.ptr[n] & 0xc0) == 0x80)
		n--;
	out[w++] = '"';
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		out[w++] = c < 0x20 || c == 0x7f ? '?' : (char)c;
	}
	for (int i = 0; n < s.len && i < 3; i++)
		out[w++] = '.';
	out[w++] = '"';
	out[w] = '\0';
	return out;
}

#define DNS_FORM "lower-case letters, digits and \"-\""

static bool is_cookie_path(struct sl_str s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] < ' ' || s.ptr[i] > '~' || s.ptr[i] == ';')
			return false;
	}
	return s.ptr[0] == '/';
}

const struct sl_text_type sl_text_any = {0, UINT32_MAX, NULL, "text"};
const struct sl_text_type sl_text_dns_label = {1, 63, is_dns_label, "a DNS label (" DNS_FORM ")"};
const struct sl_text_type sl_text_optional_label = {0, 63, is_optional_label,
						    "empty or a DNS label (" DNS_FORM ")"};
const struct sl_text_type sl_text_subdomain = {
	1, 253, is_subdomain, "a DNS subdomain (" DNS_FORM ", parts separated by \".\")"};
const struct sl_text_type sl_text_ref_name = {1, 253, NULL, "text"};
const struct sl_text_type sl_text_group = {
	0, 253, is_group, "empty or a DNS subdomain (" DNS_FORM ", parts separated by \".\")"};
const struct sl_text_type sl_text_kind = {1, 63, is_kind, "a kind (letters, digits and \"-\")"};
const struct sl_text_type sl_text_hostname = {
	1, 253, is_subdomain, "a host name without port (" DNS_FORM ", parts separated by \".\")"};
const struct sl_text_type sl_text_wildcard_hostname = {
	1, 253, is_wildcard_hostname, "a host name without port, or \"*.\" and a host name"};
const struct sl_text_type sl_text_token = {1, 256, is_token,
					   "a name as HTTP headers have them (an RFC 9110 token)"};
const struct sl_text_type sl_text_header_value = {1, 4096, is_header_value,
						  "a header value without control characters"};
const struct sl_text_type sl_text_header_match = {1, 4096, NULL, "text"};
const struct sl_text_type sl_text_query_match = {1, 1024, NULL, "text"};
const struct sl_text_type sl_text_rpc_service = {
	1, 1024, is_rpc_service,
	"a gRPC service (words of letters, digits and \"_\", separated by \".\")"};
const struct sl_text_type sl_text_rpc_method = {1, 1024, is_rpc_method,
						"a gRPC method (letters, digits and \"_\")"};
const struct sl_text_type sl_text_rpc_pattern = {0, 1024, NULL, "text"};
const struct sl_text_type sl_text_path_match = {0, 1024, NULL, "text"};
const struct sl_text_type sl_text_path_full = {
	0, 1024, is_path_full,
	"a path that starts with \"/\" and has only RFC 3986 path characters"};
const struct sl_text_type sl_text_path_prefix = {
	0, 1024, is_path_prefix,
	"empty, or a path that starts with \"/\" and has only RFC 3986 path characters"};
const struct sl_text_type sl_text_cookie_path = {1, 1024, is_cookie_path,
						 "a path that starts with \"/\" and has no \";\""};
const struct sl_text_type sl_text_cors_origin = {
	1, 253, is_cors_origin,
	"\"*\", or http:// or https:// and a host (which may begin with \"*.\", or be \"*\") and "
	"perhaps a port"};
const struct sl_text_type sl_text_cors_method = {
	1, 16, is_cors_method,
	"a method (GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS, TRACE, "
	"PATCH) or \"*\""};
