/* SPDX-License-Identifier: Apache-2.0 */
#include "answer.h"
#include "sluicectl/view.h"
#include "../../lib/leak.h"

Test(names, one_a_line)
{
	answer_check(sl_names_routes,
		     "{'routes':[{'kind':'HTTPRoute','namespace':'a','name':'b'},"
		     "{'kind':'HTTPRoute','namespace':'a','name':'c'}]}",
		     "HTTPRoute/a/b\nHTTPRoute/a/c\n");
	answer_check(sl_names_services,
		     "{'services':[{'namespace':'a','name':'b','ports':[{'port':80},{'port':81}]},"
		     "{'namespace':'a','name':'none','ports':[]}]}",
		     "a/b:80\na/b:81\n");
	answer_check(sl_names_netns, "{'netns':[{'pod':'a/b'},{'pod':''},{},{'pod':'c/d'}]}",
		     "a/b\nc/d\n");
	check_leaks();
}

Test(names, what_cannot_be_a_word_is_left_out)
{
	answer_check(sl_names_netns, "{'netns':[{'pod':'a b'},{'pod':'x\\ny'},{'pod':'ok'}]}",
		     "ok\n");
	answer_check(sl_names_routes, "{'routes':7}", "");
}
