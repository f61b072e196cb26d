/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include "base/alloc.h"
#include "sluicectl/view.h"
#include "../../lib/leak.h"

typedef int (*view_fn)(const json_t *answer, struct sl_buf *out);

#define ROUTES                                                                                     \
	"'routes':[{'kind':'HTTPRoute','namespace':'shop','name':'cart','requests':12,"            \
	"'parents':[{'parentRef':{'name':'cart','port':80},'controllerName':'c','conditions':["    \
	"{'type':'Accepted','status':'True','reason':'Accepted','message':''},"                    \
	"{'type':'ResolvedRefs','status':'False','reason':'BackendNotFound',"                      \
	"'message':'Service shop/v3 does not exist'},"                                             \
	"{'type':'PartiallyInvalid','status':'True','reason':'UnsupportedValue','message':'x'}]}," \
	"{'parentRef':{'kind':'Service','namespace':'web','name':'front'},'controllerName':'c',"   \
	"'conditions':[{'type':'Accepted','status':'True','reason':'Accepted','message':''},"      \
	"{'type':'ResolvedRefs','status':'True','reason':'ResolvedRefs','message':''},"            \
	"{'type':'PartiallyInvalid','status':'False','reason':'Fine','message':''}]}],"            \
	"'rules':[{'name':'0'},{'name':'1'}]},"                                                    \
	"{'kind':'GRPCRoute','namespace':'a','name':'b','parents':[],'rules':[],'requests':0}]"

