/* What draft-2018 makes of an enclave whose descriptor goes: under mappings, threads inside, other processes. */
#define _GNU_SOURCE
#include "check.h"
#include "job.h"
#include "uapi/draft-2018.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define RWX (PROT_READ | PROT_WRITE | PROT_EXEC)

static struct job job;
static char *base;
static int sgx_fd;

static int build(void)
{
	struct sgx_enclave_create ecreate = { .src = (uint64_t)job.secs };
	int fd = ioctl(sgx_fd, SGX_IOC_ENCLAVE_CREATE, &ecreate);
	struct sgx_enclave_init einit = { .enclave_fd = (uint64_t)fd, .sigstruct = (uint64_t)job.sigstruct };

	for (const struct page *page = job.pages; fd >= 0 && page < job.pages + job.page_count; page++) {
		struct sgx_enclave_add_page eadd = { (uint64_t)fd, (uint64_t)base + page->offset, (uint64_t)page->bytes,
						     (uint64_t)page->secinfo, 0xffff };
		if (ioctl(sgx_fd, SGX_IOC_ENCLAVE_ADD_PAGE, &eadd))
			return -1;
	}
	return fd < 0 || ioctl(sgx_fd, SGX_IOC_ENCLAVE_INIT, &einit) ? -1 : fd;
}

static struct outcome add(uint64_t number)
{
	struct call call = { .function = CALL_ADD, .number = number };
	return job_enter(&job, base, &call, 0);
}

/* Gone with the system call that closes, whichever that is; and another may come to its place at once. */
static void closing(void)
{
	for (int way = 0; way < 4; way++) {
		int fd = build();

		check(fd >= 0 && add(1).answer == 9);
		if (way == 0)
			close(fd);
		else if (way == 1)
			check(dup2(1, fd) == fd);
		else if (way == 2)
			check(dup3(1, fd, O_CLOEXEC) == fd);
		else
			check(close_range((unsigned)fd, (unsigned)fd, 0) == 0);
		/* close_range is told to the machine by nobody: a moment passes. */
		for (int tries = 0; way == 3 && tries < 2000 && add(1).vector == 0; tries++)
			usleep(1000);
		check(add(1).vector == 14);
		if (way == 1 || way == 2)
			close(fd);
	}
}

static void duplicates(void)
{
	int fd = build(), copy = dup(fd), status, go[2];

	check(pipe(go) == 0);
	close(fd);
	check(add(2).answer == 10);
	pid_t child = fork();
	if (child == 0) {
		char byte;
		close(go[1]);
		/* The parent's copy goes; this one keeps the enclave until we end. */
		_exit(read(go[0], &byte, 1) != 0);
	}
	close(go[0]);
	close(copy);
	check(add(3).answer == 11);
	close(go[1]);
	check(waitpid(child, &status, 0) == child && status == 0);
	for (int tries = 0; tries < 5000 && add(1).vector == 0; tries++)
		usleep(1000);
	check(add(1).vector == 14);
}

static volatile uint64_t inside, stop;

static void *spin(void *result)
{
	struct call call = { .function = CALL_SPIN, .number = (uint64_t)&inside, .where = (uint64_t)&stop };

	*(struct outcome *)result = job_enter(&job, base, &call, 0);
	return NULL;
}

/* A thread that is inside has to leave, and cannot come back. */
static void threads(void)
{
	for (int round = 0; round < 10; round++) {
		struct outcome outcome = { 0 };
		pthread_t thread;
		int fd = build();

		inside = 0;
		check(fd >= 0 && pthread_create(&thread, NULL, spin, &outcome) == 0);
		while (!inside)
			sched_yield();
		close(fd);
		check(pthread_join(thread, NULL) == 0);
		check(outcome.vector == 14);
	}
}

int main(int argc, char **argv)
{
	job = job_read(argv[0]);
	sgx_fd = open("/dev/sgx", O_RDWR);
	(void)argc;
	check(sgx_fd >= 0);
	base = mmap(NULL, job.size_bytes, RWX, MAP_SHARED, sgx_fd, 0);
	check(base != MAP_FAILED);
	job_set_base(&job, base);
	closing();
	duplicates();
	threads();
	/* Neither the device's descriptor nor its mapping is needed for the life of an enclave. */
	int fd = build();
	check(munmap(base, job.size_bytes) == 0);
	close(sgx_fd);
	check(close(fd) == 0);
	return report_checks();
}
