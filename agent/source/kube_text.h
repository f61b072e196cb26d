/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Small files: tokens, namespaces, kubeconfigs. Private to this folder. */

enum { SL_KUBE_TEXT_LIMIT_BYTES = 1 << 20 };

/* The whole file, without white space at its end. *ret is the caller's (free()). Returns 0, -EFBIG
 * past the limit, -EINVAL when it holds a NUL, -ENOMEM, another -errno. */
int sl_kube_read_text(const char *path, char **ret);
