/* Checks that are counted, for programs of one file. */
#ifndef CHECK_H
#define CHECK_H

#include <errno.h>
#include <stdio.h>

static int checks, failures;

#define check(condition) check_at(__LINE__, #condition, !!(condition))

static inline void check_at(int line, const char *text, int holds)
{
	checks++;
	if (holds)
		return;
	failures++;
	fprintf(stderr, "line %d: %s (errno %d)\n", line, text, errno);
}

static inline int report_checks(void)
{
	printf("%d checks, %d failed\n", checks, failures);
	return failures != 0;
}

#endif
