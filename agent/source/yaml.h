/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * YAML (libyaml) to a JSON tree (jansson), with the line of each node, so that one decoder serves
 * files and the Kubernetes API. YAML 1.1 core subset as Kubernetes reads it: scalars resolve to
 * null, bool (true/false only), number or string; quoted ones are strings; anchors, aliases and
 * merge keys are resolved with a limit on the expansion; duplicate keys and non-string keys are
 * errors.
 */
#include <jansson.h>
#include "base/cleanup.h"
#include "base/str.h"

struct sl_yaml_error {
	uint32_t line;
	char message[200];
};

/* One document of a file. */
struct sl_yaml_doc;
struct sl_yaml;

/* text is borrowed until sl_yaml_free(). Returns 0 or -ENOMEM. */
int sl_yaml_new(struct sl_str text, struct sl_yaml **ret);
struct sl_yaml *sl_yaml_free(struct sl_yaml *y);
SL_DEFINE_CLEANUP(struct sl_yaml *, sl_yaml_free)
enum { SL_YAML_END = 1, SL_YAML_BAD = 2 };
/* Next document (empty ones are skipped). Returns 0, SL_YAML_END, SL_YAML_BAD with *err (then no
 * further documents), -ENOMEM. */
int sl_yaml_next(struct sl_yaml *y, struct sl_yaml_doc **ret, struct sl_yaml_error *err);
struct sl_yaml_doc *sl_yaml_doc_free(struct sl_yaml_doc *d);
SL_DEFINE_CLEANUP(struct sl_yaml_doc *, sl_yaml_doc_free)
json_t *sl_yaml_doc_root(struct sl_yaml_doc *d); /* borrowed */
/* Of a node inside this document, 0 if unknown (null, true and false are shared by all places); a
 * struct sl_yaml_doc is the arg of sl_line_fn. */
uint32_t sl_yaml_doc_line(const void *doc, const json_t *node);
