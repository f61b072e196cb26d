/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include "admin/unix_listen.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "core/control.h"
#include "core/handover.h"
#include "core/options.h"
#include "datapath/probe.h"
#include "netns/netns.h"

/* An agent that was killed leaves them behind. */
static int forget_sockets(const struct sl_options *opts)
{
	_cleanup_(sl_freep) char *handover = sl_handover_path(opts);
	const char *const paths[] = {handover, opts->admin_socket};

	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		int r = paths[i] ? sl_unix_forget(paths[i]) : -ENOMEM;

		if (r && r != -EADDRINUSE) { /* another agent's */
			sl_error("cannot take away a socket path=\"%s\": %s",
				 paths[i] ? paths[i] : "", sl_strerror(r));
			return r;
		}
	}
	return 0;
}

static int uninstall(const struct sl_options *opts)
{
	int r = sl_datapath_remove(opts->bpffs);

	if (r)
		sl_error("cannot take away programs and maps: %s%s", sl_strerror(r),
			 r == -EBUSY ? " (a sluiced uses them: stop it first)" : "");
	return r || forget_sockets(opts) ? 1 : 0;
}

/* As sluicectl check shows it, where no agent can run. */
static int check(const struct sl_options *opts)
{
	struct sl_probe probes[SL_PROBE_MAX];
	size_t n = sl_probe_run(opts->cgroup, probes);

	for (size_t i = 0; i < n; i++)
		printf("%-20s %-8s %s\n", probes[i].name,
		       probes[i].ok	    ? "ok"
		       : probes[i].required ? "MISSING"
					    : "off",
		       probes[i].message);
	return sl_probe_passed(probes, n) ? 0 : 1;
}

/* In a cluster Pods are steered, and what the system itself runs is left alone. */
static int choose_cgroup(struct sl_options *opts)
{
	static char path[4096];
	int r;

	if (!opts->kubernetes || opts->cgroup)
		return 0;
	r = sl_cgroups_find_pods(path, sizeof(path));
	if (r)
		sl_error("cannot find the kubelet's cgroup, kubepods.slice or kubepods (name one "
			 "with "
			 "--cgroup): %s",
			 sl_strerror(r));
	else
		opts->cgroup = path;
	return r;
}

int main(int argc, char **argv)
{
	struct sl_options opts;
	int r = sl_options_parse(argc, argv, &opts);

	if (r)
		return r == SL_OPTIONS_EXIT ? 0 : 2;
	if (opts.check)
		return check(&opts);
	if (opts.uninstall)
		return uninstall(&opts);
	return choose_cgroup(&opts) ? 1 : sl_control_run(&opts);
}
