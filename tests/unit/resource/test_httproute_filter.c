/* SPDX-License-Identifier: Apache-2.0 */
#define KIND "HTTPRoute"
#include "routes.h"

Test(httproute_filter, filters_are_read)
{
	const struct sl_filter_spec *f;
	struct decoded d;

	decode(RULE
	       "filters:\n"
	       "    - type: RequestHeaderModifier\n      requestHeaderModifier:\n"
	       "        set: [{name: X-A, value: ' 1 '}]\n        add: [{name: x-b, value: '2'}]\n"
	       "        remove: [x-c, X-D]\n"
	       "    - type: ResponseHeaderModifier\n      responseHeaderModifier: {set: [{name: "
	       "host, value: h}]}\n"
	       "    - type: URLRewrite\n      urlRewrite:\n        hostname: a.example\n"
	       "        path: {type: ReplacePrefixMatch, replacePrefixMatch: ''}\n"
	       "  - filters:\n    - type: RequestRedirect\n      requestRedirect:\n        scheme: "
	       "https\n"
	       "        hostname: b.example\n        port: 8443\n        statusCode: 307\n"
	       "        path: {type: ReplaceFullPath, replaceFullPath: /x}\n"
	       "  - filters: [{type: RequestRedirect, requestRedirect: {}}]\n"
	       "  - filters:\n    - type: CORS\n      cors: {allowOrigins: ['http://*.a:81'], "
	       "allowMethods: ['*'], allowHeaders: [X-A, x-b]}\n"
	       "  - filters:\n"
	       "    - {type: RequestMirror, requestMirror: {backendRef: {name: a, port: 80}}}\n"
	       "    - type: RequestMirror\n      requestMirror:\n        percent: 5\n"
	       "        backendRef: {name: a, namespace: other, port: 81}\n"
	       "    - type: RequestMirror\n      requestMirror:\n"
	       "        fraction: {numerator: 2, denominator: 3}\n"
	       "        backendRef: {name: a, port: 80}\n"
	       "  - filters:\n    - type: ExternalAuth\n      externalAuth:\n"
	       "        protocol: HTTP\n        backendRef: {name: a, port: 80}\n"
	       "        http: {path: /p/, allowedHeaders: [A], allowedResponseHeaders: [B, C]}\n"
	       "        forwardBody: {maxSize: 7}\n",
	       &d);
	cr_assert_eq(route(&d)->n_rules, 6);
	cr_expect_eq(d.diags.n, 0);
	f = route(&d)->rules[0].filters;
	cr_assert_eq(route(&d)->rules[0].n_filters, 3);
	cr_expect_eq(f[0].type, SL_FILTER_REQUEST_HEADERS);
	expect_str(f[0].type_name, "RequestHeaderModifier");
	cr_assert(f[0].headers.n_set == 1 && f[0].headers.n_add == 1 && f[0].headers.n_remove == 2);
	expect_str(f[0].headers.set[0].name, "X-A");
	expect_str(f[0].headers.set[0].value, "1");
	expect_str(f[0].headers.add[0].value, "2");
	expect_str(f[0].headers.remove[1], "X-D");
	cr_expect_eq(f[1].type, SL_FILTER_RESPONSE_HEADERS);
	cr_expect_eq(f[2].type, SL_FILTER_REWRITE);
	expect_str(f[2].rewrite.hostname, "a.example");
	cr_expect_eq(f[2].rewrite.path.type, SL_PATH_REPLACE_PREFIX);
	expect_str(f[2].rewrite.path.value, "");
	f = route(&d)->rules[1].filters;
	cr_expect_eq(f->type, SL_FILTER_REDIRECT);
	expect_str(f->redirect.scheme, "https");
	expect_str(f->redirect.hostname, "b.example");
	cr_expect_eq(f->redirect.port, 8443);
	cr_expect_eq(f->redirect.status_code, 307);
	cr_expect_eq(f->redirect.path.type, SL_PATH_REPLACE_FULL);
	expect_str(f->redirect.path.value, "/x");
	f = route(&d)->rules[2].filters;
	cr_expect_eq(f->redirect.status_code, 302);
	cr_expect_eq(f->redirect.port, 0);
	cr_expect_eq(f->redirect.path.type, SL_PATH_MODIFIER_NONE);
	expect_str(f->redirect.scheme, "");
	expect_str(f->redirect.hostname, "");
	f = route(&d)->rules[3].filters;
	cr_expect_eq(f->type, SL_FILTER_CORS);
	cr_assert(f->cors.origins.n == 1 && f->cors.methods.n == 1 && f->cors.headers.n == 2);
	expect_str(f->cors.origins.items[0], "http://*.a:81");
	expect_str(f->cors.methods.items[0], "*");
	expect_str(f->cors.headers.items[1], "x-b");
	cr_expect_eq(f->cors.exposed.n, 0);
	cr_expect_eq(f->cors.max_age_s, 5);
	cr_expect_not(f->cors.credentials);
	f = route(&d)->rules[4].filters;
	cr_assert_eq(route(&d)->rules[4].n_filters, 3);
	cr_expect(f[0].mirror.of.numerator == 100 && f[0].mirror.of.denominator == 100);
	expect_str(f[0].mirror.backend->namespace, "shop");
	cr_expect(f[1].mirror.of.numerator == 5 && f[1].mirror.of.denominator == 100);
	expect_str(f[1].mirror.backend->namespace, "other");
	cr_expect_eq(f[1].mirror.backend->port, 81);
	cr_expect(f[2].mirror.of.numerator == 2 && f[2].mirror.of.denominator == 3);
	f = route(&d)->rules[5].filters;
	cr_expect(!f->auth.grpc && f->auth.body_bytes == 7);
	expect_str(f->auth.backend->name, "a");
	expect_str(f->auth.path, "/p/");
	cr_assert(f->auth.request_headers.n == 1 && f->auth.response_headers.n == 2);
	expect_str(f->auth.response_headers.items[1], "C");
	decoded_free(&d);
}

