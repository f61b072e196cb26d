/* SPDX-License-Identifier: Apache-2.0 */
/* What another process says in a handover. Property: what was understood and is said again is
 * understood as the same. */
#include "core/handover_wire.h"
#include "fuzz.h"

enum { N_FDS = SL_WIRE_MAX_FDS };

static bool same(struct sl_str a, struct sl_str b)
{
	return sl_str_eq(a, b);
}

static const char *differ(const struct sl_handed *a, const struct sl_handed *b)
{
	if (a->kind != b->kind || a->id != b->id || a->source != b->source ||
	    a->cgroup_id != b->cgroup_id || a->deadline_ns != b->deadline_ns)
		return "a number changed";
	if (!sl_addr_eq(&a->peer, &b->peer) || !sl_addr_eq(&a->original, &b->original))
		return "an address changed";
	if (!same(a->down.in, b->down.in) || !same(a->down.out, b->down.out) ||
	    !same(a->up.in, b->up.in) || !same(a->up.out, b->up.out) ||
	    !same(a->request.path, b->request.path))
		return "bytes changed";
	if (a->down.eof != b->down.eof || a->up.shut != b->up.shut)
		return "a flag changed";
	return a->down.fd == b->down.fd && a->up.fd == b->up.fd ? NULL : "a descriptor changed";
}

static const char *check_handed(const struct sl_wire_frame *f, const int *fds)
{
	struct sl_handed first, second;
	struct sl_wire_out o = {0};
	struct sl_wire_frame again;
	const char *fault = NULL;
	int there[2] = {-1, -1};

	if (sl_wire_get_handed(f, fds, &first))
		return NULL;
	sl_wire_put_handed(&o, &first);
	(void)sl_wire_handed_fds(&first, there); /* as the parser counts them */
	if (!o.error) {
		if (sl_wire_parse(sl_buf_str(&o.buf), &again) <= 0 ||
		    sl_wire_get_handed(&again, there, &second))
			fault = "what was said is not understood";
		else
			fault = differ(&first, &second);
	}
	sl_buf_deinit(&o.buf);
	return fault;
}

static const char *check(const struct sl_wire_frame *f)
{
	struct sl_wire_hello hello;
	struct sl_wire_text text;
	struct sl_wire_source source;
	struct sl_wire_socket socket;
	struct sl_wire_id id;
	struct sl_wire_accepted accepted;
	int fds[N_FDS];

	for (int i = 0; i < N_FDS; i++)
		fds[i] = 100 + i;
	/* Whatever the type says: each has to survive anything. */
	(void)sl_wire_get_hello(f, &hello);
	(void)sl_wire_get_text(f, &text);
	(void)sl_wire_get_source(f, &source);
	(void)sl_wire_get_socket(f, &socket);
	(void)sl_wire_get_id(f, &id);
	(void)sl_wire_get_accepted(f, &accepted);
	return check_handed(f, fds);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sl_str left = {(const char *)data, size};
	struct sl_wire_frame f;
	ssize_t n;

	while ((n = sl_wire_parse(left, &f)) > 0) {
		fuzz_verdict(check(&f));
		left = sl_str_skip(left, (size_t)n);
	}
	return 0;
}
