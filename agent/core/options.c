/* SPDX-License-Identifier: Apache-2.0 */
#include "core/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "core/limits.h"
#include "resource/syntax.h"

static const char help[] =
	"Usage: sluiced --config DIR [OPTION]...\n"
	"       sluiced --kubernetes [OPTION]...\n"
	"Enforce routes, from a folder of YAML files or a cluster, on the sockets of this host.\n"
	"\n"
	"  -c, --config DIR           folder of YAML files, watched for changes\n"
	"      --kubernetes           take them from the Kubernetes API, as this Pod's service\n"
	"                             account\n"
	"      --kubeconfig FILE      the same, as FILE says; implies --kubernetes\n"
	"      --context NAME         context of the kubeconfig (default: its current one)\n"
	"      --node NAME            this node's name: other nodes' Pods are not asked for\n"
	"                             (default: $NODE_NAME)\n"
	"      --mesh-name NAME       the XMesh that is made and kept, where the cluster has\n"
	"                             them (default: sluice; '' for none)\n"
	"      --dns-servers LIST     who is asked for the hosts that XBackends name, as\n"
	"                             10.0.0.10,[fd00::1]:5353 (default: resolv.conf's)\n"
	"      --cgroup PATH          cgroup2 directory whose processes are steered\n"
	"                             (default: the cgroup2 mount; with --kubernetes its\n"
	"                             kubepods.slice or kubepods)\n"
	"      --bpffs DIR            where programs and maps are pinned\n"
	"                             (default: /sys/fs/bpf/sluice)\n"
	"      --netns-dir DIR        folder of named network namespaces, may be repeated\n"
	"                             (default: /run/netns)\n"
	"      --no-host-netns        leave sockets of the agent's own namespace alone\n"
	"      --workers N            worker threads (default: one per core)\n"
	"      --vip-provider WHO     who serves Service addresses without the agent:\n"
	"                             self (the connect hook; default with --config) or\n"
	"                             other (kube-proxy; default with --kubernetes)\n"
	"      --failure-policy P     open (default) or closed: new connections while the\n"
	"                             agent cannot take them\n"
	"      --splice MODE          kept-alive connections past TCP, where both ends are here:\n"
	"                             off (default), vouched (those that an annotation names),\n"
	"                             on, or force (also where nothing would notice a program\n"
	"                             that calls splice(2))\n"
	"      --no-faults            FaultInjections do nothing on this host\n"
	"      --heartbeat-limit MS   after this silence the agent counts as stuck (2000)\n"
	"      --drain-timeout MS     how long SIGTERM waits for open requests (10000)\n"
	"      --status-file PATH     write the routes' conditions there as JSON\n"
	"      --access-log PATH      one JSON line per request; - for standard output\n"
	"      --admin-socket PATH    for sluicectl (default: /run/sluice/admin.sock)\n"
	"      --handover-socket PATH where the next process takes over\n"
	"                             (default: the admin socket's path and .handover)\n"
	"      --takeover             take over from the sluiced that runs, if one does:\n"
	"                             sockets, connections, programs and maps\n"
	"      --linger               when another sluiced took over, wait for SIGTERM before\n"
	"                             exiting (in a Pod, what exits is started again)\n"
	"      --metrics ADDR:PORT    Prometheus metrics and health, or off\n"
	"                             (default: 127.0.0.1:15020)\n"
	"      --log-level LEVEL      error, warn, info (default) or debug\n"
	"      --limit NAME=VALUE     set a limit, see below; may be repeated\n"
	"      --detach               take programs, maps and pins away on exit\n"
	"      --check                say what this kernel has of what is needed, then exit\n"
	"      --uninstall            take away what an earlier agent left, then exit\n"
	"  -h, --help\n"
	"  -V, --version\n"
	"\n"
	"SIGTERM and SIGINT end open requests and exit; SIGHUP loads the folder again and\n"
	"opens the access log anew.\n"
	"\n"
	"Limits (bytes, counts or milliseconds):\n";

