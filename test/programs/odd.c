#define _GNU_SOURCE
#include "odd.h"

#include <err.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int failures, checks;
struct enclave enclave;
int device = -1;
uint64_t heap;
static vdso_sgx_enter_enclave_t enter;

void check_at(const char *file, int line, const char *text, int condition)
{
	__atomic_fetch_add(&checks, 1, __ATOMIC_RELAXED);
	if (!condition) {
		__atomic_fetch_add(&failures, 1, __ATOMIC_RELAXED);
		fprintf(stderr, "%s:%d: %s (errno %d)\n", file, line, text, errno);
	}
}

void load_enclave(const char *name)
{
	char elf[64], sigstruct[64];

	snprintf(elf, sizeof elf, "build/%s.elf", name);
	snprintf(sigstruct, sizeof sigstruct, "build/%s.sigstruct", name);
	if (device >= 0)
		close(device);
	struct enclave_image image = enclave_read(elf, sigstruct);
	char *base = enclave_reserve(&image);
	device = enclave_open_device();
	enclave_create(device, &image, base);
	enclave_add_pages(device, &image, 0);
	enclave_init(device, &image);
	enclave = enclave_map(device, &image, base);
	enter = find_enter_enclave();
}

void use_enclave(struct enclave other, uint64_t its_heap)
{
	enclave = other;
	heap = its_heap;
	enter = find_enter_enclave();
}

void load_worker(const char *name)
{
	struct work work = { .function = WORK_WHERE };

	load_enclave(name);
	run_work(&work, 0);
	heap = work.answer;
}

void load(void)
{
	load_worker("worker");
}

struct sgx_enclave_run run_work(struct work *work, int thread)
{
	struct sgx_enclave_run run = { .tcs = enclave.tcs + (uint64_t)thread * WORKER_TCS_STRIDE };

	check(enter_worker(enter, work, &run, 2 /* EENTER */) == 0);
	return run;
}

int compute_once(uint64_t number, int thread)
{
	struct work work = { .function = WORK_COMPUTE, .number = number };
	struct sgx_enclave_run run = run_work(&work, thread);

	while (run.function == 2 && run.exception_vector == 13) {
		sched_yield();
		run = run_work(&work, thread);
	}
	return run.function == 4 && work.answer == compute(number);
}

void *shared_page(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		err(1, "mmap");
	return page;
}

int run_scenarios(const struct scenario *scenarios, int count, char **names)
{
	load();
	for (int i = 0; i < count; i++) {
		int wanted = !names[1];

		for (char **name = names + 1; *name; name++)
			wanted |= !strcmp(*name, scenarios[i].name);
		if (!wanted)
			continue;
		int failed = failures;
		scenarios[i].run();
		printf("%s %s\n", failures == failed ? "ok" : "not ok", scenarios[i].name);
		fflush(stdout);
	}
	printf("%d checks, %d failed\n", checks, failures);
	return failures != 0;
}
