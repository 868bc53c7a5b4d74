// Batches on request: the bench writes a line, the program does one batch and answers with nanoseconds per operation.
// So a program and its yardstick stay alive and take turns, and a slow second hits both.
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline double now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

// `batch` returns the nanoseconds that `operations` operations took.
static inline int serve_batches(double (*batch)(long operations), long operations)
{
	char line[16];

	while (fgets(line, sizeof line, stdin)) {
		printf("%.3f\n", batch(operations) / operations);
		fflush(stdout);
	}
	return 0;
}

static inline void die(const char *what)
{
	perror(what);
	exit(1);
}
