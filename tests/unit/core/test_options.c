/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include "base/clock.h"
#include "base/log.h"
#include "core/limits.h"
#include "core/options.h"

enum { MAX_ARGS = 32 };

/* Words of a command line, split at blanks. */
static int parse(const char *line, struct sl_options *ret)
{
	static char text[1024];
	char *argv[MAX_ARGS] = {(char *)"sluiced"};
	int argc = 1;

	cr_assert_lt(strlen(line), sizeof(text));
	memcpy(text, line, strlen(line) + 1);
	for (char *p = text; *p;) {
		size_t n = strcspn(p, " ");

		cr_assert_lt(argc, MAX_ARGS - 1);
		argv[argc++] = p;
		p += n;
		while (*p == ' ')
			*p++ = '\0';
	}
	return sl_options_parse(argc, argv, ret);
}

Test(options, without_any_the_defaults_hold)
{
	struct sl_options o;
	struct sl_addr metrics;

	cr_assert_eq(parse("-c /etc/sluice", &o), 0);
	cr_assert_str_eq(o.config_dir, "/etc/sluice");
	cr_assert_null(o.cgroup);
	cr_assert_null(o.bpffs);
	cr_assert_eq(o.n_netns_dirs, 1);
	cr_assert_str_eq(o.netns_dirs[0], "/run/netns");
	cr_assert(o.host_netns);
	cr_assert_geq(o.n_workers, 1);
	cr_assert_eq(o.provider, SL_VIP_SELF);
	cr_assert_eq(o.policy, SL_FAIL_OPEN);
	cr_assert_eq(o.heartbeat_limit_ns, 2 * SL_NS_PER_S);
	cr_assert_eq(o.drain_timeout_ns, 10 * SL_NS_PER_S);
	cr_assert_null(o.status_file);
	cr_assert_null(o.access_log);
	cr_assert_str_eq(o.admin_socket, "/run/sluice/admin.sock");
	cr_assert(o.metrics);
	cr_assert_eq(sl_addr_parse(SL_STR("127.0.0.1:15020"), &metrics), 0);
	cr_assert(sl_addr_eq(&o.metrics_address, &metrics));
	cr_assert_not(o.detach);
	cr_assert_not(o.uninstall);
}

Test(options, each_one_is_taken)
{
	struct sl_options o;
	struct sl_addr metrics;

	cr_assert_eq(parse("--config=/c --cgroup /cg --bpffs /b --netns-dir /n1 --netns-dir /n2 "
			   "--no-host-netns --workers 3 --vip-provider other "
			   "--failure-policy closed --heartbeat-limit 100 --drain-timeout 0",
			   &o),
		     0);
	cr_assert_str_eq(o.config_dir, "/c");
	cr_assert_str_eq(o.cgroup, "/cg");
	cr_assert_str_eq(o.bpffs, "/b");
	cr_assert_eq(o.n_netns_dirs, 2);
	cr_assert_str_eq(o.netns_dirs[0], "/n1");
	cr_assert_str_eq(o.netns_dirs[1], "/n2");
	cr_assert_not(o.host_netns);
	cr_assert_eq(o.n_workers, 3);
	cr_assert_eq(o.provider, SL_VIP_OTHER);
	cr_assert_eq(o.policy, SL_FAIL_CLOSED);
	cr_assert_eq(o.splice, SL_SPLICE_MODE_OFF);
	cr_assert_eq(o.heartbeat_limit_ns, 100 * SL_NS_PER_MS);
	cr_assert_eq(o.drain_timeout_ns, 0);

	cr_assert_eq(parse("-c /c --status-file /s --access-log - --admin-socket /a "
			   "--metrics [::1]:99 --log-level debug --detach --vip-provider self "
			   "--failure-policy open --takeover --linger --splice force "
			   "--limit splice-bytes=1024 --limit splice-total-bytes=2048 "
			   "--limit splice-after=9",
			   &o),
		     0);
	cr_assert_str_eq(o.status_file, "/s");
	cr_assert_str_eq(o.access_log, "-");
	cr_assert_str_eq(o.admin_socket, "/a");
	cr_assert_eq(sl_addr_parse(SL_STR("[::1]:99"), &metrics), 0);
	cr_assert(sl_addr_eq(&o.metrics_address, &metrics));
	cr_assert_eq(sl_log_level, SL_LOG_DEBUG);
	cr_assert(o.detach);
	cr_assert(o.takeover && o.linger);
	cr_assert_eq(o.provider, SL_VIP_SELF);
	cr_assert_eq(o.policy, SL_FAIL_OPEN);
	cr_assert_eq(o.splice, SL_SPLICE_FORCE);
	cr_assert_eq(o.proxy.splice_bytes, 1024);
	cr_assert_eq(o.proxy.splice_total_bytes, 2048);
	cr_assert_eq(o.proxy.splice_exchanges, 9);

	cr_assert_eq(parse("-c /c --splice on --splice off", &o), 0);
	cr_assert_eq(o.splice, SL_SPLICE_MODE_OFF);
	cr_assert_eq(parse("-c /c --splice vouched", &o), 0);
	cr_assert_eq(o.splice, SL_SPLICE_VOUCHED);
	cr_assert_eq(parse("-c /c --splice on", &o), 0);
	cr_assert_eq(o.splice, SL_SPLICE_ON);
	cr_assert_eq(parse("-c /c --metrics off", &o), 0);
	cr_assert_not(o.metrics);
	cr_assert_eq(parse("--uninstall", &o), 0);
	cr_assert(o.uninstall);
}

