/* SPDX-License-Identifier: Apache-2.0 */
/* Shadow routes beside those in force: what would be chosen is what is chosen once they are
 * enforced. */
#include <criterion/criterion.h>
#include "fixture.h"
#include "snapshot/match_index.h"

/* How the route "new" is marked. */
static struct sl_model *model_with(const char *enforced, const char *kind, const char *namespace,
				   const char *annotations, const char *rules)
{
	struct sl_model *m = model_with_services();
	char text[4096];

	if (enforced)
		model_add_route(m, "now", enforced);
	(void)snprintf(text, sizeof(text),
		       "{'apiVersion':'gateway.networking.k8s.io/v1','kind':'%s','metadata':{"
		       "'name':'new','namespace':'%s','annotations':{%s}},'spec':{'parentRefs':[{"
		       "'group':'','kind':'Service','name':'cart','namespace':'shop'}],"
		       "'rules':%s}}",
		       kind, namespace, annotations, rules);
	model_add(m, text);
	return m;
}

#define TO_V1	 "'backendRefs':[{'name':'v1','port':80}]"
#define AT(path) "[{'matches':[{'path':{'value':'" path "'}}]," TO_V1 "}]"

static const struct {
	const char *name, *enforced, *kind, *namespace, *rules;
} cases[] = {
	{"alone", NULL, "HTTPRoute", "shop", AT("/a")},
	{"a longer prefix", AT("/"), "HTTPRoute", "shop", AT("/a")},
	{"a shorter one", AT("/a/b"), "HTTPRoute", "shop", AT("/a")},
	{"the same match", AT("/a"), "HTTPRoute", "shop", AT("/a")},
	{"a header more", AT("/a"), "HTTPRoute", "shop",
	 "[{'matches':[{'path':{'value':'/a'},'headers':[{'name':'x','value':'1'}]}]," TO_V1 "}]"},
	{"a pattern", AT("/"), "HTTPRoute", "shop",
	 "[{'matches':[{'path':{'type':'RegularExpression','value':'/a.*'}}]," TO_V1 "}]"},
	{"consumers hide producers", AT("/"), "HTTPRoute", "team", AT("/a")},
	{"consumers alone", NULL, "HTTPRoute", "team", AT("/a")},
	{"GRPCRoutes hide HTTPRoutes", AT("/"), "GRPCRoute", "shop",
	 "[{'matches':[{'method':{'service':'a'}}]," TO_V1 "}]"},
	{"all rules broken", AT("/a"), "HTTPRoute", "shop",
	 "[{'matches':[{'path':{'type':'RegularExpression','value':'/('}}]," TO_V1 "}]"},
};

static const char *const requests[] = {"GET /", "GET /a", "GET /a/b", "GET /a/b/c x:1",
				       "GET /b x:1"};
static const char *const clients[] = {"", "shop", "team", "other"};

/* What the trial says; NULL, and *ret_status 0, where no table would be in force. */
static const struct sl_rule *would_be(struct compiled *c, const char *client, const char *text,
				      uint16_t *ret_status)
{
	const struct sl_frontend *f = cart_frontend(c);
	const struct sl_route_table *now = sl_frontend_table(f, sl_str_from(client));
	const struct sl_trial *t = sl_frontend_trial(f, sl_str_from(client));
	struct sl_request req = request_from(c, text);
	const struct sl_match *m = NULL;

	if (now)
		m = sl_route_table_find(now, &req, req.path, c->scratch, &c->arena);
	*ret_status = t ? sl_trial_fallback(t) : now ? now->fallback_status : 0;
	if (t)
		m = sl_trial_find(t, now, m, &req, req.path, c->scratch, &c->arena);
	return m ? m->rule : NULL;
}

static const struct sl_rule *would_be_once_enforced(struct compiled *c, const char *client,
						    const char *text, uint16_t *ret_status)
{
	const struct sl_route_table *t = sl_frontend_table(cart_frontend(c), sl_str_from(client));
	struct sl_request req = request_from(c, text);

	*ret_status = t ? t->fallback_status : 0;
	return t ? sl_route_table_match(t, &req, req.path, c->scratch, &c->arena) : NULL;
}