Test(httproute_filter, a_bad_filter_costs_its_rule)
{
	static const struct problem_case cases[] = {
		{"filters", "{filters: x}", "spec.rules[0].filters", 6, "expected array"},
		{"filter", "{filters: [x]}", "spec.rules[0].filters[0]", 6, "expected object"},
		{"no type", "{filters: [{}]}", "spec.rules[0].filters[0].type", 6, "required"},
		{"unknown type", "{filters: [{type: Magic}]}", "spec.rules[0].filters[0].type", 6,
		 "filter type \"Magic\" is not known"},
		{"mirror to nobody", "{filters: [{type: RequestMirror, requestMirror: {}}]}",
		 "spec.rules[0].filters[0].requestMirror.backendRef", 6, "required"},
		{"mirror without a port",
		 "{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: a}}}]}",
		 "spec.rules[0].filters[0].requestMirror.backendRef.port", 6,
		 "required for a Service"},
		{"mirror of too many",
		 "{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: a, port: 1}, "
		 "percent: 101}}]}",
		 "spec.rules[0].filters[0].requestMirror.percent", 6, "must be from 0 to 100"},
		{"mirror by percent and fraction",
		 "{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: a, port: 1}, "
		 "percent: 1, fraction: {numerator: 1}}}]}",
		 "spec.rules[0].filters[0].requestMirror.fraction", 6, "beside percent"},
		{"mirror without a numerator",
		 "{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: a, port: 1}, "
		 "fraction: {denominator: 5}}}]}",
		 "spec.rules[0].filters[0].requestMirror.fraction.numerator", 6, "required"},
		{"mirror of more than all",
		 "{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: a, port: 1}, "
		 "fraction: {numerator: 101}}}]}",
		 "spec.rules[0].filters[0].requestMirror.fraction.numerator", 6,
		 "must not be greater than the denominator"},
		{"mirror of nothing",
		 "{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: a, port: 1}, "
		 "fraction: {numerator: 0, denominator: 0}}}]}",
		 "spec.rules[0].filters[0].requestMirror.fraction.denominator", 6,
		 "must be from 1"},
		{"cors origin", "{filters: [{type: CORS, cors: {allowOrigins: [foo.com]}}]}",
		 "spec.rules[0].filters[0].cors.allowOrigins[0]", 6, "must be \"*\", or http"},
		{"cors origin with a path",
		 "{filters: [{type: CORS, cors: {allowOrigins: ['http://a/']}}]}",
		 "spec.rules[0].filters[0].cors.allowOrigins[0]", 6, "must be \"*\", or http"},
		{"cors origin with a bad port",
		 "{filters: [{type: CORS, cors: {allowOrigins: ['http://a:70000']}}]}",
		 "spec.rules[0].filters[0].cors.allowOrigins[0]", 6, "must be \"*\", or http"},
		{"cors origin open in the middle",
		 "{filters: [{type: CORS, cors: {allowOrigins: ['http://a.*.b']}}]}",
		 "spec.rules[0].filters[0].cors.allowOrigins[0]", 6, "must be \"*\", or http"},
		{"cors origin beside all",
		 "{filters: [{type: CORS, cors: {allowOrigins: ['*', 'http://a']}}]}",
		 "spec.rules[0].filters[0].cors.allowOrigins", 6, "nothing beside \"*\""},
		{"cors method", "{filters: [{type: CORS, cors: {allowMethods: [get]}}]}",
		 "spec.rules[0].filters[0].cors.allowMethods[0]", 6, "must be a method"},
		{"cors header", "{filters: [{type: CORS, cors: {allowHeaders: ['a b']}}]}",
		 "spec.rules[0].filters[0].cors.allowHeaders[0]", 6, "RFC 9110 token"},
		{"cors exposed", "{filters: [{type: CORS, cors: {exposeHeaders: [a, '*']}}]}",
		 "spec.rules[0].filters[0].cors.exposeHeaders", 6, "nothing beside \"*\""},
		{"cors age", "{filters: [{type: CORS, cors: {maxAge: 0}}]}",
		 "spec.rules[0].filters[0].cors.maxAge", 6, "must be from 1"},
		{"auth without a protocol",
		 "{filters: [{type: ExternalAuth, externalAuth: {backendRef: {name: a, port: "
		 "1}}}]}",
		 "spec.rules[0].filters[0].externalAuth.protocol", 6, "required"},
		{"auth protocol",
		 "{filters: [{type: ExternalAuth, externalAuth: {protocol: UDP, backendRef: {name: "
		 "a, "
		 "port: 1}}}]}",
		 "spec.rules[0].filters[0].externalAuth.protocol", 6, "must be one of HTTP, GRPC"},
		{"auth by nobody",
		 "{filters: [{type: ExternalAuth, externalAuth: {protocol: HTTP}}]}",
		 "spec.rules[0].filters[0].externalAuth.backendRef", 6, "required"},
		{"auth of the other protocol",
		 "{filters: [{type: ExternalAuth, externalAuth: {protocol: GRPC, http: {}, "
		 "backendRef: "
		 "{name: a, port: 1}}}]}",
		 "spec.rules[0].filters[0].externalAuth.http", 6,
		 "must not be set when protocol is GRPC"},
		{"auth path",
		 "{filters: [{type: ExternalAuth, externalAuth: {protocol: HTTP, http: {path: a}, "
		 "backendRef: {name: a, port: 1}}}]}",
		 "spec.rules[0].filters[0].externalAuth.http.path", 6, "must be empty, or a path"},
		{"auth header",
		 "{filters: [{type: ExternalAuth, externalAuth: {protocol: GRPC, grpc: "
		 "{allowedHeaders: "
		 "['a b']}, backendRef: {name: a, port: 1}}}]}",
		 "spec.rules[0].filters[0].externalAuth.grpc.allowedHeaders[0]", 6,
		 "RFC 9110 token"},
		{"auth body",
		 "{filters: [{type: ExternalAuth, externalAuth: {protocol: HTTP, forwardBody: "
		 "{maxSize: "
		 "-1}, backendRef: {name: a, port: 1}}}]}",
		 "spec.rules[0].filters[0].externalAuth.forwardBody.maxSize", 6, "must be from 0"},
		{"extension", "{filters: [{type: ExtensionRef, extensionRef: {}}]}",
		 "spec.rules[0].filters[0].type", 6,
		 "filter type ExtensionRef is not supported by this version"},
		{"no member", "{filters: [{type: URLRewrite}]}",
		 "spec.rules[0].filters[0].urlRewrite", 6, "required for type URLRewrite"},
		{"other member",
		 "{filters: [{type: URLRewrite, urlRewrite: {}, requestRedirect: {}}]}",
		 "spec.rules[0].filters[0].requestRedirect", 6,
		 "must not be set when type is URLRewrite"},
		{"member type", "{filters: [{type: URLRewrite, urlRewrite: 1}]}",
		 "spec.rules[0].filters[0].urlRewrite", 6, "expected object"},
		{"set name",
		 "{filters: [{type: RequestHeaderModifier, requestHeaderModifier: "
		 "{set: [{name: ':path', value: a}]}}]}",
		 "spec.rules[0].filters[0].requestHeaderModifier.set[0].name", 6, "RFC 9110 token"},
		{"set value",
		 "{filters: [{type: RequestHeaderModifier, requestHeaderModifier: "
		 "{set: [{name: a, value: \"b\\r\\nc: d\"}]}}]}",
		 "spec.rules[0].filters[0].requestHeaderModifier.set[0].value", 6,
		 "control characters, got \"b??c: d\""},
		{"set without value",
		 "{filters: [{type: RequestHeaderModifier, requestHeaderModifier: "
		 "{set: [{name: a}]}}]}",
		 "spec.rules[0].filters[0].requestHeaderModifier.set[0].value", 6, "required"},
		{"set framing",
		 "{filters: [{type: RequestHeaderModifier, requestHeaderModifier: "
		 "{set: [{name: Content-Length, value: '1'}]}}]}",
		 "spec.rules[0].filters[0].requestHeaderModifier.set[0]", 6,
		 "belongs to the connection"},
		{"add framing",
		 "{filters: [{type: ResponseHeaderModifier, responseHeaderModifier: "
		 "{add: [{name: transfer-encoding, value: x}]}}]}",
		 "spec.rules[0].filters[0].responseHeaderModifier.add[0]", 6,
		 "belongs to the connection"},
		{"remove framing",
		 "{filters: [{type: RequestHeaderModifier, requestHeaderModifier: "
		 "{remove: [Connection]}}]}",
		 "spec.rules[0].filters[0].requestHeaderModifier.remove[0]", 6,
		 "belongs to the connection"},
		{"remove pseudo",
		 "{filters: [{type: RequestHeaderModifier, requestHeaderModifier: "
		 "{remove: [':authority']}}]}",
		 "spec.rules[0].filters[0].requestHeaderModifier.remove[0]", 6, "RFC 9110 token"},
		{"remove null",
		 "{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {remove: "
		 "[null]}}]}",
		 "spec.rules[0].filters[0].requestHeaderModifier.remove[0]", 6,
		 "expected string, got null"},
		{"set and add",
		 "{filters: [{type: RequestHeaderModifier, requestHeaderModifier: "
		 "{set: [{name: A, value: b}], add: [{name: a, value: c}]}}]}",
		 "spec.rules[0].filters[0].requestHeaderModifier.add[0]", 6,
		 "only one action for header \"a\""},
		{"set twice",
		 "{filters: [{type: RequestHeaderModifier, requestHeaderModifier: "
		 "{set: [{name: a, value: b}, {name: A, value: c}]}}]}",
		 "spec.rules[0].filters[0].requestHeaderModifier.set[1]", 6, "only one action"},
		{"set and remove",
		 "{filters: [{type: RequestHeaderModifier, requestHeaderModifier: "
		 "{set: [{name: a, value: b}], remove: [a]}}]}",
		 "spec.rules[0].filters[0].requestHeaderModifier.remove[0]", 6, "only one action"},
		{"remove twice",
		 "{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {remove: [a, "
		 "A]}}]}",
		 "spec.rules[0].filters[0].requestHeaderModifier.remove[1]", 6, "only one action"},
		{"scheme", "{filters: [{type: RequestRedirect, requestRedirect: {scheme: ftp}}]}",
		 "spec.rules[0].filters[0].requestRedirect.scheme", 6,
		 "must be one of http, https"},
		{"host", "{filters: [{type: RequestRedirect, requestRedirect: {hostname: '*.a'}}]}",
		 "spec.rules[0].filters[0].requestRedirect.hostname", 6, "must be a host name"},
		{"port", "{filters: [{type: RequestRedirect, requestRedirect: {port: 0}}]}",
		 "spec.rules[0].filters[0].requestRedirect.port", 6, "must be from 1"},
		{"code", "{filters: [{type: RequestRedirect, requestRedirect: {statusCode: 304}}]}",
		 "spec.rules[0].filters[0].requestRedirect.statusCode", 6,
		 "must be one of 301, 302, 303, 307, 308, got 304"},
		{"path type missing",
		 "{filters: [{type: RequestRedirect, requestRedirect: {path: {}}}]}",
		 "spec.rules[0].filters[0].requestRedirect.path.type", 6, "required"},
		{"path type", "{filters: [{type: URLRewrite, urlRewrite: {path: {type: Regex}}}]}",
		 "spec.rules[0].filters[0].urlRewrite.path.type", 6,
		 "must be one of ReplaceFullPath, ReplacePrefixMatch"},
		{"full path missing",
		 "{filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath}}}]}",
		 "spec.rules[0].filters[0].urlRewrite.path.replaceFullPath", 6, "required"},
		{"other path",
		 "{filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, "
		 "replaceFullPath: /a, replacePrefixMatch: /b}}}]}",
		 "spec.rules[0].filters[0].urlRewrite.path.replacePrefixMatch", 6,
		 "must not be set when type is"},
		{"full path relative",
		 "{filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, "
		 "replaceFullPath: a}}}]}",
		 "spec.rules[0].filters[0].urlRewrite.path.replaceFullPath", 6,
		 "must be a path that starts with"},
		{"full path empty",
		 "{filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, "
		 "replaceFullPath: ''}}}]}",
		 "spec.rules[0].filters[0].urlRewrite.path.replaceFullPath", 6,
		 "must be a path that starts with"},
		{"path splits a request",
		 "{filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, "
		 "replaceFullPath: \"/ HTTP/1.1\\r\\n\"}}}]}",
		 "spec.rules[0].filters[0].urlRewrite.path.replaceFullPath", 6, "RFC 3986"},
		{"prefix",
		 "{filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, "
		 "replacePrefixMatch: 'a?b'}}}]}",
		 "spec.rules[0].filters[0].urlRewrite.path.replacePrefixMatch", 6,
		 "must be empty, or a path"},
		{"redirect and backends",
		 "{filters: [{type: RequestRedirect, requestRedirect: {}}], "
		 "backendRefs: [{name: a, port: 1}]}",
		 "spec.rules[0].filters[0]", 6,
		 "RequestRedirect cannot be used together with backendRefs"},
		{"prefix with exact match",
		 "{matches: [{path: {type: Exact, value: /a}}], filters: [{type: URLRewrite, "
		 "urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /b}}}]}",
		 "spec.rules[0].filters[0]", 6, "ReplacePrefixMatch needs exactly one match"},
		{"prefix with two matches",
		 "{matches: [{}, {}], filters: [{type: RequestRedirect, requestRedirect: "
		 "{path: {type: ReplacePrefixMatch, replacePrefixMatch: /b}}}]}",
		 "spec.rules[0].filters[0]", 6, "ReplacePrefixMatch needs exactly one match"},
		{"prefix in a backend",
		 "{matches: [{path: {type: RegularExpression, value: a}}], backendRefs: [{name: a, "
		 "port: 1, filters: [{type: URLRewrite, urlRewrite: {path: "
		 "{type: ReplacePrefixMatch, replacePrefixMatch: /b}}}]}]}",
		 "spec.rules[0].backendRefs[0].filters[0]", 6,
		 "ReplacePrefixMatch needs exactly one match"},
	};

	check_rules(cases, "UnsupportedValue");
}

