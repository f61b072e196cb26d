/* SPDX-License-Identifier: Apache-2.0 */
/* The CORS filter, from the rule as written to what a browser reads. */
#include "rig.h"

#define RULE(fields, behind)                                            \
	"  - filters:\n    - {type: CORS, cors: {" fields "}}\n" behind \
	"    backendRefs: [{name: v1, port: 80}]\n"
#define SIMPLE	"GET / HTTP/1.1\r\nHost: cart\r\n"
#define ASK	"OPTIONS / HTTP/1.1\r\nHost: cart\r\n"
#define OPEN	"HTTP/1.1 200 OK\r\n"
#define OK_BODY "Content-Length: 2\r\n\r\nok"
#define NOBODY	"Content-Length: 0\r\n\r\n"

static struct rig r;
static struct rig_peer client, server;

static void set_up(void)
{
	client = server = RIG_PEER_INIT;
	rig_init(&r);
}

static void tear_down(void)
{
	rig_close(&client);
	rig_close(&server);
	rig_stop(&r);
}

TestSuite(cors, .init = set_up, .fini = tear_down);

/* The fields of the conformance test of the API. */
#define LISTED                                                                   \
	"allowOrigins: ['https://www.foo.com', 'https://*.bar.com'], "           \
	"allowMethods: [GET, OPTIONS], allowHeaders: [x-header-1, x-header-2], " \
	"exposeHeaders: [x-header-3, x-header-4], allowCredentials: true, maxAge: 3600"
#define LISTED_ANSWER(origin)                                           \
	OPEN "Access-Control-Allow-Methods: GET, OPTIONS\r\n"           \
	     "Access-Control-Allow-Headers: x-header-1, x-header-2\r\n" \
	     "Access-Control-Max-Age: 3600\r\nVary: Origin\r\n"         \
	     "Access-Control-Allow-Origin: " origin "\r\n"              \
	     "Access-Control-Allow-Credentials: true\r\n"               \
	     "Access-Control-Expose-Headers: x-header-3, x-header-4\r\n" NOBODY
#define WANTS(method, headers) "Access-Control-Request-Method: " method "\r\n" headers
#define WANTS_HEADERS	       "Access-Control-Request-Headers: x-header-1, x-header-2\r\n"
#define ALL		       "allowOrigins: ['*'], allowMethods: ['*'], allowHeaders: ['*'], exposeHeaders: ['*']"

