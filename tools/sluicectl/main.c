/* SPDX-License-Identifier: Apache-2.0 */
/* sluicectl: asks the agent on this node, and shows the answer. */
#include <errno.h>
#include <getopt.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "sluice/admin.h"
#include "client.h"
#include "view.h"

enum { EXIT_USAGE = 2 };

struct command {
	const char *name, *summary, *help;
	int (*view)(const json_t *answer, struct sl_buf *out);
	bool (*passed)(const json_t *answer); /* NULL: always */
};

static const struct command commands[] = {
	{"status", "what the agent does, and what is wrong with its configuration",
	 "Version, configuration, connections, datapath, problems of objects, and all routes.\n",
	 sl_view_status, NULL},
	{"services", "Services, and which of their ports are routed",
	 "READY is ready endpoints of all. ROUTED says whether connections to the port go\n"
	 "through the agent; ON-FAILURE what happens to them when the agent is away: open (they "
	 "go\n"
	 "on without it) or closed (they are refused).\n",
	 sl_view_services, NULL},
	{"routes", "routes with their conditions",
	 "A row for each parent of a route. ACCEPTED and RESOLVEDREFS are the conditions of\n"
	 "Gateway API; PROBLEM says what is wrong when they are not True.\n",
	 sl_view_routes, NULL},
	{"endpoints", "endpoints of the Services that routes use", "", sl_view_endpoints, NULL},
	{"check", "what this node's kernel offers, and what is missing",
	 "Fails (exit status 1) when something is missing that the agent cannot do without.\n",
	 sl_view_check, sl_check_passed},
	{"netns", "network namespaces, whose they are and where the agent listens in them", "",
	 sl_view_netns, NULL},
	{"metrics", "all metrics, in the Prometheus text format", "", sl_view_metrics, NULL},
	{"version", "versions of sluicectl and of the agent", "", sl_view_version, NULL},
};
enum { N_COMMANDS = sizeof(commands) / sizeof(*commands) };

struct args {
	const char *socket_path;
	const struct command *command;
	bool json;
};

static void print_options(FILE *f)
{
	fprintf(f,
		"Options:\n"
		"  -o, --output table|json  for people (default), or the agent's answer as it is\n"
		"  -s, --socket PATH        the agent's admin socket (default %s)\n"
		"  -h, --help               this text\n"
		"  -V, --version            the version of sluicectl alone\n"
		"\nExit status: 0 done, 1 the agent is not reached or reports an error, 2 usage.\n",
		SL_ADMIN_SOCKET);
}

static void print_help(FILE *f, const struct command *c)
{
	if (c) {
		fprintf(f, "Usage: sluicectl %s [options]\n\nShow %s.\n%s\n", c->name, c->summary,
			c->help);
		print_options(f);
		return;
	}
	fprintf(f, "Usage: sluicectl COMMAND [options]\n\nAsk the Sluice agent on this node.\n\n"
		   "Commands:\n");
	for (size_t i = 0; i < N_COMMANDS; i++)
		fprintf(f, "  %-10s %s\n", commands[i].name, commands[i].summary);
	fprintf(f, "\n");
	print_options(f);
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < N_COMMANDS; i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

static int usage(const char *what, const char *which)
{
	fprintf(stderr, "sluicectl: %s%s%s%s\nTry 'sluicectl --help'.\n", what, which ? " '" : "",
		which ? which : "", which ? "'" : "");
	return EXIT_USAGE;
}

enum { RUN = -1 };

/* Returns RUN, or the status to exit with. */
static int parse_args(int argc, char **argv, struct args *ret)
{
	static const struct option options[] = {
		{"output", required_argument, NULL, 'o'},
		{"socket", required_argument, NULL, 's'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{NULL, 0, NULL, 0},
	};
	bool help = false;
	int c;

	while ((c = getopt_long(argc, argv, "o:s:hV", options, NULL)) != -1) {
		if (c == 'o' && (strcmp(optarg, "json") == 0 || strcmp(optarg, "table") == 0))
			ret->json = strcmp(optarg, "json") == 0;
		else if (c == 'o')
			return usage("unknown output", optarg);
		else if (c == 's')
			ret->socket_path = optarg;
		else if (c == 'h')
			help = true;
		else if (c == 'V')
			return printf("sluicectl %s\n", SL_VERSION) < 0;
		else
			return usage("the options are not understood", NULL);
	}
	if (optind < argc) {
		ret->command = find_command(argv[optind]);
		if (!ret->command)
			return usage("unknown command", argv[optind]);
		if (optind + 1 < argc)
			return usage("unexpected argument", argv[optind + 1]);
	}
	if (help) {
		print_help(stdout, ret->command);
		return EXIT_SUCCESS;
	}
	return ret->command ? RUN : usage("a command is missing", NULL);
}

static int append(const char *bytes, size_t n, void *buf)
{
	return sl_buf_append(buf, bytes, n) ? -1 : 0;
}

static int show(const struct args *args, const json_t *answer)
{
	_cleanup_(sl_buf_deinit) struct sl_buf out = SL_BUF_INIT(0);
	int r;

	if (args->json)
		r = json_dump_callback(answer, append, &out, JSON_INDENT(2)) ||
		    sl_buf_append(&out, "\n", 1);
	else
		r = args->command->view(answer, &out);
	if (r) {
		fprintf(stderr, "sluicectl: out of memory\n");
		return EXIT_FAILURE;
	}
	if (sl_buf_len(&out) && fwrite(sl_buf_ptr(&out), sl_buf_len(&out), 1, stdout) != 1)
		r = -errno;
	if (fflush(stdout))
		r = -errno;
	if (r) {
		fprintf(stderr, "sluicectl: cannot write: %s\n", sl_strerror(r));
		return EXIT_FAILURE;
	}
	return args->command->passed && !args->command->passed(answer) ? EXIT_FAILURE
								       : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	struct args args = {.socket_path = SL_ADMIN_SOCKET};
	char message[SL_CTL_MESSAGE];
	json_auto_t *answer = NULL;
	int r = parse_args(argc, argv, &args);

	if (r != RUN)
		return r;
	r = sl_ctl_call(args.socket_path, args.command->name, &answer, message);
	if (r) {
		fprintf(stderr, "sluicectl: %s\n", message);
		return EXIT_FAILURE;
	}
	return show(&args, answer);
}
