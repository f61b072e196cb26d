/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include "answer.h"
#include "base/alloc.h"
#include "sluicectl/explain.h"
#include "sluicectl/view.h"
#include "../../lib/leak.h"

static void check_question(json_t *question, const char *want)
{
	json_t *expected = answer_load(want);
	char *text = json_dumps(question, 0);

	cr_assert(json_equal(question, expected), "%s instead of %s", text, want);
	free(text);
	json_decref(expected);
	json_decref(question);
}

Test(explain, a_question_typed_in)
{
	static const struct {
		const char *words[2], *from, *want;
	} cases[] = {
		{{"http://web.shop/x?y=1#z"},
		 "shop/c",
		 "{'command':'explain','source':'shop/c','service':'web.shop','method':'GET',"
		 "'target':'/x?y=1','authority':'web.shop','headers':[]}"},
		{{"PUT", "http://web.shop.svc.cluster.local:8080"},
		 NULL,
		 "{'command':'explain','service':'web.shop.svc.cluster.local:8080','method':'PUT',"
		 "'target':'/','authority':'web.shop.svc.cluster.local:8080','headers':[]}"},
		{{"[fd00::1]:80?q"},
		 NULL,
		 "{'command':'explain','service':'[fd00::1]:80','method':'GET','target':'/?q',"
		 "'authority':'[fd00::1]:80','headers':[]}"},
		{{"shop/web:80/x/y"},
		 NULL,
		 "{'command':'explain','service':'shop/web:80','method':'GET','target':'/x/y',"
		 "'authority':'web.shop','headers':[]}"},
		{{"https://web.shop/x"},
		 NULL,
		 "{'command':'explain','service':'web.shop:443','scheme':'https','method':'GET',"
		 "'target':'/x','authority':'web.shop','headers':[]}"},
		{{"https://[fd00::1]"},
		 NULL,
		 "{'command':'explain','service':'[fd00::1]:443','scheme':'https','method':'GET',"
		 "'target':'/','authority':'[fd00::1]','headers':[]}"},
		{{"tcp://db.shop:5432"},
		 NULL,
		 "{'command':'explain','service':'db.shop:5432','scheme':'tcp','method':'GET',"
		 "'target':'/','authority':'db.shop:5432','headers':[]}"},
		{{"shop/web:81?q"},
		 NULL,
		 "{'command':'explain','service':'shop/web:81','method':'GET','target':'/?q',"
		 "'authority':'web.shop:81','headers':[]}"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct sl_ctl_args args = {.words = (char *const *)cases[i].words,
					   .n_words = cases[i].words[1] ? 2 : 1,
					   .from = cases[i].from};
		char message[SL_CTL_MESSAGE];
		json_t *question = NULL;

		cr_assert_eq(sl_explain_typed(&args, &question, message), 0, "case %zu", i);
		check_question(question, cases[i].want);
	}
	check_leaks();
}

Test(explain, headers_typed_in)
{
	const char *words[] = {"http://web.shop/"};
	struct sl_ctl_args args = {.words = (char *const *)words,
				   .n_words = 1,
				   .headers = {"A: 1", "b:", "C:x:y"},
				   .n_headers = 3};
	char message[SL_CTL_MESSAGE];
	json_t *question = NULL;

	cr_assert_eq(sl_explain_typed(&args, &question, message), 0);
	check_question(question,
		       "{'command':'explain','service':'web.shop','method':'GET','target':'/',"
		       "'authority':'web.shop','headers':[['A','1'],['b',''],['C','x:y']]}");
}

Test(explain, a_question_that_makes_no_sense)
{
	static const struct {
		const char *word, *header;
	} cases[] = {
		{"ftp://web.shop/", NULL}, {"http:///x", NULL},		{"web", NULL}, {"", NULL},
		{"http://web.shop/", "A"}, {"http://web.shop/", ": x"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct sl_ctl_args args = {.words = (char *const *)&cases[i].word,
					   .n_words = 1,
					   .headers = {cases[i].header},
					   .n_headers = cases[i].header != NULL};
		char message[SL_CTL_MESSAGE] = "";
		json_t *question = NULL;

		cr_assert_eq(sl_explain_typed(&args, &question, message), -EINVAL, "case %zu", i);
		cr_assert(*message && !question);
	}
	check_leaks();
}

Test(explain, a_line_of_the_access_log)
{
	json_t *record =
		answer_load("{'time':'t','source_namespace':'shop','source_pod':'c',"
			    "'service':'shop/web:80','protocol':'HTTP/1.1','method':'GET',"
			    "'authority':'web','path':'/x?y','user_agent':'ua','status':200}");
	char message[SL_CTL_MESSAGE];
	json_t *question = NULL;

	cr_assert_eq(sl_explain_logged(record, &question, message), 0);
	check_question(question, "{'command':'explain','source':'shop/c','service':'shop/web:80',"
				 "'method':'GET','target':'/x?y','authority':'web',"
				 "'headers':[['User-Agent','ua']]}");
	json_decref(record);
	record = answer_load("{'service':'shop/web:80','protocol':'HTTP/1.0'}");
	cr_assert_eq(sl_explain_logged(record, &question, message), 0);
	check_question(question, "{'command':'explain','service':'shop/web:80'}");
	json_decref(record);
	check_leaks();
}

Test(explain, lines_that_are_none)
{
	static const char *const lines[] = {"[]", "{}", "{'protocol':'tcp','service':'a/b:80'}",
					    "{'protocol':'HTTP/1.1'}",
					    "{'protocol':7,'service':[]}"};

	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		json_t *record = answer_load(lines[i]), *question = NULL;
		char message[SL_CTL_MESSAGE] = "";

		cr_assert_eq(sl_explain_logged(record, &question, message), -EINVAL, "%s",
			     lines[i]);
		cr_assert(*message);
		json_decref(record);
	}
	check_leaks();
}

#define BACKENDS                                                                                \
	"{'namespace':'shop','pod':'c','service':'shop/web:80','address':'10.96.0.1:80',"       \
	"'table':'producer','request':{'method':'GET','target':'/x/../a?y','path':'/a',"        \
	"'query':'y','authority':'web'},"                                                       \
	"'rules':[{'route':'HTTPRoute/shop/r','rule':'0','match':'Exact /b','verdict':'path'}," \
	"{'route':'HTTPRoute/shop/r','rule':'1','match':'PathPrefix /a, header h = 1',"         \
	"'verdict':'header','condition':'header h = 1'},"                                       \
	"{'route':'HTTPRoute/shop/r','rule':'2','match':'PathPrefix /a, query y = 1',"          \
	"'verdict':'query','condition':'query y = 1','have':'','limit':true},"                  \
	"{'route':'HTTPRoute/shop/r','rule':'3','match':'PathPrefix /a','verdict':'takes'},"    \
	"{'route':'HTTPRoute/shop/r','rule':'4','match':'PathPrefix /','verdict':'later'}],"    \
	"'rules_left_out':7,'rule':{'route':'HTTPRoute/shop/r','name':'3',"                     \
	"'filters':['URLRewrite','RequestHeaderModifier: set A = b'],'request_timeout_ms':500," \
	"'backend_request_timeout_ms':200,'retry':{'attempts':3,'codes':[500,503],"             \
	"'backoff_ms':100},'session':{'type':'Cookie','name':'s','absolute_timeout_ms':1000,"   \
	"'idle_timeout_ms':500}},'result':{'kind':'backends','path':'/b?y',"                    \
	"'authority':'w'},'backends':[{'name':'shop/"                                           \
	"a:80','weight':1,'share':0.25,'resolved':true,"                                        \
	"'endpoints':3,'ready':2,'addresses':['10.0.0.1:80','10.0.0.2:80'],'filters':[],"       \
	"'path':'/b?y','authority':'w'},{'name':'shop/b:80','weight':3,'share':0.75,"           \
	"'resolved':false,'endpoints':0,'ready':0,'filters':[],'status':500}]}"

Test(explain, an_answer_for_people)
{
	answer_check(
		sl_view_explain, BACKENDS,
		"From                Pod shop/c\n"
		"Request             GET /x/../a?y, Host web\n"
		"                    matched as /a\n"
		"Service             shop/web:80 at 10.96.0.1:80\n"
		"Rules               producer routes, of the Service's own namespace\n"
		"Taken by            HTTPRoute/shop/r, rule 3\n"
		"Filters             URLRewrite\n"
		"                    RequestHeaderModifier: set A = b\n"
		"Timeouts            request 500 ms\n"
		"                    backendRequest 200 ms\n"
		"Retry               3 times when nothing was done and on 500, 503\n"
		"                    backoff 100 ms\n"
		"Session             kept by cookie s\n"
		"                    for 1000 ms\n"
		"                    while it is used every 500 ms\n"
		"Result              sent as /b?y, Host w\n"
		"\n"
		"BACKEND    WEIGHT  SHARE  READY  SENT-AS                             ADDRESSES\n"
		"shop/a:80  1       25.0%  2/3    /b?y, Host w                        10.0.0.1:80, "
		"10.0.0.2:80\n"
		"shop/b:80  3       75.0%  0/0    500: the reference is not resolved  -\n"
		"\n"
		"ROUTE             RULE  MATCH                        VERDICT\n"
		"HTTPRoute/shop/r  0     Exact /b                     path differs\n"
		"HTTPRoute/shop/r  1     PathPrefix /a, header h = 1  header h = 1: there is none\n"
		"HTTPRoute/shop/r  2     PathPrefix /a, query y = 1   query y = 1: it is \"\" "
		"(the pattern took too long)\n"
		"HTTPRoute/shop/r  3     PathPrefix /a                takes the request\n"
		"HTTPRoute/shop/r  4     PathPrefix /                 fits too, comes later\n"
		"and 7 more\n");
	check_leaks();
}

Test(explain, answers_without_backends)
{
	answer_check(sl_view_explain,
		     "{'namespace':'','table':'none','address':'10.1.1.1:80','result':{'kind':"
		     "'pass_through','reason':'nobody has it'},'note':'who?'}",
		     "From                a client that the agent does not know\n"
		     "                    who?\n"
		     "Service             10.1.1.1:80 (no Service)\n"
		     "Rules               none\n"
		     "Result              passes through: nobody has it\n");
	answer_check(
		sl_view_explain,
		"{'namespace':'a','table':'consumer','service':'b/c:80','result':{'kind':"
		"'redirect','status':302,'location':'http://x/'},'rule':{'route':'HTTPRoute/a/b',"
		"'name':'n','filters':['RequestRedirect']},'logged':{'time':'t','status':302,"
		"'route':'HTTPRoute/a/b','rule':'n','end_reason':'answered'}}",
		"From                a client in namespace a\n"
		"Service             b/c:80\n"
		"Rules               consumer routes of namespace a\n"
		"Taken by            HTTPRoute/a/b, rule n\n"
		"Filters             RequestRedirect\n"
		"Result              answered with 302, Location http://x/\n"
		"Logged              302 (answered), HTTPRoute/a/b, rule n\n"
		"                    at t; of its headers the log has only Host and User-Agent\n");
	answer_check(sl_view_explain,
		     "{'namespace':'a','table':'producer','service':'b/c:80',"
		     "'result':{'kind':'answer','status':404,'reason':'no rule'}}",
		     "From                a client in namespace a\n"
		     "Service             b/c:80\n"
		     "Rules               producer routes, of the Service's own namespace\n"
		     "Result              answered with 404: no rule\n");
}

Test(explain, answers_of_another_shape_do_no_harm)
{
	static const char *const odd[] = {"{}",
					  "{'rules':[1],'backends':[[]],'rule':3,'result':[]}",
					  "{'request':1,'rules':{},'backends':'x','logged':7}"};

	for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
		struct sl_buf out = SL_BUF_INIT(0);
		json_t *j = answer_load(odd[i]);

		cr_assert_eq(sl_view_explain(j, &out), 0);
		sl_buf_deinit(&out);
		json_decref(j);
	}
	check_leaks();
}

Test(explain, a_failed_allocation_is_reported)
{
	json_t *answer = answer_load(BACKENDS);
	int r = -ENOMEM;

	for (long n = 0; r; n++) {
		struct sl_buf out = SL_BUF_INIT(0);

		(void)sl_alloc_fail_after(n);
		r = sl_view_explain(answer, &out);
		(void)sl_alloc_fail_after(-1);
		cr_assert(r == 0 || r == -ENOMEM);
		cr_assert_lt(n, 200);
		sl_buf_deinit(&out);
	}
	json_decref(answer);
	check_leaks();
}