static const struct {
	const char *name, *rule, *request, *answer;
} preflights[] = {
	{"exact origin", RULE(LISTED, ""),
	 ASK "Origin: https://www.foo.com\r\n" WANTS("GET", WANTS_HEADERS) "\r\n",
	 LISTED_ANSWER("https://www.foo.com")},
	{"without case", RULE(LISTED, ""),
	 ASK "Origin: https://WWW.foo.com\r\n" WANTS("GET", WANTS_HEADERS) "\r\n",
	 LISTED_ANSWER("https://WWW.foo.com")},
	{"the port that the scheme implies", RULE(LISTED, ""),
	 ASK "Origin: https://www.foo.com:443\r\n" WANTS("GET", WANTS_HEADERS) "\r\n",
	 LISTED_ANSWER("https://www.foo.com:443")},
	{"open origin", RULE(LISTED, ""),
	 ASK "Origin: https://www.bar.com\r\n" WANTS("GET", WANTS_HEADERS) "\r\n",
	 LISTED_ANSWER("https://www.bar.com")},
	{"several labels", RULE(LISTED, ""),
	 ASK "Origin: https://xpto.www.bar.com\r\n" WANTS("GET", WANTS_HEADERS) "\r\n",
	 LISTED_ANSWER("https://xpto.www.bar.com")},
	{"no label", RULE(LISTED, ""), ASK "Origin: https://bar.com\r\n" WANTS("GET", "") "\r\n",
	 OPEN "Vary: Origin\r\n" NOBODY},
	{"an empty label", RULE(LISTED, ""),
	 ASK "Origin: https://.bar.com\r\n" WANTS("GET", "") "\r\n",
	 OPEN "Vary: Origin\r\n" NOBODY},
	{"another scheme", RULE(LISTED, ""),
	 ASK "Origin: http://www.foo.com\r\n" WANTS("GET", "") "\r\n",
	 OPEN "Vary: Origin\r\n" NOBODY},
	{"another port", RULE(LISTED, ""),
	 ASK "Origin: https://www.foo.com:8443\r\n" WANTS("GET", "") "\r\n",
	 OPEN "Vary: Origin\r\n" NOBODY},
	{"another host", RULE(LISTED, ""),
	 ASK "Origin: https://foobar.com\r\n" WANTS("GET", "") "\r\n",
	 OPEN "Vary: Origin\r\n" NOBODY},
	{"no origin at all", RULE(LISTED, ""), ASK "Origin: null\r\n" WANTS("GET", "") "\r\n",
	 OPEN "Vary: Origin\r\n" NOBODY},
	{"user information", RULE(LISTED, ""),
	 ASK "Origin: https://x@www.foo.com\r\n" WANTS("GET", "") "\r\n",
	 OPEN "Vary: Origin\r\n" NOBODY},
	{"a port of the rule", RULE("allowOrigins: ['http://*:8080']", ""),
	 ASK "Origin: http://any.example:8080\r\n" WANTS("GET", "") "\r\n",
	 OPEN "Access-Control-Max-Age: 5\r\nVary: Origin\r\n"
	      "Access-Control-Allow-Origin: http://any.example:8080\r\n" NOBODY},
	{"any host means the scheme's port", RULE("allowOrigins: ['http://*']", ""),
	 ASK "Origin: http://any.example:8080\r\n" WANTS("GET", "") "\r\n",
	 OPEN "Vary: Origin\r\n" NOBODY},
	{"an IPv6 origin", RULE("allowOrigins: ['http://*']", ""),
	 ASK "Origin: http://[fd00::1]\r\n" WANTS("GET", "") "\r\n",
	 OPEN "Access-Control-Max-Age: 5\r\nVary: Origin\r\n"
	      "Access-Control-Allow-Origin: http://[fd00::1]\r\n" NOBODY},
	{"everything", RULE(ALL, ""), ASK "Origin: https://x.example:1\r\n" WANTS("PUT", "") "\r\n",
	 OPEN "Access-Control-Allow-Methods: *\r\nAccess-Control-Allow-Headers: *\r\n"
	      "Access-Control-Max-Age: 5\r\nAccess-Control-Allow-Origin: *\r\n"
	      "Access-Control-Expose-Headers: *\r\n" NOBODY},
	{"everything with credentials", RULE(ALL ", allowCredentials: true", ""),
	 ASK "Origin: https://x.example\r\n" WANTS("PUT", WANTS_HEADERS) "\r\n",
	 OPEN "Access-Control-Allow-Methods: PUT\r\n"
	      "Access-Control-Allow-Headers: x-header-1, x-header-2\r\n"
	      "Access-Control-Max-Age: 5\r\nVary: Origin\r\n"
	      "Access-Control-Allow-Origin: https://x.example\r\n"
	      "Access-Control-Allow-Credentials: true\r\n" NOBODY},
	{"nothing asked for with credentials", RULE(ALL ", allowCredentials: true", ""),
	 ASK "Origin: https://x.example\r\n" WANTS("PUT", "") "\r\n",
	 OPEN "Access-Control-Allow-Methods: PUT\r\n"
	      "Access-Control-Max-Age: 5\r\nVary: Origin\r\n"
	      "Access-Control-Allow-Origin: https://x.example\r\n"
	      "Access-Control-Allow-Credentials: true\r\n" NOBODY},
	{"no origins are allowed", RULE("maxAge: 1", ""),
	 ASK "Origin: https://x.example\r\n" WANTS("GET", "") "\r\n",
	 OPEN "Vary: Origin\r\n" NOBODY},
	{"of a backendRef",
	 "  - backendRefs:\n    - name: v1\n      port: 80\n"
	 "      filters: [{type: CORS, cors: {allowOrigins: ['*']}}]\n",
	 ASK "Origin: https://x.example\r\n" WANTS("GET", "") "\r\n",
	 OPEN "Access-Control-Max-Age: 5\r\nAccess-Control-Allow-Origin: *\r\n" NOBODY},
};

