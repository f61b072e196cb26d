/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include "base/log.h"
#include "core/control.h"
#include "core/options.h"
#include "datapath/probe.h"

static int uninstall(const struct sl_options *opts)
{
	int r = sl_datapath_remove(opts->bpffs);

	if (r)
		sl_error("cannot take away programs and maps: %s%s", sl_strerror(r),
			 r == -EBUSY ? " (a sluiced uses them: stop it first)" : "");
	return r ? 1 : 0;
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

int main(int argc, char **argv)
{
	struct sl_options opts;
	int r = sl_options_parse(argc, argv, &opts);

	if (r)
		return r == SL_OPTIONS_EXIT ? 0 : 2;
	if (opts.check)
		return check(&opts);
	return opts.uninstall ? uninstall(&opts) : sl_control_run(&opts);
}
