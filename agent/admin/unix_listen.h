/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A listening UNIX stream socket in the file system, for root alone. Thread: any. */

/* Mode 0600 from its first moment on; its folder is made if need be. A socket that a dead process
 * left behind is replaced. inherited: another process's listening socket for this path, taken in
 * any case, and used if its file is there still; -1: none. Returns 0, -EADDRINUSE when somebody
 * listens there, -EEXIST when something else than a socket is there, -ENAMETOOLONG, or -errno. */
int sl_unix_listen(const char *path, int backlog, int inherited, int *ret_fd);
/* Take away the socket of a dead process, and its folder if that is empty then. Returns 0, also
 * when there is none; -EADDRINUSE when somebody listens there, -EEXIST when it is something else
 * than a socket, -ENAMETOOLONG, or -errno. */
int sl_unix_forget(const char *path);
