/* SPDX-License-Identifier: Apache-2.0 */
/* Asking and printing, the same for all commands. */
#include <errno.h>
#include "args.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "client.h"
#include "cluster.h"
#include "precheck.h"
#include "view.h"

int sl_ctl_usage(const char *what, const char *which)
{
	fprintf(stderr, "sluicectl: %s%s%s%s\nTry 'sluicectl --help'.\n", what, which ? " '" : "",
		which ? which : "", which ? "'" : "");
	return SL_CTL_USAGE;
}

int sl_ctl_ask(const struct sl_ctl_args *args, const json_t *question, json_t **ret)
{
	char message[SL_CTL_MESSAGE];
	int r;

	if (args->kubernetes)
		return sl_cluster_ask(args, question, ret);
	r = sl_ctl_call(args->socket_path, question, ret, message);
	if (r)
		fprintf(stderr, "sluicectl: %s\n", message);
	return r;
}

int sl_ctl_write(const struct sl_buf *out, int r)
{
	if (r) {
		fprintf(stderr, "sluicectl: out of memory\n");
		return EXIT_FAILURE;
	}
	if (sl_buf_len(out) && fwrite(sl_buf_ptr(out), sl_buf_len(out), 1, stdout) != 1)
		r = -errno;
	if (fflush(stdout))
		r = -errno;
	if (r)
		fprintf(stderr, "sluicectl: cannot write: %s\n", sl_strerror(r));
	return r ? EXIT_FAILURE : EXIT_SUCCESS;
}

int sl_ctl_show(const struct sl_ctl_args *args, const json_t *answer)
{
	_cleanup_(sl_buf_deinit) struct sl_buf out = SL_BUF_INIT(0);
	const struct sl_ctl_command *c = args->command;
	int r;

	if (args->output == SL_CTL_JSON)
		r = sl_json_dump(answer, JSON_INDENT(2), &out);
	else if (args->output == SL_CTL_NAME)
		r = c->names(answer, &out);
	else
		r = c->view(answer, &out);
	r = sl_ctl_write(&out, r);
	return r ? r : c->passed && !c->passed(answer) ? EXIT_FAILURE : EXIT_SUCCESS;
}

int sl_ctl_query(const struct sl_ctl_args *args)
{
	json_auto_t *question = json_pack("{s:s}", "command", args->command->name);
	json_auto_t *answer = NULL;

	return sl_ctl_ask(args, question, &answer) ? EXIT_FAILURE : sl_ctl_show(args, answer);
}

int sl_ctl_serving(const struct sl_ctl_args *args)
{
	json_auto_t *question = json_pack("{s:s}", "command", "status"), *answer = NULL;

	return sl_ctl_ask(args, question, &answer) ? EXIT_FAILURE : sl_ctl_show(args, answer);
}

/* One command's answers of all nodes. */
static int show_nodes(const struct sl_ctl_args *args,
		      int (*view)(const json_t *answer, struct sl_buf *out),
		      bool (*passed)(const json_t *answer))
{
	struct sl_ctl_command command = {
		.name = args->command->name, .view = view, .passed = passed};
	struct sl_ctl_args all = *args;
	json_auto_t *answer = NULL;

	all.command = &command;
	if (args->output == SL_CTL_NAME)
		return sl_ctl_usage("there are no names in", command.name);
	return sl_cluster_ask_all(args, command.name, &answer) ? EXIT_FAILURE
							       : sl_ctl_show(&all, answer);
}

int sl_ctl_query_nodes(const struct sl_ctl_args *args)
{
	bool is_status = args->command->view == sl_view_status;

	if (!args->kubernetes || args->node)
		return sl_ctl_query(args);
	return show_nodes(args, is_status ? sl_view_nodes_status : sl_view_nodes_version,
			  sl_nodes_answered);
}

int sl_ctl_check(const struct sl_ctl_args *args)
{
	json_auto_t *answer = NULL;

	if (args->pre)
		return sl_precheck(args, &answer) ? EXIT_FAILURE : sl_ctl_show(args, answer);
	if (!args->kubernetes || args->node)
		return sl_ctl_query(args);
	return show_nodes(args, sl_view_nodes_check, sl_nodes_passed);
}

static bool is_named(const json_t *route, const char *name)
{
	const char *kind = sl_json_text(route, "kind"), *last = sl_json_text(route, "name");
	const char *namespace = sl_json_text(route, "namespace");
	char full[1024];

	(void)snprintf(full, sizeof(full), "%s/%s/%s", kind, namespace,
		       last); /* long ones differ */
	return strcmp(name, full) == 0 || strcmp(name, last) == 0 ||
	       (strlen(kind) < strlen(full) && strcmp(name, full + strlen(kind) + 1) == 0);
}

int sl_ctl_routes(const struct sl_ctl_args *args)
{
	json_auto_t *question = json_pack("{s:s}", "command", "routes"), *answer = NULL;
	json_t *routes;

	if (sl_ctl_ask(args, question, &answer))
		return EXIT_FAILURE;
	routes = json_object_get(answer, "routes");
	for (size_t i = json_array_size(routes); args->n_words && i-- > 0;) {
		if (!is_named(json_array_get(routes, i), args->words[0]))
			(void)json_array_remove(routes, i); /* it is there */
	}
	if (args->n_words && !json_array_size(routes)) {
		fprintf(stderr, "sluicectl: there is no route %s\n", args->words[0]);
		return EXIT_FAILURE;
	}
	return sl_ctl_show(args, answer);
}
