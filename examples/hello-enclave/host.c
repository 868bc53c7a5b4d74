/*
 * The untrusted side: an ordinary Linux program that builds an enclave, calls it, and tries to look inside.
 *
 * Usage: host [--tamper]
 *        host --verify     what it starts in a second process: verifies reports from standard input
 */
#include "calls.h"
#include "loader.h"

#include <err.h>
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define EENTER 2
#define EEXIT 4

static vdso_sgx_enter_enclave_t enter_enclave;

/* One call into the enclave: the address of `call` travels in RDI, the answer comes back through memory. */
static uint64_t call_with_data(const struct enclave *enclave, struct call *call)
{
	struct sgx_enclave_run run = { .tcs = enclave->tcs };

	if (enter_enclave((unsigned long)call, 0, 0, EENTER, 0, 0, &run) != 0)
		errx(1, "__vdso_sgx_enter_enclave refused its arguments");
	if (run.function != EEXIT)
		errx(1, "the enclave raised exception %u, error code 0x%x, at 0x%llx", run.exception_vector,
		     run.exception_error_code, run.exception_addr);
	if (call->status == CALL_UNKNOWN)
		errx(1, "the enclave knows no function %lu", (unsigned long)call->function);
	return call->answer;
}

static uint64_t call_enclave(const struct enclave *enclave, uint64_t function, uint64_t number)
{
	struct call call = { .function = function, .number = number };

	return call_with_data(enclave, &call);
}

/* ---- looking from outside ---- */

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

/* ---- a secret that outlives the enclave ---- */

/* Has the enclave count this run, in a file that only it can read. */
static void count_run(const struct enclave *enclave, const char *path)
{
	struct call call = { .function = CALL_COUNT };
	FILE *file = fopen(path, "rb");

	if (file != NULL) {
		call.number = fread(call.data, 1, sizeof(call.data), file);
		fclose(file);
	}
	int first = call.number == 0;
	uint64_t count = call_with_data(enclave, &call);
	if (call.status == CALL_REFUSED) {
		printf("  the enclave cannot unseal %s:\n  another enclave sealed it, or another machine, or it was changed. "
		       "Starting anew\n",
		       path);
		call = (struct call){ .function = CALL_COUNT };
		first = 1;
		count = call_with_data(enclave, &call);
	}
	file = fopen(path, "wb");
	if (file == NULL || fwrite(call.data, sizeof(call.data), 1, file) != 1 || fclose(file) != 0)
		err(1, "%s", path);
	printf("  run number %lu%s\n", (unsigned long)count, first ? ": nothing was sealed before" : ", unsealed and counted on");
}

/* ---- a second enclave in another process ---- */

static void must_read(int fd, void *into, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t got = read(fd, (char *)into + done, size - done);

		if (got <= 0)
			errx(1, "the other process has gone");
		done += (size_t)got;
	}
}

static void must_write(int fd, const void *bytes, size_t size)
{
	if (write(fd, bytes, size) != (ssize_t)size)
		err(1, "writing to the other process");
}

/* The second process: tells who its enclave is, then verifies reports until there are no more. */
static int verify_reports(const struct enclave *enclave, int fd)
{
	struct call call = { .function = CALL_TARGET };

	call_with_data(enclave, &call);
	must_write(fd, call.data, sizeof(call.data));
	for (int reports = 0; reports < 2; reports++) {
		must_read(fd, call.data, sizeof(call.data));
		call.function = CALL_VERIFY;
		uint64_t count = call_with_data(enclave, &call);
		uint64_t verdict[2] = { call.status, count };
		must_write(fd, verdict, sizeof(verdict));
	}
	return 0;
}

static void ask_to_verify(int fd, const uint8_t *report, const char *what)
{
	uint64_t verdict[2];

	must_write(fd, report, CALL_DATA_BYTES);
	must_read(fd, verdict, sizeof(verdict));
	if (verdict[0] == CALL_OK)
		printf("  %s: genuine, its enclave has counted %lu runs\n", what, (unsigned long)verdict[1]);
	else
		printf("  %s: REFUSED\n", what);
}

static void report_to_another(const struct enclave *enclave, const char *program)
{
	extern char **environ;
	char *arguments[] = { (char *)program, "--verify", NULL };
	struct call call = { .function = CALL_REPORT };
	posix_spawn_file_actions_t actions;
	int pair[2], status;
	pid_t child;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		err(1, "socketpair");
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, pair[1], STDIN_FILENO);
	errno = posix_spawn(&child, program, &actions, NULL, arguments, environ);
	if (errno != 0)
		err(1, "%s", program);
	close(pair[1]);
	must_read(pair[0], call.data, sizeof(call.data));
	call_with_data(enclave, &call);
	ask_to_verify(pair[0], call.data, "the report");
	call.data[320] ^= 1; /* the first byte of REPORTDATA: the count */
	ask_to_verify(pair[0], call.data, "the report with one bit flipped");
	close(pair[0]);
	if (waitpid(child, &status, 0) != child || status != 0)
		errx(1, "the other process failed");
}

int main(int argc, char **argv)
{
	int tamper = argc > 1 && !strcmp(argv[1], "--tamper"), verify = argc > 1 && !strcmp(argv[1], "--verify");
	char elf[PATH_MAX], sigstruct[PATH_MAX], counter[PATH_MAX], *own_path = strdup(argv[0]);
	const char *folder = dirname(own_path);

	snprintf(elf, sizeof(elf), "%s/enclave.elf", folder);
	snprintf(sigstruct, sizeof(sigstruct), "%s/enclave.sigstruct", folder);
	snprintf(counter, sizeof(counter), "%s/counter.sealed", folder);
	setvbuf(stdout, NULL, _IOLBF, 0);

	printf("Building %s%s:\n", verify ? "a second enclave, in another process" : "the enclave",
	       tamper ? ", with one bit flipped" : "");
	struct enclave enclave = enclave_load(elf, sigstruct, tamper);
	enter_enclave = find_enter_enclave();
	if (enter_enclave == NULL)
		errx(1, "this kernel's vDSO has no __vdso_sgx_enter_enclave");
	if (verify)
		return verify_reports(&enclave, STDIN_FILENO);

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

	printf("Counting its runs, in a file that it sealed:\n");
	count_run(&enclave, counter);

	report_to_another(&enclave, argv[0]);

	if (sum != 1034)
		errx(1, "expected the sum to be 1034");
	printf("enclave entered: sum 1034\n");
	free(own_path);
	return 0;
}