Test(cors, preflights_are_answered_without_the_backend)
{
	rig_start(&r);
	rig_connect(&r, &client);
	for (size_t i = 0; i < sizeof(preflights) / sizeof(*preflights); i++) {
		rig_configure(&r, preflights[i].rule);
		rig_send(&r, &client, preflights[i].request);
		rig_expect_for(&r, &client, preflights[i].answer, preflights[i].name);
	}
	cr_assert_eq(rig_ended(&r, SL_END_ANSWERED), sizeof(preflights) / sizeof(*preflights));
	cr_assert(!rig_pending(&r, &r.backends[0]));
}

#define DROP_ORIGIN \
	"    - {type: RequestHeaderModifier, requestHeaderModifier: {remove: [Origin]}}\n"

static const struct {
	const char *name, *rule, *request, *seen, *answered, *answer;
} others[] = {
	{"an allowed origin", RULE(LISTED, ""), SIMPLE "Origin: https://www.foo.com\r\n\r\n", NULL,
	 OPEN OK_BODY,
	 OPEN "Vary: Origin\r\nAccess-Control-Allow-Origin: https://www.foo.com\r\n"
	      "Access-Control-Allow-Credentials: true\r\n"
	      "Access-Control-Expose-Headers: x-header-3, x-header-4\r\n" OK_BODY},
	{"another origin", RULE(LISTED, ""), SIMPLE "Origin: https://foobar.com\r\n\r\n", NULL,
	 OPEN OK_BODY, OPEN "Vary: Origin\r\n" OK_BODY},
	{"no origin", RULE(LISTED, ""), SIMPLE "\r\n", NULL, OPEN OK_BODY,
	 OPEN "Vary: Origin\r\n" OK_BODY},
	{"what the backend says does not count", RULE(LISTED, ""),
	 SIMPLE "Origin: https://foobar.com\r\n\r\n", NULL,
	 OPEN "Access-Control-Allow-Origin: *\r\naccess-control-allow-credentials: true\r\n"
	      "Access-Control-Expose-Headers: x\r\nvary: origin\r\n" OK_BODY,
	 OPEN "vary: origin\r\n" OK_BODY},
	{"everybody", RULE("allowOrigins: ['*']", ""), SIMPLE "Origin: null\r\n\r\n", NULL,
	 OPEN OK_BODY, OPEN "Access-Control-Allow-Origin: *\r\n" OK_BODY},
	{"OPTIONS of another purpose", RULE(LISTED, ""), ASK "Origin: https://www.foo.com\r\n\r\n",
	 NULL, OPEN OK_BODY,
	 OPEN "Vary: Origin\r\nAccess-Control-Allow-Origin: https://www.foo.com\r\n"
	      "Access-Control-Allow-Credentials: true\r\n"
	      "Access-Control-Expose-Headers: x-header-3, x-header-4\r\n" OK_BODY},
	{"a preflight without an origin", RULE(LISTED, ""), ASK WANTS("GET", "") "\r\n", NULL,
	 OPEN OK_BODY, OPEN "Vary: Origin\r\n" OK_BODY},
	{"the origin is taken out behind the filter",
	 RULE("allowOrigins: ['http://a.example']", DROP_ORIGIN),
	 SIMPLE "Origin: http://a.example\r\n\r\n", SIMPLE "\r\n", OPEN OK_BODY,
	 OPEN "Vary: Origin\r\nAccess-Control-Allow-Origin: http://a.example\r\n" OK_BODY},
};

Test(cors, other_requests_go_on_and_the_route_says_who_reads_the_answer)
{
	rig_start(&r);
	rig_connect(&r, &client);
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
		rig_configure(&r, others[i].rule);
		rig_send(&r, &client, others[i].request);
		if (!i)
			rig_accept(&r, &r.backends[0], &server);
		rig_expect_for(&r, &server, others[i].seen ? others[i].seen : others[i].request,
			       others[i].name);
		rig_send(&r, &server, others[i].answered);
		rig_expect_for(&r, &client, others[i].answer, others[i].name);
	}
}
