/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A folder of YAML files as the source of configuration: the embedded default. Any file layout,
 * several documents a file, subfolders too; names starting with "." and names not ending in .yaml,
 * .yml or .json are ignored. Watched with inotify; changes that belong together (an editor's
 * rename, a git checkout) are applied as one, after a short quiet time (and at most a second after
 * the first).
 *
 * A file that does not parse keeps the objects that it last gave; an object that is invalid keeps
 * its last valid version. Either is an error in the report, neither touches any other object. A
 * file that goes takes its objects along. The same object in two files: the first by file name
 * counts, the other is an error.
 *
 * A file that somebody has open and wrote to is read when it is closed (or ten seconds after the
 * last write). When the folder itself is gone, or a part of it cannot be read, what it gave stays
 * in force, and it is looked for again every second. Links to files are followed, but a change
 * behind one is seen only if something happens in the folder, as it does in a ConfigMap volume.
 * Thread: the loop's.
 */
#include "loop/loop.h"
#include "source/report.h"

struct sl_folder;

/* Loads once before returning (fn is called). Returns 0, -ENOENT or -ENOTDIR (no such folder),
 * -errno. */
int sl_folder_open(struct sl_loop *loop, const char *path, sl_config_fn fn, void *arg,
		   struct sl_folder **ret);
/* Load again now, changed or not (SIGHUP). */
int sl_folder_reload(struct sl_folder *f);
/* Call fn once more with what is loaded: something else that counts has changed. */
void sl_folder_tell(struct sl_folder *f);
struct sl_folder *sl_folder_close(struct sl_folder *f);

/* Once, without watching: for validation offline. *ret_model is the caller's. */
int sl_folder_load(const char *path, struct sl_model **ret_model, struct sl_diags *diags,
		   struct sl_config_report *ret);
