/*
 * The untrusted side: an ordinary Linux program that builds an enclave, calls it, and tries to look inside.
 * Usage: host [--tamper]
 */
#include "calls.h"
#include "loader.h"

#include <err.h>
#include <libgen.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EENTER 2
#define EEXIT 4

static vdso_sgx_enter_enclave_t enter_enclave;

/* One call into the enclave: the address of `call` travels in RDI, the answer comes back through memory. */
static uint64_t call_enclave(const struct enclave *enclave, uint64_t function, uint64_t number)
{
	struct call call = { .function = function, .number = number };
	struct sgx_enclave_run run = { .tcs = enclave->tcs };

	if (enter_enclave((unsigned long)&call, 0, 0, EENTER, 0, 0, &run) != 0)
		errx(1, "__vdso_sgx_enter_enclave refused its arguments");
	if (run.function != EEXIT)
		errx(1, "the enclave raised exception %u, error code 0x%x, at 0x%llx", run.exception_vector,
		     run.exception_error_code, run.exception_addr);
	if (call.status != CALL_OK)
		errx(1, "the enclave knows no function %lu", (unsigned long)function);
	return call.answer;
}

static sigjmp_buf after_fault;

static void on_fault(int signal)
{
	siglongjmp(after_fault, signal);
}

/* Reads enclave memory from outside. Processors answer with ones; a machine may also refuse with a fault. */
static void look_inside(uint64_t address, uint64_t sum)
{
	struct sigaction act = { .sa_handler = on_fault }, old;

	sigaction(SIGSEGV, &act, &old);
	if (sigsetjmp(after_fault, 1) != 0) {
		printf("  refused: the read faulted\n");
	} else {
		uint64_t seen = *(volatile uint64_t *)address;

		printf("  the host sees 0x%016lx: %s\n", (unsigned long)seen,
		       seen == UINT64_MAX ? "all ones, which is what enclave memory looks like from outside" :
		       seen == sum	  ? "THE SUM ITSELF. This machine does not isolate enclave memory" :
					    "not the sum");
	}
	sigaction(SIGSEGV, &old, NULL);
}

int main(int argc, char **argv)
{
	int tamper = argc > 1 && !strcmp(argv[1], "--tamper");
	char elf[PATH_MAX], sigstruct[PATH_MAX], *own_path = strdup(argv[0]);
	const char *folder = dirname(own_path);

	snprintf(elf, sizeof(elf), "%s/enclave.elf", folder);
	snprintf(sigstruct, sizeof(sigstruct), "%s/enclave.sigstruct", folder);
	setvbuf(stdout, NULL, _IOLBF, 0);

	printf("Building the enclave%s:\n", tamper ? ", with one bit flipped" : "");
	struct enclave enclave = enclave_load(elf, sigstruct, tamper);
	enter_enclave = find_enter_enclave();
	if (enter_enclave == NULL)
		errx(1, "this kernel's vDSO has no __vdso_sgx_enter_enclave");

	printf("Calling it:\n");
	call_enclave(&enclave, CALL_ADD, 30);
	printf("  added 30\n");
	call_enclave(&enclave, CALL_ADD, 4);
	printf("  added 4\n");
	uint64_t sum = call_enclave(&enclave, CALL_SUM, 0);
	printf("  the enclave says the sum is %lu\n", (unsigned long)sum);

	uint64_t address = call_enclave(&enclave, CALL_WHERE, 0);
	printf("Looking for the sum at 0x%lx, from outside:\n", (unsigned long)address);
	look_inside(address, sum);

	if (sum != 1034)
		errx(1, "expected the sum to be 1034");
	printf("enclave entered: 4 calls, sum 1034\n");
	free(own_path);
	return 0;
}
