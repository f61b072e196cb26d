/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * One file of the folder: what it last gave, and how to read it again. Private to this folder.
 * Thread: control.
 */
#include <sys/stat.h>
#include "base/list.h"
#include "resource/diag.h"
#include "resource/object.h"

enum { SL_FILE_LIMIT_BYTES = 8 << 20 };

/* An object that the file describes. */
struct sl_file_object {
	struct sl_str key;	  /* "kind/namespace/name", in the file's arena */
	struct sl_object *object; /* a reference; NULL: invalid, and no earlier version is known */
};

/* What one reading of the file gave. */
struct sl_file_content {
	struct sl_arena arena;
	struct sl_file_object *objects; /* in the order of the file */
	size_t n, cap;
	size_t n_documents;
	struct sl_diags diags;
};

struct sl_file {
	struct sl_str path; /* relative to the folder; its bytes are the file's own */
	struct sl_file_content content;
	struct stat stat; /* as it was when read; st_nlink 0: never read */
	uint64_t hash;	  /* of the text */
	bool has_text;	  /* hash is valid */
	int read_error;	  /* -errno of the last try, 0 when it went well */
	bool force;	  /* read it even if stat is the same: two writes can share a time stamp */
	bool seen;	  /* in the scan that is going on */
	uint64_t writing_ns; /* somebody has it open and wrote last at this time; 0: nobody */

	/* The store's. */
	struct sl_list touched;		/* something happened to it since it was read */
	struct sl_list troubled;	/* its content has diags */
	bool unindexed;			/* its content is newer than its entries */
	size_t n_counted;		/* documents, in the store's sum */
	struct sl_index_entry *entries; /* the index's: what of content others can find */
	size_t n_entries;
};

int sl_file_new(struct sl_str path, struct sl_file **ret);
struct sl_file *sl_file_free(struct sl_file *f);

enum { SL_FILE_SAME = 1 };
/*
 * Read the file at full_path if it is not what it was. A text that does not parse leaves the
 * objects of the last one that did; an invalid object leaves its last valid version; both are
 * errors in content.diags. Returns 0, SL_FILE_SAME, or -ENOMEM (as if nothing had been read).
 */
int sl_file_load(struct sl_file *f, const char *full_path);
/* Decode a text as the file's new content; sl_file_load() without the reading. 0 or -ENOMEM. */
int sl_file_parse(struct sl_file *f, struct sl_str text);
