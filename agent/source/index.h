/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Which files describe which objects, so that a file that changes costs what it describes: of
 * several files the first by name counts. Private to this folder. Thread: control.
 */
#include "resource/model.h"
#include "source/file.h"

struct sl_index {
	struct sl_map objects;	  /* by "kind/namespace/name" */
	struct sl_list changed;	  /* objects that the model may not show yet */
	struct sl_list conflicts; /* objects that are described more than once */
};

void sl_index_init(struct sl_index *ix);
/* Files were forgotten before. */
void sl_index_deinit(struct sl_index *ix);
/* What the file says now, in place of what it said. Returns 0 or -ENOMEM (nothing changed). */
int sl_index_file(struct sl_index *ix, struct sl_file *f);
void sl_index_forget(struct sl_index *ix, struct sl_file *f);
/*
 * Brings the model to what the files say. An object that only invalid descriptions are left of goes
 * on as it was: it moved to another file and broke on the way. Returns 0 or -ENOMEM (the model is
 * as before, and the change is not forgotten).
 */
int sl_index_settle(struct sl_index *ix, struct sl_model *model);
/* Adds an error for each description that does not count because of an earlier one. */
void sl_index_report(const struct sl_index *ix, struct sl_diags *diags);
