/* SPDX-License-Identifier: Apache-2.0 */
/* Holds a pod's namespaces: waits, takes children that are nobody's, ends when told to. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void end(int number)
{
	_exit(number == SIGTERM || number == SIGINT ? 0 : 1);
}

static void take_children(int number)
{
	(void)number;
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

int main(void)
{
	(void)signal(SIGTERM, end);
	(void)signal(SIGINT, end);
	(void)signal(SIGCHLD, take_children);
	for (;;)
		(void)pause();
}