Test(httproute_filter, filters_that_exclude_each_other_cost_the_rule)
{
	static const struct problem_case cases[] = {
		{"redirect and rewrite",
		 "{filters: [{type: RequestRedirect, requestRedirect: {}}, "
		 "{type: URLRewrite, urlRewrite: {}}]}",
		 "spec.rules[0].filters[1]", 6,
		 "RequestRedirect and URLRewrite cannot be used together"},
		{"rewrite and redirect",
		 "{filters: [{type: URLRewrite, urlRewrite: {}}, "
		 "{type: RequestRedirect, requestRedirect: {}}]}",
		 "spec.rules[0].filters[1]", 6,
		 "RequestRedirect and URLRewrite cannot be used together"},
		{"rewrite twice",
		 "{filters: [{type: URLRewrite, urlRewrite: {}}, {type: URLRewrite, urlRewrite: "
		 "{}}]}",
		 "spec.rules[0].filters[1]", 6, "filter type URLRewrite cannot be repeated"},
		{"modifier twice",
		 "{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {}}, "
		 "{type: ResponseHeaderModifier, responseHeaderModifier: {}}, "
		 "{type: RequestHeaderModifier, requestHeaderModifier: {}}]}",
		 "spec.rules[0].filters[2]", 6,
		 "filter type RequestHeaderModifier cannot be repeated"},
		{"in a backend",
		 "{backendRefs: [{name: a, port: 1, filters: [{type: RequestRedirect, "
		 "requestRedirect: {}}, "
		 "{type: URLRewrite, urlRewrite: {}}]}]}",
		 "spec.rules[0].backendRefs[0].filters[1]", 6, "cannot be used together"},
	};

	check_rules(cases, "IncompatibleFilters");
}
