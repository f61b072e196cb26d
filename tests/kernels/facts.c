/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: facts [--old] [--alone] [WORD...]    only the facts whose claim contains one of the words
 *
 * --old: the kernel may refuse programs that Sluice needs. --alone: nobody else is on this machine,
 * limits of all of it may be changed (and are put back).
 *
 * What the kernel does with sockets in a SOCKHASH, claim by claim, as TAP. A fact that is the same
 * on every kernel passes or fails; of one that differs the answer is told, and only an unknown one
 * fails. Needs root.
 */
#include "facts.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "facts_load.h"

#define FACT_SECONDS 120 /* a few under emulation on a busy machine */

static const struct fact *const tables[] = {
	facts_queue, facts_wake, facts_map,   facts_iter,   facts_calls,
	facts_ends,  facts_lock, facts_trace, facts_memory,
};

bool alone;
static bool old;

/* Written by the process of a fact, read by the first one. */
static struct result {
	char text[240];
	char answer[64];
	bool failed, lacking;
} * result;

void expect(bool good, const char *fmt, ...)
{
	va_list ap;

	if (good)
		return;
	va_start(ap, fmt);
	vsnprintf(result->text, sizeof(result->text), fmt, ap);
	va_end(ap);
	result->failed = true;
	_exit(1);
}

void answer(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(result->answer, sizeof(result->answer), fmt, ap);
	va_end(ap);
}

void needs(const char *what)
{
	if (old)
		lacks("%s", what);
	expect(false, "no program of this kind is loaded: %s", what);
	_exit(1);
}

void note(const char *fmt, ...)
{
	va_list ap;

	printf("# ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout); /* this process ends by _exit() */
}

void lacks(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(result->text, sizeof(result->text), fmt, ap);
	va_end(ap);
	result->lacking = true;
	_exit(0);
}

/* Is @word one of "a|b|c"? */
static bool known(const char *answers, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = answers; n && p; p = strchr(p, '|')) {
		p += *p == '|';
		if (!strncmp(p, word, n) && (p[n] == '|' || !p[n]))
			return true;
	}
	return false;
}

static void run_one(const struct fact *f)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(FACT_SECONDS);
	signal(SIGPIPE, SIG_IGN);
	netns_fresh();
	f->test();
	_exit(0);
}

/* What went wrong, or NULL. */
static const char *judge(const struct fact *f, int status)
{
	static char text[80];

	if (result->failed)
		return result->text;
	if (WIFSIGNALED(status)) {
		snprintf(text, sizeof(text), "%s",
			 WTERMSIG(status) == SIGALRM ? "it did not end" : "it died");
		return text;
	}
	if (WEXITSTATUS(status))
		return "it ended early";
	if (!result->lacking && f->answers && !known(f->answers, result->answer))
		return "an answer that is not known";
	return NULL;
}

/* 1: true, 0: false, -1: it could not be asked here. */
static int run_fact(const struct fact *f, int n)
{
	const char *wrong;
	int status = 0;
	pid_t pid;

	memset(result, 0, sizeof(*result));
	memset(seen, 0, sizeof(*seen));
	fflush(stdout);
	pid = fork();
	if (!pid)
		run_one(f);
	if (pid < 0 || waitpid(pid, &status, 0) != pid) {
		printf("Bail out! no process\n");
		exit(99);
	}
	wrong = judge(f, status);
	if (!wrong && result->lacking) {
		printf("# not asked: %s: %s\n", f->claim, result->text);
		return -1;
	}
	printf("%sok %d - %s%s%s\n", wrong ? "not " : "", n, f->claim, *result->answer ? " " : "",
	       result->answer);
	if (wrong)
		printf("# %s\n", wrong);
	return !wrong;
}

static bool chosen(const struct fact *f, char **words)
{
	if (!*words)
		return true;
	for (; *words; words++)
		if (strstr(f->claim, *words))
			return true;
	return false;
}

int main(int argc, char **argv)
{
	int n = 0, n_failed = 0;

	for (argv++; *argv && !strncmp(*argv, "--", 2); argv++) {
		old |= !strcmp(*argv, "--old");
		alone |= !strcmp(*argv, "--alone");
	}
	result = mmap(NULL, sizeof(*result), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (result == MAP_FAILED || facts_load()) {
		printf("Bail out! the programs do not load: %s\n", strerror(errno));
		return 99;
	}
	for (size_t t = 0; t < sizeof(tables) / sizeof(*tables); t++)
		for (const struct fact *f = tables[t]; f->claim; f++)
			if (chosen(f, argv)) {
				int r = run_fact(f, n + 1);

				n += r >= 0;
				n_failed += !r;
			}
	printf("1..%d\n", n);
	return n_failed != 0;
}
