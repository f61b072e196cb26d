/* SPDX-License-Identifier: Apache-2.0 */
/* Names for scripts and for the shell's completion. */
#include "view.h"

/* A name with white space or a control character in it is none that anybody could use. */
static int put_name(struct sl_buf *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int put_name(struct sl_buf *out, const char *fmt, ...)
{
	size_t before = sl_buf_len(out);
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = sl_buf_vprintf(out, fmt, ap);
	va_end(ap);
	for (size_t i = before; i < sl_buf_len(out) && !r; i++) {
		if ((unsigned char)sl_buf_ptr(out)[i] <= ' ' || sl_buf_ptr(out)[i] == 0x7f) {
			out->end = out->start + before;
			return 0;
		}
	}
	return r ? r : sl_buf_append(out, "\n", 1);
}

int sl_names_routes(const json_t *answer, struct sl_buf *out)
{
	const json_t *route;
	int r = 0;
	size_t i;

	json_array_foreach (json_object_get(answer, "routes"), i, route) {
		if (!r)
			r = put_name(out, "%s/%s/%s", sl_json_text(route, "kind"),
				     sl_json_text(route, "namespace"), sl_json_text(route, "name"));
	}
	return r;
}

int sl_names_services(const json_t *answer, struct sl_buf *out)
{
	const json_t *service, *port;
	size_t i, k;
	int r = 0;

	json_array_foreach (json_object_get(answer, "services"), i, service) {
		json_array_foreach (json_object_get(service, "ports"), k, port) {
			if (!r)
				r = put_name(out, "%s/%s:%lld", sl_json_text(service, "namespace"),
					     sl_json_text(service, "name"),
					     sl_json_number(port, "port"));
		}
	}
	return r;
}

int sl_names_netns(const json_t *answer, struct sl_buf *out)
{
	const json_t *n;
	int r = 0;
	size_t i;

	json_array_foreach (json_object_get(answer, "netns"), i, n) {
		const char *pod = sl_json_text(n, "pod");

		if (!r && *pod)
			r = put_name(out, "%s", pod);
	}
	return r;
}
