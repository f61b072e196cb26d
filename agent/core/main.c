/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include "base/log.h"
#include "core/control.h"
#include "core/options.h"

static int uninstall(const struct sl_options *opts)
{
	int r = sl_datapath_remove(opts->bpffs);

	if (r)
		sl_error("cannot take away programs and maps: %s%s", sl_strerror(r),
			 r == -EBUSY ? " (a sluiced uses them: stop it first)" : "");
	return r ? 1 : 0;
}

int main(int argc, char **argv)
{
	struct sl_options opts;
	int r = sl_options_parse(argc, argv, &opts);

	if (r)
		return r == SL_OPTIONS_EXIT ? 0 : 2;
	return opts.uninstall ? uninstall(&opts) : sl_control_run(&opts);
}