enum {
	OPT_KUBERNETES = 256,
	OPT_KUBECONFIG,
	OPT_CONTEXT,
	OPT_NODE,
	OPT_MESH_NAME,
	OPT_DNS_SERVERS,
	OPT_CGROUP,
	OPT_BPFFS,
	OPT_NETNS_DIR,
	OPT_NO_HOST_NETNS,
	OPT_WORKERS,
	OPT_VIP_PROVIDER,
	OPT_FAILURE_POLICY,
	OPT_SPLICE,
	OPT_NO_FAULTS,
	OPT_HEARTBEAT_LIMIT,
	OPT_DRAIN_TIMEOUT,
	OPT_STATUS_FILE,
	OPT_ACCESS_LOG,
	OPT_ADMIN_SOCKET,
	OPT_HANDOVER_SOCKET,
	OPT_TAKEOVER,
	OPT_LINGER,
	OPT_METRICS,
	OPT_LOG_LEVEL,
	OPT_LIMIT,
	OPT_DETACH,
	OPT_CHECK,
	OPT_UNINSTALL,
};

static const struct option long_options[] = {
	{"config", required_argument, NULL, 'c'},
	{"kubernetes", no_argument, NULL, OPT_KUBERNETES},
	{"kubeconfig", required_argument, NULL, OPT_KUBECONFIG},
	{"context", required_argument, NULL, OPT_CONTEXT},
	{"node", required_argument, NULL, OPT_NODE},
	{"mesh-name", required_argument, NULL, OPT_MESH_NAME},
	{"dns-servers", required_argument, NULL, OPT_DNS_SERVERS},
	{"cgroup", required_argument, NULL, OPT_CGROUP},
	{"bpffs", required_argument, NULL, OPT_BPFFS},
	{"netns-dir", required_argument, NULL, OPT_NETNS_DIR},
	{"no-host-netns", no_argument, NULL, OPT_NO_HOST_NETNS},
	{"workers", required_argument, NULL, OPT_WORKERS},
	{"vip-provider", required_argument, NULL, OPT_VIP_PROVIDER},
	{"failure-policy", required_argument, NULL, OPT_FAILURE_POLICY},
	{"splice", required_argument, NULL, OPT_SPLICE},
	{"no-faults", no_argument, NULL, OPT_NO_FAULTS},
	{"heartbeat-limit", required_argument, NULL, OPT_HEARTBEAT_LIMIT},
	{"drain-timeout", required_argument, NULL, OPT_DRAIN_TIMEOUT},
	{"status-file", required_argument, NULL, OPT_STATUS_FILE},
	{"access-log", required_argument, NULL, OPT_ACCESS_LOG},
	{"admin-socket", required_argument, NULL, OPT_ADMIN_SOCKET},
	{"handover-socket", required_argument, NULL, OPT_HANDOVER_SOCKET},
	{"takeover", no_argument, NULL, OPT_TAKEOVER},
	{"linger", no_argument, NULL, OPT_LINGER},
	{"metrics", required_argument, NULL, OPT_METRICS},
	{"log-level", required_argument, NULL, OPT_LOG_LEVEL},
	{"limit", required_argument, NULL, OPT_LIMIT},
	{"detach", no_argument, NULL, OPT_DETACH},
	{"check", no_argument, NULL, OPT_CHECK},
	{"uninstall", no_argument, NULL, OPT_UNINSTALL},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},
	{0},
};

static int wrong(const char *option, const char *value, const char *expected)
{
	fprintf(stderr, "sluiced: --%s %s: expected %s\n", option, value, expected);
	return SL_OPTIONS_USAGE;
}

/* Index of value in names (ends with NULL), or -1. */
static int one_of(const char *value, const char *const *names)
{
	for (int i = 0; names[i]; i++) {
		if (!strcmp(value, names[i]))
			return i;
	}
	return -1;
}

static int number(const char *option, const char *value, uint64_t min, uint64_t max, uint64_t *ret)
{
	char expected[80];
	uint64_t n;

	if (!sl_str_to_u64(sl_str_from(value), max, &n) && n >= min) {
		*ret = n;
		return 0;
	}
	(void)snprintf(expected, sizeof(expected), "a number from %llu to %llu",
		       (unsigned long long)min, (unsigned long long)max);
	return wrong(option, value, expected);
}

