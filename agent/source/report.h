/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What a source of configuration says when there is a new state of it. */
#include "resource/diag.h"
#include "resource/model.h"

struct sl_config_report {
	/* All problems as they stand; of a folder sorted by file and line. */
	const struct sl_diags *diags;
	size_t n_files, n_documents; /* files: 0 of sources without */
};

/* Called in the loop's thread after each load with a whole new state; borrowed during the call. */
typedef void (*sl_config_fn)(void *arg, const struct sl_model *model,
			     const struct sl_config_report *report);
