/* SPDX-License-Identifier: Apache-2.0 */
/* sluicectl: asks the agent on this node, or those of a cluster, and shows the answer. */
#include <getopt.h>
#include "args.h"
#include "cluster.h"
#include "install.h"
#include "sluice/admin.h"
#include "view.h"

static const struct sl_ctl_command commands[] = {
	{"status", "", "what the agent does, and what is wrong with its configuration",
	 "Version, configuration, connections, datapath, problems of objects, and all routes.\n",
	 "", SL_CTL_ALL_NODES, 0, sl_ctl_query_nodes, sl_view_status, NULL, NULL},
	{"serving", "", "which agent serves on this node",
	 "Fails (exit status 1) when it is not that of the Pod that POD_NAME in the environment\n"
	 "names: during an upgrade a node has two for a while.\n",
	 "", SL_CTL_ONE_NODE, 0, sl_ctl_serving, sl_view_serving, sl_serving_is_mine, NULL},
	{"services", "", "Services, and which of their ports are routed",
	 "READY is ready endpoints of all. ROUTED says whether connections to the port go\n"
	 "through the agent; ON-FAILURE what happens to them when the agent is away: open (they "
	 "go\n"
	 "on without it) or closed (they are refused).\n",
	 "", SL_CTL_ANY_NODE, 0, sl_ctl_query, sl_view_services, NULL, sl_names_services},
	{"routes", " [NAME]", "routes and policies with their conditions",
	 "A row for each parent of a route or target of a policy. ACCEPTED and RESOLVEDREFS are\n"
	 "the conditions of\n"
	 "Gateway API; PROBLEM says what is wrong when they are not True. NAME\n"
	 "(HTTPRoute/ns/name, ns/name or name) shows only that route, and fails when there is "
	 "none.\n",
	 "", SL_CTL_ANY_NODE, 1, sl_ctl_routes, sl_view_routes, NULL, sl_names_routes},
	{"endpoints", "", "endpoints of the Services that routes use", "", "", SL_CTL_ANY_NODE, 0,
	 sl_ctl_query, sl_view_endpoints, NULL, NULL},
	{"explain", " [METHOD] URL", "which rule takes a request, and what happens to it",
	 "URL names the Service: http://name.ns:port/path?query, http://CLUSTER-IP:port/path, or\n"
	 "ns/name:port/path. Nothing is sent: the agent walks its rules and says for each why it\n"
	 "does not take the request, then what the one that does makes of it.\n\n"
	 "  -f, --from NS/POD        who asks (or NS, any client there; else an unknown client)\n"
	 "  -H, --header 'NAME: V'   a header of the request, may be repeated\n"
	 "  -l, --log-line JSON      instead of METHOD and URL: a line of the access log\n"
	 "                           (- reads it from standard input)\n",
	 "fHl", SL_CTL_ANY_NODE, 2, sl_ctl_explain, sl_view_explain, NULL, NULL},
	{"conns", "", "connections of clients that are open",
	 "What each does at the moment. With -w or -n the bytes a second of each since the sample\n"
	 "before are shown too (received from the client / sent to it).\n\n"
	 "  -f, --from NS/POD        only of this Pod (or NS, of all Pods there)\n"
	 "  -a, --all                all; else the first 1000\n"
	 "  -w, --watch              again and again\n"
	 "  -n, --count N            so many times\n"
	 "  -i, --interval SECONDS   between two samples (default 2)\n",
	 "fawni", SL_CTL_ONE_NODE, 0, sl_ctl_conns, sl_view_conns, NULL, NULL},
	{"check", "", "what this node's kernel offers, and what is missing",
	 "Fails (exit status 1) when something is missing that the agent cannot do without.\n\n"
	 "  -p, --pre                of a cluster, before anything is installed in it: versions of "
	 "the "
	 "API server,\n"
	 "                           of CRDs and kernels, and permissions\n",
	 "p", SL_CTL_ALL_NODES, 0, sl_ctl_check, sl_view_check, sl_check_passed, NULL},
	{"netns", "", "network namespaces, whose they are and where the agent listens in them", "",
	 "", SL_CTL_ONE_NODE, 0, sl_ctl_query, sl_view_netns, NULL, sl_names_netns},
	{"metrics", "", "all metrics, in the Prometheus text format", "", "", SL_CTL_ONE_NODE, 0,
	 sl_ctl_query, sl_view_metrics, NULL, NULL},
	{"top", "", "requests and errors a second, and latencies, as they are now",
	 "For each route on each Service, the busiest first. Errors are answers with 5xx; P50 and\n"
	 "P99 are read off the histogram of sluice_request_duration_seconds. Goes on until it is\n"
	 "interrupted.\n\n"
	 "  -n, --count N            so many times\n"
	 "  -i, --interval SECONDS   between two samples (default 2)\n",
	 "ni", SL_CTL_ONE_NODE, 0, sl_ctl_top, NULL, NULL, NULL},
	{"validate", " FOLDER", "what is wrong with a folder of YAML files, without an agent",
	 "Reads and compiles FOLDER as the agent does, and prints each error and warning with "
	 "file\n"
	 "and line, then the conditions of routes that are not as they should be. Fails (exit "
	 "status\n"
	 "1) on errors and on such conditions, not on warnings.\n",
	 "", SL_CTL_NOWHERE, 1, sl_ctl_validate, sl_view_validate, sl_validate_passed, NULL},
	{"version", "", "versions of sluicectl and of the agent", "", "", SL_CTL_ALL_NODES, 0,
	 sl_ctl_query_nodes, sl_view_version, NULL, NULL},
	{"install", "", "Sluice in a cluster, with kubectl",
	 "Checks the cluster (check --pre), applies the manifests, waits until every node's agent "
	 "is\n"
	 "ready, and shows what they say. Doing it again changes what is different.\n\n"
	 "  -m, --image NAME         the agent's image (default localhost/sluice:latest)\n"
	 "  -t, --timeout SECONDS    to wait (default 120)\n"
	 "  -D, --dry-run            print the manifests, change nothing\n",
	 "mtD", SL_CTL_CLUSTER, 0, sl_ctl_install, NULL, NULL, NULL},
	{"uninstall", "", "a cluster without Sluice, and its nodes as they were",
	 "Ends the agents, takes their programs and maps off every node, then deletes the rest, "
	 "but "
	 "not\n"
	 "policies of sluice.dev and their CRDs.\n\n"
	 "  -m, --image NAME         of the agents, when their DaemonSet is gone already\n"
	 "  -t, --timeout SECONDS    to wait for the nodes (default 120)\n"
	 "  -C, --delete-crds        policies of sluice.dev too, all of them, with their CRDs\n",
	 "mtC", SL_CTL_CLUSTER, 0, sl_ctl_uninstall, NULL, NULL, NULL},
	{"ask", "", "the answer to a question from standard input, both in JSON",
	 "The form is that of the admin socket (sluice/admin.h): {\"command\": \"status\"}.\n", "",
	 SL_CTL_NOWHERE, 0, sl_ctl_passon, NULL, NULL, NULL},
};
enum { N_COMMANDS = sizeof(commands) / sizeof(*commands) };