static const struct {
	const char *name;
	view_fn view;
	const char *answer; /* ' for " */
	const char *text;
} cases[] = {
	{"routes", sl_view_routes, "{" ROUTES "}",
	 "ROUTE                PARENT                ACCEPTED  RESOLVEDREFS  RULES  REQUESTS  "
	 "PROBLEM\n"
	 "HTTPRoute/shop/cart  Service/shop/cart:80  True      False         2      12        "
	 "BackendNotFound: Service shop/v3 does not exist; UnsupportedValue: x\n"
	 "HTTPRoute/shop/cart  Service/web/front     True      True          2      12        -\n"
	 "GRPCRoute/a/b        -                     -         -             0      0         -\n"},
	{"no routes", sl_view_routes, "{'routes':[]}", "no routes\n"},
	{"a shadow route", sl_view_routes,
	 "{'routes':[{'kind':'HTTPRoute','namespace':'shop','name':'next','requests':0,'rules':[],"
	 "'shadow':{'evaluated':40,'matched':12,'differs':3},'parents':[{'parentRef':{'name':'cart'"
	 "},'conditions':[{'type':'Accepted','status':'True','reason':'Accepted','message':''},"
	 "{'type':'sluice.dev/Shadow','status':'True','reason':'NotEnforced','message':'x'}]},"
	 "{'parentRef':{'name':'tcp'},'conditions':[{'type':'sluice.dev/Shadow','status':'False',"
	 "'reason':'NotEvaluated','message':'y'}]}]}]}",
	 "ROUTE                PARENT             ACCEPTED  RULES  REQUESTS  SHADOW                "
	 "  "
	 "  PROBLEM\n"
	 "HTTPRoute/shop/next  Service/shop/cart  True      0      0         takes 12 of 40, 3 "
	 "differ"
	 "  -\n"
	 "HTTPRoute/shop/next  Service/shop/tcp   -         0      0         takes 12 of 40, 3 "
	 "differ"
	 "  NotEvaluated: y\n"},
	{"an explanation with shadow routes", sl_view_explain,
	 "{'namespace':'','service':'shop/cart:80','table':'none','result':{'kind':'pass_through',"
	 "'reason':'so'},'shadow':{'verdict':'differs','differs':['backends','path'],'rules':[{"
	 "'route':'HTTPRoute/shop/next','rule':'0','match':'PathPrefix "
	 "/','verdict':'takes'}],'rule':"
	 "{'route':'HTTPRoute/shop/next','name':'0'},'result':{'kind':'backends','path':'/x',"
	 "'authority':'h'}}}",
	 "From                a client that the agent does not know\n"
	 "Service             shop/cart:80\n"
	 "Rules               none\n"
	 "Result              passes through: so\n"
	 "\n"
	 "Shadow              if its shadow routes were enforced, these would differ: backends, "
	 "path\n"
	 "Taken by            HTTPRoute/shop/next, rule 0\n"
	 "Result              sent as /x, Host h\n"
	 "\n"
	 "ROUTE                RULE  MATCH         VERDICT\n"
	 "HTTPRoute/shop/next  0     PathPrefix /  takes the request\n"},
	{"an explanation without a difference", sl_view_explain,
	 "{'namespace':'','service':'s','table':'none','result':{'kind':'pass_through','reason':'"
	 "so'},"
	 "'shadow':{'verdict':'unaffected','differs':[],'rules':[]}}",
	 "From                a client that the agent does not know\n"
	 "Service             s\n"
	 "Rules               none\n"
	 "Result              passes through: so\n"
	 "\n"
	 "Shadow              no shadow rule would take it\n"},
	{"services", sl_view_services,
	 "{'services':[{'namespace':'shop','name':'cart','clusterIPs':['10.96.0.1','fd00::1'],'"
	 "ports':["
	 "{'name':'http','port':80,'routed':true,'routes':['HTTPRoute/shop/cart','HTTPRoute/shop/"
	 "b'],"
	 "'failure_policy':'open','endpoints':3,'ready':2},"
	 "{'port':9000,'routed':false,'routes':[],'failure_policy':'closed','endpoints':0,'ready':"
	 "0}]},"
	 "{'namespace':'shop','name':'head','clusterIPs':[],'ports':[]}]}",
	 "SERVICE    CLUSTER-IP          PORT     READY  ROUTED  ON-FAILURE  ROUTES\n"
	 "shop/cart  10.96.0.1, fd00::1  80/http  2/3    yes     open        "
	 "HTTPRoute/shop/cart, HTTPRoute/shop/b\n"
	 "shop/cart  10.96.0.1, fd00::1  9000     0/0    no      closed      -\n"
	 "shop/head  -                   -        -      -       -           -\n"},
	{"endpoints", sl_view_endpoints,
	 "{'endpoints':[{'service':'shop/cart:80','address':'10.0.0.1:8080','pod':'shop/cart-1',"
	 "'node':'n1','zone':'z1','ready':true,'used':true},{'service':'shop/"
	 "cart:80','address':'[fd00::2]:8080','pod':null,"
	 "'node':null,'ready':false},{'service':'shop/cart:80','address':'10.0.0.2:8080',"
	 "'ready':false,'ending':true,'used':true}]}",
	 "SERVICE       ADDRESS         POD          NODE  ZONE  READY   USED\n"
	 "shop/cart:80  10.0.0.1:8080   shop/cart-1  n1    z1    yes     yes\n"
	 "shop/cart:80  [fd00::2]:8080  -            -     -     no      no\n"
	 "shop/cart:80  10.0.0.2:8080   -            -     -     ending  yes\n"},
	{"check", sl_view_check,
	 "{'checks':[{'name':'kernel_btf','ok':true,'required':true,'message':'found'},"
	 "{'name':'cgroup2','ok':false,'required':true,'message':'not mounted'},"
	 "{'name':'sockops','ok':false,'required':false,'message':''}]}",
	 "CHECK       RESULT   REQUIRED  MESSAGE\n"
	 "kernel_btf  ok       yes       found\n"
	 "cgroup2     FAILED   yes       not mounted\n"
	 "sockops     missing  no        -\n"},
	{"netns", sl_view_netns,
	 "{'netns':[{'cookie':4026531840,'name':'cni-1','pod':'shop/"
	 "web-1','addresses':['10.0.0.1'],"
	 "'listeners':['127.0.0.1:15001','[::1]:15001'],'state':'ready'}]}",
	 "COOKIE      NAME   POD         ADDRESSES  LISTENERS                     STATE\n"
	 "4026531840  cni-1  shop/web-1  10.0.0.1   127.0.0.1:15001, [::1]:15001  ready\n"},
	{"metrics", sl_view_metrics, "{'text':'x_total 1\\n'}", "x_total 1\n"},
	{"version", sl_view_version, "{'version':'9.9.9'}",
	 "sluicectl " SL_VERSION "\nagent 9.9.9\n"},
	{"status", sl_view_status,
	 "{'version':'0.1.0','pid':7,'uptime_seconds':3725,'config':{'generation':3,'source':'/etc/"
	 "s',"
	 "'loaded_at':'2026-01-02T03:04:05.678Z','objects':17,'errors':[{'file':'a.yaml','line':4,"
	 "'object':'HTTPRoute/shop/cart','field':'spec.rules[0]','message':'bad'}],'warnings':["
	 "{'message':'odd'}]},'workers':2,'connections':{'active':1,'total':9},'datapath':{"
	 "'state':'attached','cgroup':'/sys/fs/"
	 "cgroup','failure_policy':'open','heartbeat_age_ms':120,"
	 "'steered':9,'not_steered':{'no_netns':2,'stale':0,'mptcp':1},"
	 "'udp':{'flows':7,'refused':0}},'routes':[],'netns':4}",
	 "Agent               0.1.0, pid 7, up 1h2m\n"
	 "Workers             2\n"
	 "Configuration       generation 3, 17 objects from /etc/s, loaded "
	 "2026-01-02T03:04:05.678Z\n"
	 "Connections         1 active, 9 total\n"
	 "Datapath            attached to /sys/fs/cgroup, on failure open\n"
	 "Heartbeat           120 ms ago\n"
	 "Steered             9\n"
	 "Not steered         no_netns 2, mptcp 1\n"
	 "UDP                 flows 7\n"
	 "Network namespaces  4\n"
	 "\n"
	 "LEVEL    FILE      OBJECT               FIELD          MESSAGE\n"
	 "error    a.yaml:4  HTTPRoute/shop/cart  spec.rules[0]  bad\n"
	 "warning  -         -                    -              odd\n"
	 "\n"
	 "no routes\n"},
	{"status without datapath", sl_view_status,
	 "{'version':'0.1.0','pid':7,'uptime_seconds':59,'config':{'generation':0,'source':'x',"
	 "'objects':0,'errors':[],'warnings':[]},'workers':1,'connections':{'active':0,'total':0},"
	 "'datapath':{'state':'off'},'routes':[],'netns':0}",
	 "Agent               0.1.0, pid 7, up 59s\n"
	 "Workers             1\n"
	 "Configuration       generation 0, 0 objects from x\n"
	 "Connections         0 active, 0 total\n"
	 "Datapath            off\n"
	 "Network namespaces  0\n"
	 "\n"
	 "no routes\n"},
};
enum { N_CASES = sizeof(cases) / sizeof(*cases) };

