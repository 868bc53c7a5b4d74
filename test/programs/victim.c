/*
 * Builds an enclave, runs it on two threads, has it evicted, forks and execs with it, and begins anew; to be killed at
 * any moment. The name of the process says which moment it is.
 */
#define _GNU_SOURCE
#include "odd.h"

#include <err.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS_PER_IMAGE 3
#define CHILDREN 3

static void moment(const char *name)
{
	prctl(PR_SET_NAME, name);
}

static void *run(void *thread)
{
	for (uint64_t i = 0; i < 500; i++)
		check(compute_once(i, (int)(intptr_t)thread));
	return NULL;
}

static void run_on_two_threads(void)
{
	pthread_t other;

	if (pthread_create(&other, NULL, run, (void *)1))
		errx(1, "pthread_create");
	run((void *)0);
	pthread_join(other, NULL);
}

static void touch_all(void)
{
	struct work fill = { .function = WORK_FILL, .number = 7 }, look = { .function = WORK_CHECK, .number = 7 };

	check(run_work(&fill, 0).function == 4);
	check(run_work(&look, 0).function == 4 && look.answer == 0);
}

static void round_of_moments(void)
{
	moment("build");
	load_worker("small");
	moment("run");
	run_on_two_threads();
	moment("evict");
	touch_all();
	munmap((void *)enclave.base, 0x8000000);
}

static void children(const char *self, int exec)
{
	for (int i = 0; i < CHILDREN; i++) {
		pid_t pid = fork();
		if (pid == 0) {
			if (exec)
				execl(self, self, "child", NULL);
			for (uint64_t call = 0; call < 300; call++)
				check(compute_once(call, i % 2));
			_exit(failures != 0);
		}
	}
	while (wait(NULL) > 0)
		;
}

int main(int count, char **arguments)
{
	if (count > 1) {
		round_of_moments();
		return failures != 0;
	}
	for (int i = 0; i < ROUNDS_PER_IMAGE; i++) {
		round_of_moments();
		load_worker("small");
		moment("fork");
		children(arguments[0], 0);
		moment("exec");
		children(arguments[0], 1);
		munmap((void *)enclave.base, 0x8000000);
		if (failures)
			return 1;
	}
	execl(arguments[0], arguments[0], NULL);
	err(1, "%s", arguments[0]);
}