static const struct {
	const char *line;
	int r;
} lines[] = {
	{"", SL_OPTIONS_USAGE},
	{"--help", SL_OPTIONS_EXIT},
	{"-h", SL_OPTIONS_EXIT},
	{"--version", SL_OPTIONS_EXIT},
	{"-V", SL_OPTIONS_EXIT},
	{"-c /c extra", SL_OPTIONS_USAGE},
	{"-c", SL_OPTIONS_USAGE},
	{"-c /c --no-such-option", SL_OPTIONS_USAGE},
	{"-c /c --workers 0", SL_OPTIONS_USAGE},
	{"-c /c --workers 1", 0},
	{"-c /c --workers 256", 0},
	{"-c /c --workers 257", SL_OPTIONS_USAGE},
	{"-c /c --workers two", SL_OPTIONS_USAGE},
	{"-c /c --workers -1", SL_OPTIONS_USAGE},
	{"-c /c --workers 18446744073709551617", SL_OPTIONS_USAGE},
	{"-c /c --heartbeat-limit 99", SL_OPTIONS_USAGE},
	{"-c /c --heartbeat-limit 3600000", 0},
	{"-c /c --heartbeat-limit 3600001", SL_OPTIONS_USAGE},
	{"-c /c --drain-timeout 1s", SL_OPTIONS_USAGE},
	{"-c /c --vip-provider nobody", SL_OPTIONS_USAGE},
	{"-c /c --failure-policy ajar", SL_OPTIONS_USAGE},
	{"-c /c --log-level loud", SL_OPTIONS_USAGE},
	{"-c /c --splice auto", SL_OPTIONS_USAGE},
	{"-c /c --limit splice-after=0", SL_OPTIONS_USAGE},
	{"-c /c --metrics nonsense", SL_OPTIONS_USAGE},
	{"-c /c --metrics 127.0.0.1", SL_OPTIONS_USAGE},
	{"-c /c --limit header-bytes", SL_OPTIONS_USAGE},
	{"-c /c --limit header-bytes=", SL_OPTIONS_USAGE},
	{"-c /c --limit header-bytes=255", SL_OPTIONS_USAGE},
	{"-c /c --limit header-bytes=256", 0},
	{"-c /c --limit no-such-limit=1", SL_OPTIONS_USAGE},
	{"-c /c --limit =1", SL_OPTIONS_USAGE},
};

Test(options, what_is_wrong_is_refused)
{
	struct sl_options o;

	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
		cr_assert_eq(parse(lines[i].line, &o), lines[i].r, "%s", lines[i].line);
}

Test(options, netns_folders_have_a_limit)
{
	char line[600] = "-c /c";
	struct sl_options o;
	size_t n = strlen(line);

	for (int i = 0; i <= SL_MAX_NETNS_DIRS; i++)
		n += (size_t)snprintf(line + n, sizeof(line) - n, " --netns-dir=/n%d", i);
	cr_assert_eq(parse(line, &o), SL_OPTIONS_USAGE);
	*strrchr(line, ' ') = '\0';
	cr_assert_eq(parse(line, &o), 0);
	cr_assert_eq(o.n_netns_dirs, SL_MAX_NETNS_DIRS);
	cr_assert_str_eq(o.netns_dirs[SL_MAX_NETNS_DIRS - 1], "/n15");
}

static struct sl_proxy_opts with(const char *limits)
{
	struct sl_options o;
	char line[200];

	(void)snprintf(line, sizeof(line), "-c /c --limit %s", limits);
	cr_assert_eq(parse(line, &o), 0, "%s", limits);
	return o.proxy;
}

