/*
 * broken KIND: an enclave with one mistake in it. The last line says what the program got for it: an errno, an
 * exception or a signal, as on hardware.
 */
#define _GNU_SOURCE
#include "loader.h"
#include "worker.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ATTRIBUTES_PROVISIONKEY 0x10UL
#define XFRM_AVX512 0xe0UL
enum { SECS_SIZE = 0, SECS_BASE = 1, SECS_ATTRIBUTES = 6, SECS_XFRM = 7 }; /* in words of 8 bytes */
enum { MODULUS = 128, SIGNATURE = 516, Q1 = 1040, KEY_BYTES = 384 };	    /* in a SIGSTRUCT */

static const char *kind;
static char *base;

static int is(const char *name)
{
	return !strcmp(kind, name);
}

static void read_sigstruct(const char *path, unsigned char *into)
{
	int fd = open(path, O_RDONLY);

	if (fd < 0 || read(fd, into, 1808) != 1808)
		err(1, "%s", path);
	close(fd);
}

/*
 * A signature under a modulus that is not its key's. The smaller modulus's, so that it is below the other's, too: then
 * the arithmetic must find it out.
 */
static void mix_keys(unsigned char *sigstruct)
{
	unsigned char other[1808];
	int i = KEY_BYTES - 1;

	read_sigstruct("build/other.sigstruct", other);
	while (i > 0 && sigstruct[MODULUS + i] == other[MODULUS + i])
		i--;
	if (sigstruct[MODULUS + i] < other[MODULUS + i]) {
		memcpy(sigstruct + MODULUS, other + MODULUS, KEY_BYTES);
	} else {
		memcpy(sigstruct + SIGNATURE, other + SIGNATURE, KEY_BYTES);
		memcpy(sigstruct + Q1, other + Q1, 2 * KEY_BYTES);
	}
}

static void on_signal(int signal, siginfo_t *info, void *context)
{
	(void)context;
	printf("signal %d code %d at +0x%lx\n", signal, info->si_code, (unsigned long)((char *)info->si_addr - base));
	fflush(stdout);
	_exit(0);
}

/* In the place of libc's: the example's loader does all but the mistake. */
int ioctl(int fd, unsigned long request, ...)
{
	va_list arguments;
	va_start(arguments, request);
	uint64_t *argument = va_arg(arguments, uint64_t *);
	va_end(arguments);
	const char *name = request == SGX_IOC_ENCLAVE_CREATE ? "CREATE"
			   : request == SGX_IOC_ENCLAVE_INIT ? "INIT"
							     : "ADD_PAGES";

	if (request == SGX_IOC_ENCLAVE_CREATE) {
		uint64_t *secs = (uint64_t *)argument[0];
		base = (char *)secs[SECS_BASE];
		if (is("provision"))
			secs[SECS_ATTRIBUTES] |= ATTRIBUTES_PROVISIONKEY;
		if (is("xfrm"))
			secs[SECS_XFRM] |= XFRM_AVX512;
		/* Before the enclave is created anything may be mapped, with any rights. */
		if (is("wide") && mmap(base, secs[SECS_SIZE], PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED | MAP_FIXED, fd,
				       0) == MAP_FAILED)
			err(1, "mmap");
	}
	unsigned char sigstruct[1808];
	struct sgx_enclave_init init = { (uint64_t)sigstruct };
	if (request == SGX_IOC_ENCLAVE_INIT && is("signer")) {
		memcpy(sigstruct, (void *)argument[0], sizeof sigstruct);
		mix_keys(sigstruct);
		argument = (uint64_t *)&init;
	}
	if (syscall(SYS_ioctl, fd, request, argument) < 0) {
		printf("%s errno %d\n", name, errno);
		exit(0);
	}
	if (request == SGX_IOC_ENCLAVE_INIT && is("wide")) {
		struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
		sigaction(SIGBUS, &action, NULL);
		*(volatile char *)base;
		printf("it could be read\n");
		exit(1);
	}
	return 0;
}

static struct enclave enclave;
static vdso_sgx_enter_enclave_t enter;

static struct sgx_enclave_run run_work(struct work *work)
{
	struct sgx_enclave_run run = { .tcs = enclave.tcs };

	if (enter_worker(enter, work, &run, 2 /* EENTER */) != 0)
		errx(1, "the vDSO function refused its arguments");
	return run;
}

static volatile uint64_t counted, stop;

static void *count(void *nothing)
{
	struct work work = { WORK_COUNT, (uint64_t)&counted, 0, (uint64_t)&stop };

	run_work(&work);
	return nothing;
}

/* Two threads, one TCS. */
static void busy(void)
{
	struct work work = { WORK_COMPUTE, 1, 0, 0 };
	pthread_t thread;

	if (pthread_create(&thread, NULL, count, NULL))
		errx(1, "pthread_create");
	while (!counted)
		usleep(100);
	struct sgx_enclave_run run = run_work(&work);
	stop = 1;
	pthread_join(thread, NULL);
	printf("leaf %u exception %u error %u\n", run.function, run.exception_vector, run.exception_error_code);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		errx(1, "usage: broken page|signer|provision|xfrm|busy|wide");
	kind = argv[1];
	enter = find_enter_enclave();
	enclave = enclave_load("build/worker.elf", "build/worker.sigstruct", is("page"));
	if (is("busy"))
		busy();
	return 0;
}