static int milliseconds(const char *option, const char *value, uint64_t min_ms, uint64_t *ret_ns)
{
	uint64_t ms;
	int r = number(option, value, min_ms, 3600000, &ms);

	if (!r)
		*ret_ns = ms * SL_NS_PER_MS;
	return r;
}

static int take_choice(struct sl_options *o, int c, const char *v)
{
	static const char *const providers[] = {"other", "self", NULL};
	static const char *const policies[] = {"open", "closed", NULL};
	static const char *const modes[] = {"off", "vouched", "on", "force", NULL};
	static const char *const levels[] = {"error", "warn", "info", "debug", NULL};
	int i;

	switch (c) {
	case OPT_VIP_PROVIDER:
		i = one_of(v, providers);
		if (i < 0)
			return wrong("vip-provider", v, "self or other");
		o->provider = i ? SL_VIP_SELF : SL_VIP_OTHER;
		o->has_provider = true;
		return 0;
	case OPT_FAILURE_POLICY:
		i = one_of(v, policies);
		if (i < 0)
			return wrong("failure-policy", v, "open or closed");
		o->policy = i ? SL_FAIL_CLOSED : SL_FAIL_OPEN;
		return 0;
	case OPT_SPLICE:
		i = one_of(v, modes);
		if (i < 0)
			return wrong("splice", v, "off, vouched, on or force");
		o->splice = (enum sl_splice_mode)i;
		return 0;
	default:
		i = one_of(v, levels);
		if (i < 0)
			return wrong("log-level", v, "error, warn, info or debug");
		sl_log_level = (enum sl_log_level)i;
		return 0;
	}
}

/* Addresses between commas, each perhaps with a port. */
static int take_servers(struct sl_options *o, const char *v)
{
	struct sl_addr ignored;

	o->dns_servers = v;
	for (const char *at = v;; at++) {
		struct sl_str one = {at, strcspn(at, ",")};

		if (sl_addr_parse_ip(one, 53, &ignored) && sl_addr_parse(one, &ignored))
			return wrong("dns-servers", v, "ADDRESS[:PORT],...");
		at += one.len;
		if (!*at)
			return 0;
	}
}

static int take(struct sl_options *o, int c, const char *v)
{
	char err[100];
	uint64_t n;
	int r;

	switch (c) {
	case 'c':
		o->config_dir = v;
		return 0;
	case OPT_KUBECONFIG:
		o->kubeconfig = v;
		o->kubernetes = true;
		return 0;
	case OPT_KUBERNETES:
		o->kubernetes = true;
		return 0;
	case OPT_CONTEXT:
		o->context = v;
		return 0;
	case OPT_NODE:
		o->node = v;
		return 0;
	case OPT_MESH_NAME:
		o->mesh_name = v;
		if (*v &&
		    (strlen(v) > sl_text_subdomain.max || !sl_text_subdomain.valid(sl_str_from(v))))
			return wrong("mesh-name", v, "a DNS name, or nothing");
		return 0;
	case OPT_DNS_SERVERS:
		return take_servers(o, v);
	case OPT_CGROUP:
		o->cgroup = v;
		return 0;
	case OPT_BPFFS:
		o->bpffs = v;
		return 0;
	case OPT_NETNS_DIR:
		if (o->n_netns_dirs == SL_MAX_NETNS_DIRS)
			return wrong("netns-dir", v, "at most 16 folders");
		o->netns_dirs[o->n_netns_dirs++] = v;
		return 0;
	case OPT_NO_HOST_NETNS:
		o->host_netns = false;
		return 0;
	case OPT_WORKERS:
		r = number("workers", v, 1, SL_MAX_WORKERS, &n);
		if (!r)
			o->n_workers = (uint32_t)n;
		return r;
	case OPT_NO_FAULTS:
		o->proxy.no_faults = true;
		return 0;
	case OPT_HEARTBEAT_LIMIT:
		return milliseconds("heartbeat-limit", v, 100, &o->heartbeat_limit_ns);
	case OPT_DRAIN_TIMEOUT:
		return milliseconds("drain-timeout", v, 0, &o->drain_timeout_ns);
	case OPT_STATUS_FILE:
		o->status_file = v;
		return 0;
	case OPT_ACCESS_LOG:
		o->access_log = v;
		return 0;
	case OPT_ADMIN_SOCKET:
		o->admin_socket = v;
		return 0;
	case OPT_HANDOVER_SOCKET:
		o->handover_socket = v;
		return 0;
	case OPT_TAKEOVER:
		o->takeover = true;
		return 0;
	case OPT_LINGER:
		o->linger = true;
		return 0;
	case OPT_METRICS:
		o->metrics = strcmp(v, "off") != 0;
		if (o->metrics && sl_addr_parse(sl_str_from(v), &o->metrics_address))
			return wrong("metrics", v, "ADDRESS:PORT or off");
		return 0;
	case OPT_LIMIT:
		if (!sl_limits_set(&o->proxy, v, err, sizeof(err)))
			return 0;
		fprintf(stderr, "sluiced: --limit %s: %s\n", v, err);
		return SL_OPTIONS_USAGE;
	case OPT_DETACH:
		o->detach = true;
		return 0;
	case OPT_UNINSTALL:
		o->uninstall = true;
		return 0;
	case OPT_CHECK:
		o->check = true;
		return 0;
	case OPT_VIP_PROVIDER:
	case OPT_FAILURE_POLICY:
	case OPT_SPLICE:
	case OPT_LOG_LEVEL:
		return take_choice(o, c, v);
	case 'h':
		(void)fputs(help, stdout);
		sl_limits_help();
		return SL_OPTIONS_EXIT;
	case 'V':
		(void)puts("sluiced " SL_VERSION);
		return SL_OPTIONS_EXIT;
	default:
		return SL_OPTIONS_USAGE; /* getopt has said why */
	}
}