static json_t *load(const char *text)
{
	char json[4096];
	json_error_t e;
	json_t *j;
	size_t i;

	cr_assert_lt(strlen(text), sizeof(json));
	for (i = 0; text[i]; i++)
		json[i] = text[i] == '\'' ? '"' : text[i];
	j = json_loadb(json, i, 0, &e);
	cr_assert_not_null(j, "%s at %d in %s", e.text, e.position, text);
	return j;
}

Test(view, answers_become_text)
{
	for (size_t i = 0; i < N_CASES; i++) {
		struct sl_buf out = SL_BUF_INIT(0);
		json_t *answer = load(cases[i].answer);

		cr_assert_eq(cases[i].view(answer, &out), 0, "%s", cases[i].name);
		cr_assert_eq(sl_buf_append(&out, "", 1), 0);
		cr_assert_str_eq(sl_buf_ptr(&out), cases[i].text, "%s:\n%s", cases[i].name,
				 sl_buf_ptr(&out));
		json_decref(answer);
		sl_buf_deinit(&out);
	}
}

/* An agent of another version may leave out, or say otherwise, whatever it likes. */
Test(view, answers_of_another_shape_do_no_harm)
{
	static const char *const odd[] = {
		"{}",
		"{'routes':7,'services':{},'endpoints':'x','checks':null,'netns':true,'text':1}",
		"{'routes':[1,null,{'parents':{}},{'parents':[1]}],'services':[1,{'ports':[2]}],"
		"'endpoints':[null],'checks':[[]],'netns':[{'cookie':'x','addresses':[1,'a']}],"
		"'config':[],'connections':1,'datapath':{'state':'attached','not_steered':[1]},"
		"'version':{}}",
	};

	for (size_t k = 0; k < sizeof(odd) / sizeof(*odd); k++) {
		json_t *answer = load(odd[k]);

		for (size_t i = 0; i < N_CASES; i++) {
			struct sl_buf out = SL_BUF_INIT(0);

			cr_assert_eq(cases[i].view(answer, &out), 0, "%s of %s", cases[i].name,
				     odd[k]);
			sl_buf_deinit(&out);
		}
		json_decref(answer);
	}
}

Test(view, only_required_checks_decide)
{
	static const struct {
		const char *answer;
		bool passed;
	} verdicts[] = {
		{"{'checks':[]}", true},
		{"{'checks':[{'name':'a','ok':true,'required':true}]}", true},
		{"{'checks':[{'name':'a','ok':false,'required':false}]}", true},
		{"{'checks':[{'name':'a','ok':true,'required':true},"
		 "{'name':'b','ok':false,'required':true}]}",
		 false},
	};

	for (size_t i = 0; i < sizeof(verdicts) / sizeof(*verdicts); i++) {
		json_t *answer = load(verdicts[i].answer);

		cr_assert_eq(sl_check_passed(answer), verdicts[i].passed, "case %zu", i);
		json_decref(answer);
	}
}

Test(view, a_failed_allocation_is_reported)
{
	for (size_t i = 0; i < N_CASES; i++) {
		json_t *answer = load(cases[i].answer);
		int r = -1;

		for (long n = 0; r; n++) {
			struct sl_buf out = SL_BUF_INIT(0);

			sl_alloc_fail_after(n);
			r = cases[i].view(answer, &out);
			sl_alloc_fail_after(-1);
			cr_assert(r == 0 || r == -ENOMEM, "%s", cases[i].name);
			cr_assert_lt(n, 200);
			sl_buf_deinit(&out);
		}
		json_decref(answer);
	}
	check_leaks();
}