Test(shadow, what_would_be_chosen_is_what_is_chosen_once_it_is_enforced)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct sl_model *on_trial =
			model_with(cases[i].enforced, cases[i].kind, cases[i].namespace,
				   "'sluice.dev/shadow':'true'", cases[i].rules);
		struct sl_model *enforced = model_with(cases[i].enforced, cases[i].kind,
						       cases[i].namespace, "", cases[i].rules);
		struct compiled c = compile_model(on_trial), d = compile_model(enforced);

		for (size_t n = 0; n < sizeof(requests) / sizeof(*requests) * 4; n++) {
			const char *text = requests[n / 4], *client = clients[n % 4];
			uint16_t s, t;
			const struct sl_rule *x = would_be(&c, client, text, &s);
			const struct sl_rule *y = would_be_once_enforced(&d, client, text, &t);

			cr_expect_eq(!x, !y, "%s: %s from %s", cases[i].name, text, client);
			cr_expect(!x || !y || sl_str_eq(x->route, y->route), "%s: %s from %s",
				  cases[i].name, text, client);
			cr_expect_eq(s, t, "%s: %s from %s", cases[i].name, text, client);
		}
		compiled_free(&c);
		compiled_free(&d);
		sl_model_free(on_trial);
		sl_model_free(enforced);
	}
}

Test(shadow, what_is_in_force_is_as_without_them)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct sl_model *m =
			model_with(cases[i].enforced, cases[i].kind, cases[i].namespace,
				   "'sluice.dev/shadow':'true'", cases[i].rules);
		struct compiled c = compile_model(m);
		const struct sl_frontend *f = cart_frontend(&c);

		cr_expect_eq(f->routed, cases[i].enforced != NULL, "%s", cases[i].name);
		cr_expect_eq(c.snap->plan.services.n, 1, "%s: it is steered", cases[i].name);
		for (size_t n = 0; n < sizeof(requests) / sizeof(*requests) * 4; n++) {
			struct sl_str client = sl_str_from(clients[n % 4]);
			const struct sl_rule *rule;

			cr_expect_eq(!sl_frontend_table(f, client), !cases[i].enforced, "%s",
				     cases[i].name);
			if (!cases[i].enforced)
				continue;
			rule = match_request(&c, clients[n % 4], requests[n / 4]);
			cr_expect(!rule || sl_str_eqc(rule->route, "HTTPRoute/shop/now"), "%s",
				  cases[i].name);
		}
		compiled_free(&c);
		sl_model_free(m);
	}
}

static const struct {
	const char *name, *annotations, *kind;
	const char *accepted, *shadow; /* NULL: no such condition */
	size_t n_warnings;
} marks[] = {
	{"not marked", "", "HTTPRoute", "True", NULL, 0},
	{"false", "'sluice.dev/shadow':'false'", "HTTPRoute", "True", NULL, 0},
	{"true", "'sluice.dev/shadow':'true'", "HTTPRoute", "True", "NotEnforced", 0},
	{"true, gRPC", "'sluice.dev/shadow':'true'", "GRPCRoute", "True", "NotEnforced", 0},
	{"a slip", "'sluice.dev/shadow':'True'", "HTTPRoute", "True", "NotEnforced", 1},
	{"nothing", "'sluice.dev/shadow':''", "HTTPRoute", "True", "NotEnforced", 1},
	{"TCPRoutes cannot", "'sluice.dev/shadow':'true'", "TCPRoute", "False", NULL, 0},
	{"TCPRoutes can without", "'sluice.dev/shadow':'false'", "TCPRoute", "True", NULL, 0},
};

Test(shadow, conditions_say_that_a_route_is_not_enforced)
{
	for (size_t i = 0; i < sizeof(marks) / sizeof(*marks); i++) {
		struct sl_model *m = model_with(NULL, marks[i].kind, "shop", marks[i].annotations,
						"[{" TO_V1 "}]");
		struct compiled c = compile_model(m);
		const struct sl_condition *accepted = find_condition(&c, "new", "Accepted");
		const struct sl_condition *shadow = find_condition(&c, "new", "sluice.dev/Shadow");

		cr_expect(sl_str_eqc(accepted->status, marks[i].accepted), "%s", marks[i].name);
		cr_expect_eq(!shadow, !marks[i].shadow, "%s", marks[i].name);
		cr_expect(!shadow || !marks[i].shadow ||
				  (sl_str_eqc(shadow->reason, marks[i].shadow) &&
				   sl_str_eqc(shadow->status, "True")),
			  "%s", marks[i].name);
		cr_expect_eq(c.report->diags.n, marks[i].n_warnings, "%s", marks[i].name);
		compiled_free(&c);
		sl_model_free(m);
	}
}
