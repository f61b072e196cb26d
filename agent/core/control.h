/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The control thread: everything that is not the way of a request. Wires source, compiler, workers,
 * datapath, network namespaces, status and admin together, and stops them in order.
 */
#include "core/options.h"

/* Runs until SIGTERM or SIGINT. Returns the exit status: 0 after an orderly end, 1 when something
 * that it cannot do without failed at start (said on the log). */
int sl_control_run(const struct sl_options *opts);