/* What depends on several options. */
static int settle(struct sl_options *o)
{
	if (!o->config_dir && !o->kubernetes && !o->uninstall && !o->check) {
		fprintf(stderr,
			"sluiced: --config DIR or --kubernetes is needed; see sluiced --help\n");
		return SL_OPTIONS_USAGE;
	}
	if (o->config_dir && o->kubernetes) {
		fprintf(stderr, "sluiced: --config and --kubernetes are two sources: choose one\n");
		return SL_OPTIONS_USAGE;
	}
	if (o->context && !o->kubeconfig) {
		fprintf(stderr, "sluiced: --context is one of a --kubeconfig\n");
		return SL_OPTIONS_USAGE;
	}
	if (o->kubernetes && !o->node)
		o->node = getenv("NODE_NAME");
	if (!o->has_provider)
		o->provider = o->kubernetes ? SL_VIP_OTHER : SL_VIP_SELF;
	if (!o->n_netns_dirs)
		o->netns_dirs[o->n_netns_dirs++] = "/run/netns";
	return 0;
}

int sl_options_parse(int argc, char **argv, struct sl_options *ret)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	struct sl_options o = {
		.host_netns = true,
		.n_workers = cores < 1		      ? 1
			     : cores > SL_MAX_WORKERS ? SL_MAX_WORKERS
						      : (uint32_t)cores,
		.policy = SL_FAIL_OPEN,
		.heartbeat_limit_ns = 2 * SL_NS_PER_S,
		.drain_timeout_ns = 10 * SL_NS_PER_S,
		.mesh_name = "sluice",
		.admin_socket = "/run/sluice/admin.sock",
		.proxy = SL_PROXY_OPTS_DEFAULT,
		.metrics = true,
	};
	int c, r;

	(void)sl_addr_parse(SL_STR("127.0.0.1:15020"), &o.metrics_address); /* parses */

	optind = 0; /* from the start, wherever an earlier call stopped */
	while ((c = getopt_long(argc, argv, "c:hV", long_options, NULL)) != -1) {
		r = take(&o, c, optarg);
		if (r)
			return r;
	}
	if (optind < argc) {
		fprintf(stderr, "sluiced: unexpected argument '%s'\n", argv[optind]);
		return SL_OPTIONS_USAGE;
	}
	r = settle(&o);
	if (!r)
		*ret = o;
	return r;
}
