/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What a YAML scalar stands for. Private to this folder. Thread: any. */
#include <jansson.h>
#include "base/str.h"

/*
 * A plain (unquoted) scalar as YAML 1.2's core schema reads it, less what JSON does not have: .inf
 * and .nan are text. So is a number with leading zeros: YAML 1.1 reads it in octal, 1.2 in decimal,
 * and guessing would be worse than the complaint of whoever wanted a number. NULL when out of
 * memory.
 */
json_t *sl_yaml_resolve(struct sl_str s);
