/*
 * The untrusted side: worker threads call the enclave all the time, while it grows from one thread to many and back.
 *
 * Usage: host [--threads N] [--rounds N] [--workers N] [--pause US] [--step]
 *        --pause  how long a worker rests between two calls, in microseconds
 *        --step   before the first round and after each wait for a line on standard input, so that somebody can look
 *        host --time FROM COUNT
 *        for each line on standard input: grow from FROM threads by COUNT and back, without workers, and print how many
 *        nanoseconds each added thread took
 */
#include "calls.h"
#include "layout.h"
#include "slots.h"

#include <err.h>
#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int stopping, pause_us;
static uint64_t right, wrong;

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void *work(void *argument)
{
	uint64_t number = (uint64_t)argument;

	while (!__atomic_load_n(&stopping, __ATOMIC_RELAXED)) {
		uint64_t answer = slots_call(CALL_WORK, number);

		__atomic_add_fetch(answer == collatz(number) ? &right : &wrong, 1, __ATOMIC_RELAXED);
		number += 17;
		if (pause_us > 0)
			usleep((useconds_t)pause_us);
	}
	return NULL;
}

/* Adds or removes threads until there are `target`. Returns milliseconds for each. */
static double resize(int *threads, int target)
{
	int steps = abs(target - *threads);
	double start = now_ms();

	while (*threads < target)
		slots_add((*threads)++);
	while (*threads > target)
		slots_remove(--*threads);
	return steps == 0 ? 0 : (now_ms() - start) / steps;
}

/* Every thread of the enclave has been in use. */
static void wait_for_all(int threads)
{
	for (int slot = 0; slot < threads; slot++)
		while (slots_call(CALL_COUNT, (uint64_t)slot) == 0)
			sched_yield();
}

static void wait_for_line(void)
{
	char line[16];

	fflush(stdout);
	if (fgets(line, sizeof(line), stdin) == NULL)
		exit(0);
}

static void time_growth(FILE *figures, int from, int count)
{
	int threads = 1;

	if (from < 1 || count < 1 || from + count > MAX_THREADS)
		errx(1, "--time: 1 to %d threads in all", MAX_THREADS);
	resize(&threads, from);
	for (;;) {
		wait_for_line();
		fprintf(figures, "%.3f\n", resize(&threads, from + count) * 1e6);
		fflush(figures);
		resize(&threads, from);
	}
}

static void rounds(int count, int most, int workers, int step)
{
	int threads = 1;

	if (step) {
		printf("ready: one thread\n");
		wait_for_line();
	}
	for (int round = 1; round <= count; round++) {
		uint64_t before = __atomic_load_n(&right, __ATOMIC_RELAXED);
		double first = resize(&threads, 1 + most / 8), rest = resize(&threads, most);

		if (workers > 0)
			wait_for_all(most);
		double removal = resize(&threads, 1);
		printf("round %d: 1 -> %d -> 1 threads, added in %.2f ms each (the first %d in %.2f), removed in %.2f ms, "
		       "%lu calls meanwhile\n",
		       round, most, rest, most / 8, first, removal,
		       (unsigned long)(__atomic_load_n(&right, __ATOMIC_RELAXED) - before));
		if (step)
			wait_for_line();
	}
}

static int option(int argc, char **argv, const char *name, int value, int least, int most)
{
	for (int i = 1; i + 1 < argc; i++)
		if (!strcmp(argv[i], name))
			value = atoi(argv[i + 1]);
	if (value < least || value > most)
		errx(1, "%s has %d to %d", name, least, most);
	return value;
}

static int has(int argc, char **argv, const char *name)
{
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], name))
			return i;
	return 0;
}

int main(int argc, char **argv)
{
	int most = option(argc, argv, "--threads", MAX_THREADS, 1, MAX_THREADS);
	int count = option(argc, argv, "--rounds", 1, 1, 1000000);
	int workers = option(argc, argv, "--workers", 4, 0, 1024);
	pause_us = option(argc, argv, "--pause", 100, 0, 1000000);
	int timing = has(argc, argv, "--time");
	char elf[PATH_MAX], sigstruct[PATH_MAX], *own_path = strdup(argv[0]);
	const char *folder = dirname(own_path);
	pthread_t *thread = calloc((size_t)workers + 1, sizeof(*thread));

	snprintf(elf, sizeof(elf), "%s/enclave.elf", folder);
	snprintf(sigstruct, sizeof(sigstruct), "%s/enclave.sigstruct", folder);
	setvbuf(stdout, NULL, _IOLBF, 0);
	/* Figures alone, without what the loader says. */
	FILE *figures = timing ? fdopen(dup(STDOUT_FILENO), "w") : NULL;
	if (timing && (timing + 2 >= argc || figures == NULL || freopen("/dev/null", "w", stdout) == NULL))
		errx(1, "usage: host --time FROM COUNT");
	slots_open(elf, sigstruct);
	if (timing)
		time_growth(figures, atoi(argv[timing + 1]), atoi(argv[timing + 2]));
	for (int i = 0; i < workers; i++)
		if (pthread_create(&thread[i], NULL, work, (void *)(uintptr_t)(i * 1000 + 27)) != 0)
			errx(1, "cannot start worker %d", i);
	rounds(count, most, workers, has(argc, argv, "--step"));
	__atomic_store_n(&stopping, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < workers; i++)
		pthread_join(thread[i], NULL);
	printf("%d rounds, %lu calls answered right, %lu wrong\n", count, (unsigned long)right, (unsigned long)wrong);
	free(thread);
	free(own_path);
	return wrong != 0;
}
