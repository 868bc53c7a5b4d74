/* What every test uses: check() counts, finish() prints "ok" or fails. */
#ifndef VITRINE_CHECK_H
#define VITRINE_CHECK_H

#include <stdio.h>
#include <stdlib.h>

static int check_failures;

#define check(condition, ...) \
	do { \
		if (!(condition)) { \
			check_failures++; \
			fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition); \
			fprintf(stderr, " " __VA_ARGS__); \
			fputc('\n', stderr); \
		} \
	} while (0)

static inline int finish(const char *name)
{
	if (!check_failures)
		printf("ok %s\n", name);
	return check_failures ? 1 : 0;
}

#endif