static void print_options(FILE *f)
{
	fprintf(f,
		"Options:\n"
		"  -o, --output FORMAT      table (for people, the default), json (the answer as "
		"it "
		"is),\n"
		"                           or name (of routes, services, netns: the names alone)\n"
		"  -s, --socket PATH        the agent's admin socket (default %s)\n"
		"  -k, --kubernetes         ask agents of a cluster, by kubectl\n"
		"  -N, --node NAME          ask the agent of this node of it\n"
		"      --kubeconfig FILE    of the cluster, as for kubectl\n"
		"      --context NAME       likewise\n"
		"      --namespace NAME     of the agents (default " SL_CLUSTER_NAMESPACE ")\n"
		"  -h, --help               this text\n"
		"  -V, --version            the version of sluicectl alone\n"
		"\nExit status: 0 done, 1 the agent is not reached or reports an error, 2 usage.\n",
		SL_ADMIN_SOCKET);
}

static void print_help(FILE *f, const struct sl_ctl_command *c)
{
	if (c) {
		fprintf(f, "Usage: sluicectl %s%s [options]\n\nShow %s.\n%s\n", c->name, c->words,
			c->summary, c->help);
		print_options(f);
		return;
	}
	fprintf(f, "Usage: sluicectl COMMAND [options]\n\nAsk the Sluice agent on this node, or "
		   "those of "
		   "a cluster.\n\n"
		   "Commands:\n");
	for (size_t i = 0; i < N_COMMANDS; i++)
		fprintf(f, "  %-10s %s\n", commands[i].name, commands[i].summary);
	fprintf(f, "\n");
	print_options(f);
}

