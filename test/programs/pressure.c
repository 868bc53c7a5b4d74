/* Touches every page of a 64 MiB heap, or its first PAGES, twice. With an EPC smaller than that, most are evicted in between. */
#include "loader.h"
#include "worker.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct sgx_enclave_run run;
static uint64_t pages = WORKER_PAGES;

static uint64_t work(vdso_sgx_enter_enclave_t enter, uint64_t function, uint64_t number)
{
	struct work work = { function, number, 0, pages };

	run.function = 0;
	if (enter_worker(enter, &work, &run, 2 /* EENTER */) || run.function != 4 /* EEXIT */)
		errx(1, "the enclave was left by vector %u, error code 0x%x, address 0x%llx", run.exception_vector,
		     run.exception_error_code, (unsigned long long)run.exception_addr);
	return work.answer;
}

int main(int count, char **arguments)
{
	struct enclave enclave = enclave_load("build/worker.elf", "build/worker.sigstruct", 0);
	vdso_sgx_enter_enclave_t enter = find_enter_enclave();
	uint64_t wrong = 0;

	if (count > 1)
		pages = strtoul(arguments[1], NULL, 0);
	run.tcs = enclave.tcs;
	for (uint64_t seed = 1; seed <= 2; seed++) {
		work(enter, WORK_FILL, seed);
		wrong += work(enter, WORK_CHECK, seed);
	}
	printf("%lu pages written and read back twice, %lu words wrong\n", (unsigned long)pages, (unsigned long)wrong);
	return wrong != 0;
}