Test(options, limits_are_set_by_name)
{
	cr_assert_eq(with("request-line-bytes=100").h1.start_line_bytes, 100);
	cr_assert_eq(with("header-bytes=1000").h1.head_bytes, 1000);
	cr_assert_eq(with("header-count=7").h1.n_headers, 7);
	cr_assert_eq(with("trailer-bytes=99").h1.trailer_bytes, 99);
	cr_assert_eq(with("header-timeout=20").header_timeout_ns, 20 * SL_NS_PER_MS);
	cr_assert_eq(with("idle-timeout=30").idle_timeout_ns, 30 * SL_NS_PER_MS);
	cr_assert_eq(with("connect-timeout=40").connect_timeout_ns, 40 * SL_NS_PER_MS);
	cr_assert_eq(with("ping-interval=50").ping_interval_ns, 50 * SL_NS_PER_MS);
	cr_assert_eq(with("h2-streams=8").h2.n_streams, 8);
	cr_assert_eq(with("h2-window-bytes=70000").h2.window_bytes, 70000);
	cr_assert_eq(with("h2-continuations=9").h2.continuations, 9);
	cr_assert_eq(with("h2-resets=10").h2.resets, 10);
	cr_assert_eq(with("h2-settings=11").h2.settings, 11);
	cr_assert_eq(with("h2-pings=12").h2.pings, 12);
	cr_assert_eq(with("h2-empty-frames=13").h2.empty_frames, 13);
	cr_assert_eq(with("h2-window-updates=14").h2.window_updates, 14);
	cr_assert_eq(with("h2-priorities=15").h2.priorities, 15);
	cr_assert_eq(with("connections=5").max_conns, 5);
	cr_assert_eq(with("buffered-bytes=65536").max_buffered_bytes, 65536);
	cr_assert_eq(with("auth-body-bytes=18").auth_body_bytes, 18);
	cr_assert_eq(with("auth-timeout=19").auth_timeout_ns, 19 * SL_NS_PER_MS);
	cr_assert_eq(with("mirrors=16").max_mirrors, 16);
	cr_assert_eq(with("socket-receive-bytes=18").room.receive_bytes, 18);
	cr_assert_eq(with("socket-unsent-bytes=0").room.unsent_bytes, 0);
	cr_assert_eq(with("mirror-body-bytes=17").mirror_body_bytes, 17);
}

Test(options, totals_are_shared_by_the_workers)
{
	struct sl_proxy_opts o = SL_PROXY_OPTS_DEFAULT;

	o.max_conns = 10;
	o.max_buffered_bytes = 100000;
	sl_limits_per_worker(&o, 3);
	cr_assert_eq(o.max_conns, 4);
	cr_assert_eq(o.max_buffered_bytes, 33334);
	o.max_conns = 1;
	sl_limits_per_worker(&o, 3);
	cr_assert_eq(o.max_conns, 1, "everybody may have one");
}

Test(options, a_cluster_is_a_source_too)
{
	struct sl_options o;

	(void)unsetenv("NODE_NAME");
	cr_assert_eq(parse("--kubernetes", &o), 0);
	cr_assert(o.kubernetes);
	cr_assert_null(o.config_dir);
	cr_assert_null(o.kubeconfig);
	cr_assert_null(o.node);
	cr_assert_eq(o.provider, SL_VIP_OTHER, "kube-proxy is there");
	cr_assert_eq(parse("--kubeconfig k --context c --node n --vip-provider self", &o), 0);
	cr_assert(o.kubernetes);
	cr_assert_str_eq(o.kubeconfig, "k");
	cr_assert_str_eq(o.context, "c");
	cr_assert_str_eq(o.node, "n");
	cr_assert_eq(o.provider, SL_VIP_SELF);
	(void)setenv("NODE_NAME", "from-the-pod", 1);
	cr_assert_eq(parse("--kubernetes", &o), 0);
	cr_assert_str_eq(o.node, "from-the-pod");
	cr_assert_str_eq(o.mesh_name, "sluice");
	cr_assert_eq(parse("--kubernetes --mesh-name other.mesh", &o), 0);
	cr_assert_str_eq(o.mesh_name, "other.mesh");
	cr_assert_eq(parse("--kubernetes --mesh-name=", &o), 0);
	cr_assert_str_eq(o.mesh_name, "");
	cr_assert_eq(parse("--kubernetes --mesh-name a/b", &o), SL_OPTIONS_USAGE);
	cr_assert_eq(parse("--kubernetes --config /c", &o), SL_OPTIONS_USAGE);
	cr_assert_eq(parse("--config /c", &o), 0);
	cr_assert_null(o.dns_servers);
	cr_assert_eq(parse("--config /c --dns-servers 10.0.0.10,[fd00::1]:5353,::1", &o), 0);
	cr_assert_str_eq(o.dns_servers, "10.0.0.10,[fd00::1]:5353,::1");
	cr_assert_eq(parse("--config /c --dns-servers 10.0.0.10,", &o), SL_OPTIONS_USAGE);
	cr_assert_eq(parse("--config /c --dns-servers dns.example", &o), SL_OPTIONS_USAGE);
	cr_assert_eq(parse("--config /c --dns-servers=", &o), SL_OPTIONS_USAGE);
	cr_assert_eq(parse("--kubernetes --context c", &o), SL_OPTIONS_USAGE);
}