static const struct sl_ctl_command *find_command(const char *name)
{
	for (size_t i = 0; i < N_COMMANDS; i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

enum { RUN = -1 };
enum { OPT_KUBECONFIG = 256, OPT_CONTEXT, OPT_NAMESPACE };

/* Returns RUN, or the status to exit with. */
static int take_output(struct sl_ctl_args *a, const char *v)
{
	static const char *const names[] = {
		[SL_CTL_TABLE] = "table", [SL_CTL_JSON] = "json", [SL_CTL_NAME] = "name"};

	for (int i = 0; i < 3; i++) {
		if (strcmp(v, names[i]) == 0) {
			a->output = (enum sl_ctl_output)i;
			return RUN;
		}
	}
	return sl_ctl_usage("unknown output", v);
}

static int take_number(const char *what, const char *v, uint64_t max, uint64_t scale, uint64_t *ret)
{
	uint64_t n;

	if (sl_str_to_u64(sl_str_from(v), max, &n) || !n)
		return sl_ctl_usage(what, v);
	*ret = n * scale;
	return RUN;
}

static int take_header(struct sl_ctl_args *a, const char *v)
{
	if (a->n_headers == SL_CTL_MAX_HEADERS)
		return sl_ctl_usage("too many headers", NULL);
	a->headers[a->n_headers++] = v;
	return RUN;
}

static int take_cluster_option(struct sl_ctl_args *a, int c, const char *v)
{
	switch (c) {
	case 'k':
		a->kubernetes = true;
		return RUN;
	case 'N':
		a->node = v;
		return RUN;
	case OPT_KUBECONFIG:
		a->kubeconfig = v;
		return RUN;
	case OPT_CONTEXT:
		a->context = v;
		return RUN;
	case OPT_NAMESPACE:
		a->namespace = v;
		return RUN;
	case 'p':
		a->pre = true;
		return RUN;
	case 'D':
		a->dry_run = true;
		return RUN;
	case 'C':
		a->delete_crds = true;
		return RUN;
	case 'm':
		a->image = v;
		return RUN;
	case 't':
		return take_number("not a number of seconds", v, 86400, 1, &a->timeout_s);
	default:
		return sl_ctl_usage("the options are not understood", NULL);
	}
}

static int take_option(struct sl_ctl_args *a, int c, const char *v)
{
	switch (c) {
	case 'o':
		return take_output(a, v);
	case 's':
		a->socket_path = v;
		return RUN;
	case 'f':
		a->from = v;
		return RUN;
	case 'H':
		return take_header(a, v);
	case 'l':
		a->log_line = v;
		return RUN;
	case 'a':
		a->all = true;
		return RUN;
	case 'w':
		a->watch = true;
		return RUN;
	case 'n':
		return take_number("not a number of samples", v, UINT32_MAX, 1, &a->count);
	case 'i':
		return take_number("not a number of seconds", v, 86400, 1000, &a->interval_ms);
	default:
		return take_cluster_option(a, c, v);
	}
}

/* Options that were given and are not for every command. */
struct seen {
	char letters[16];
	size_t n;
};

/* Whom to ask, where there are many. */
static int check_where(struct sl_ctl_args *a)
{
	const struct sl_ctl_command *c = a->command;
	bool said = a->node || a->kubeconfig || a->context || a->namespace;
	bool is_pod = a->from && strchr(a->from, '/');

	if (c->where == SL_CTL_CLUSTER || a->pre)
		return a->node ? sl_ctl_usage("no node can be chosen for", c->name) : RUN;
	a->kubernetes |= said;
	if (!a->kubernetes)
		return RUN;
	if (c->where == SL_CTL_NOWHERE)
		return sl_ctl_usage("no agent of a cluster is asked by", c->name);
	if (c->where == SL_CTL_ONE_NODE && !a->node && !is_pod)
		return sl_ctl_usage("of which node? --node says it, or --from a Pod, for", c->name);
	return RUN;
}

static int check_command(struct sl_ctl_args *a, const struct seen *seen)
{
	const struct sl_ctl_command *c = a->command;
	char option[3] = "-";

	if (a->n_words > c->max_words)
		return sl_ctl_usage("unexpected argument", a->words[c->max_words]);
	if (a->output == SL_CTL_NAME && !c->names)
		return sl_ctl_usage("there are no names in", c->name);
	for (size_t i = 0; i < seen->n; i++) {
		option[1] = seen->letters[i];
		if (!strchr(c->options, option[1]))
			return sl_ctl_usage("the command does not have the option", option);
	}
	return check_where(a);
}

static const struct option options[] = {
	{"output", required_argument, NULL, 'o'},
	{"socket", required_argument, NULL, 's'},
	{"from", required_argument, NULL, 'f'},
	{"header", required_argument, NULL, 'H'},
	{"log-line", required_argument, NULL, 'l'},
	{"all", no_argument, NULL, 'a'},
	{"watch", no_argument, NULL, 'w'},
	{"count", required_argument, NULL, 'n'},
	{"interval", required_argument, NULL, 'i'},
	{"kubernetes", no_argument, NULL, 'k'},
	{"node", required_argument, NULL, 'N'},
	{"kubeconfig", required_argument, NULL, OPT_KUBECONFIG},
	{"context", required_argument, NULL, OPT_CONTEXT},
	{"namespace", required_argument, NULL, OPT_NAMESPACE},
	{"pre", no_argument, NULL, 'p'},
	{"dry-run", no_argument, NULL, 'D'},
	{"delete-crds", no_argument, NULL, 'C'},
	{"image", required_argument, NULL, 'm'},
	{"timeout", required_argument, NULL, 't'},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},
	{NULL, 0, NULL, 0},
};

static int parse_args(int argc, char **argv, struct sl_ctl_args *ret)
{
	struct seen seen = {.n = 0};
	bool help = false;
	int c, r;

	while ((c = getopt_long(argc, argv, "o:s:f:H:l:awn:i:kN:pDCm:t:hV", options, NULL)) != -1) {
		if (c == 'V')
			return printf("sluicectl %s\n", SL_VERSION) < 0;
		if (c == 'h') {
			help = true;
			continue;
		}
		if (c < 256 && strchr("fHlawnipDmt", c) && seen.n < sizeof(seen.letters))
			seen.letters[seen.n++] = (char)c;
		r = take_option(ret, c, optarg);
		if (r != RUN)
			return r;
	}
	if (optind < argc) {
		ret->command = find_command(argv[optind]);
		if (!ret->command)
			return sl_ctl_usage("unknown command", argv[optind]);
		ret->words = argv + optind + 1;
		ret->n_words = argc - optind - 1;
	}
	if (help) {
		print_help(stdout, ret->command);
		return EXIT_SUCCESS;
	}
	return ret->command ? check_command(ret, &seen)
			    : sl_ctl_usage("a command is missing", NULL);
}

int main(int argc, char **argv)
{
	struct sl_ctl_args args = {
		.socket_path = SL_ADMIN_SOCKET, .interval_ms = 2000, .timeout_s = 120};
	int r = parse_args(argc, argv, &args);

	return r == RUN ? args.command->run(&args) : r;
}
