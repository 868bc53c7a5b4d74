/* Programs that attack what is Vitrine's in their own process. Only they may suffer: the host and others go on. */
#define _GNU_SOURCE
#include "odd.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define SESSION_WORDS ((volatile uint32_t *)0x500001000000)
#define SESSION_BYTES 0x1002000
#define HEADER_WORDS 2048
#define GATE 1020
#define CHANNEL 1022

/* Lets a child do its worst for a moment, then ends it; the enclave must still work here. */
static void let_child(void (*attack)(int), int variant, int milliseconds)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		compute_once(1, 1); /* connects */
		attack(variant);
		_exit(0);
	}
	for (int waited = 0; waitpid(pid, &status, WNOHANG) == 0; waited += 10) {
		if (waited >= milliseconds)
			kill(pid, SIGKILL);
		usleep(10000);
	}
	check(compute_once((uint64_t)variant, 0));
}

static void *call(void *unused)
{
	for (;;) {
		int fd = open("/dev/sgx_enclave", O_RDWR);
		struct sgx_enclave_create create = { 0 };
		ioctl(fd, SGX_IOC_ENCLAVE_CREATE, &create);
		void *page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, device, 0);
		if (page != MAP_FAILED)
			munmap(page, 4096);
		compute_once(1, 1);
		syscall(SYS_close, fd);
	}
	return unused;
}

static void scribble(int variant)
{
	pthread_t thread;
	unsigned seed = (unsigned)variant;
	/* Everything, the header, or the first records, where requests are. */
	uint32_t words = variant % 3 == 0 ? SESSION_BYTES / 4 : variant % 3 == 1 ? HEADER_WORDS : HEADER_WORDS + 4096;
	uint32_t first = variant % 3 == 2 ? HEADER_WORDS : 0;

	pthread_create(&thread, NULL, call, NULL);
	for (;;) {
		uint32_t at = first + (uint32_t)rand_r(&seed) % (words - first);
		uint32_t value = (uint32_t)rand_r(&seed) ^ (uint32_t)rand_r(&seed) << 16;
		SESSION_WORDS[at] = variant % 2 ? value : value % 20;
	}
}

static void scribbled_session(void)
{
	for (int i = 0; i < 12; i++)
		let_child(scribble, i, 400);
}

/* Requests of every kind with arguments of every kind, straight into the records, past the stub. */
static void forge(int variant)
{
	unsigned seed = (unsigned)variant;
	static const uint64_t odd[] = { 0, 1, 4096, 0x7fffffffffff, 1UL << 47, 1UL << 53, ~0UL, 1UL << 63, 0x500001000000 };
	/* src/abi/stub.ts: SessionHeader and ThreadRecord, in words. */
	enum { RECORDS = HEADER_WORDS, RECORD = 128, STATE = 3, OP = 5, INSIDE_TCS = 10, ARGUMENTS = 12, USED = 5,
		SUMMARY = 64, PENDING = 1024 };

	for (uint32_t record = 0;; record = (uint32_t)rand_r(&seed) % 64) {
		volatile uint32_t *words = SESSION_WORDS + RECORDS + record * RECORD;

		for (int i = INSIDE_TCS; i < ARGUMENTS + 10; i += 2) {
			uint64_t value = rand_r(&seed) % 4 ? odd[(size_t)rand_r(&seed) % 9] : rand_r(&seed) % 2 ? heap : enclave.tcs;
			words[i] = (uint32_t)value;
			words[i + 1] = (uint32_t)(value >> 32);
		}
		words[0] = (uint32_t)(rand_r(&seed) % 2 ? gettid() : rand_r(&seed));
		words[1] = (uint32_t)rand_r(&seed) % 3;
		words[OP] = 2 + (uint32_t)rand_r(&seed) % 16;
		words[STATE] = 1;
		SESSION_WORDS[USED] = 4096;
		__atomic_fetch_or(SESSION_WORDS + PENDING + record / 32, 1u << record % 32, __ATOMIC_SEQ_CST);
		__atomic_fetch_or(SESSION_WORDS + SUMMARY, 1u << record / 32, __ATOMIC_SEQ_CST);
		syscall(SYS_sendto, CHANNEL, &record, 4, MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0);
	}
}

static void forged_requests(void)
{
	for (int i = 0; i < 8; i++)
		let_child(forge, i, 400);
}

/* Messages of every length, with descriptors, until nobody takes them. */
static void flood(int variant)
{
	char bytes[4096] = { 1 };
	union { struct cmsghdr header; char room[CMSG_SPACE(3 * sizeof(int))]; } control = { 0 };
	struct iovec vector = { bytes, 0 };
	struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };

	for (int i = 0; i < 20000; i++) {
		int descriptors[3] = { 0, 1, device };
		control.header = (struct cmsghdr){ CMSG_LEN(sizeof descriptors), SOL_SOCKET, SCM_RIGHTS };
		memcpy(CMSG_DATA(&control.header), descriptors, sizeof descriptors);
		vector.iov_len = 1 + (size_t)i % 4096;
		message.msg_controllen = i % 2 ? sizeof control : 0;
		sendmsg(variant == 3 ? GATE : CHANNEL, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
	if (variant == 1)
		shutdown(CHANNEL, SHUT_RDWR);
	if (variant == 2)
		for (char byte; recv(CHANNEL, &byte, 1, MSG_DONTWAIT) >= 0;)
			;
	compute_once(2, 1);
	call(NULL);
}

static void flooded_channel(void)
{
	for (int i = 0; i < 4; i++)
		let_child(flood, i, 1000);
}

static void own_descriptors(void)
{
	for (int fd = GATE; fd <= 1023; fd++) {
		check(close(fd) == -1 && errno == EBADF);
		check(dup2(1, fd) == -1 && errno == EBADF);
		check(dup3(1, fd, O_CLOEXEC) == -1 && errno == EBADF);
	}
	int first = dup(device);
	check(syscall(SYS_close_range, first, ~0U, 0) == 0);
	check(syscall(SYS_close_range, GATE, 1023, 0) == 0);
	check(syscall(SYS_close_range, 1023, ~0U, 4 /* CLOEXEC */) == 0);
	for (int fd = device + 1; fd < 2048; fd++)
		close(fd);
	check(compute_once(8, 0));
	int again = open("/dev/sgx_enclave", O_RDWR);
	check(again >= 0);
	close(again);
	check(system("exit 5") == 5 << 8);
	/* One table less for the rest: unshare. */
	pid_t pid = fork();
	if (pid == 0) {
		check(syscall(SYS_close_range, device + 1, ~0U, 2 /* UNSHARE */) == 0);
		_exit(!compute_once(9, 1) || failures);
	}
	int status = -1;
	check(waitpid(pid, &status, 0) == pid && status == 0);
}

/* A page that the host believes there and that never comes: what runs into it can be ended all the same. */
static void punch(int variant)
{
	struct work work = { WORK_COMPUTE, 1, 0, 0 };

	unsigned long at, offset, base = (unsigned long)enclave.base;
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512];

	/* Through the mapping that the stub has for itself. */
	while (maps && fgets(line, sizeof line, maps))
		if (sscanf(line, "%lx-%*x rw-s %lx", &at, &offset) == 2 && offset == base && at != base)
			check(madvise((void *)(at + (enclave.tcs - base)), 4096, MADV_REMOVE) == 0);
	fclose(maps);
	signal(SIGTERM, SIG_DFL);
	if (variant)
		alarm(1);
	run_work(&work, 0);
}

static void punched_pages(void)
{
	for (int variant = 0; variant < 2; variant++) {
		pid_t pid = fork();
		if (pid == 0) {
			load();
			punch(variant);
			_exit(0);
		}
		int status = 0;
		check(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
		check(WTERMSIG(status) == SIGKILL || (variant && WTERMSIG(status) == SIGALRM));
		check(compute_once((uint64_t)variant, 0));
	}
}

/* A connection whose first message is none: whoever sends it is ended. */
static void forged_hello(void)
{
	int pair[2], status = 0;
	union { struct cmsghdr header; char room[CMSG_SPACE(sizeof(int))]; } control = { 0 };
	struct iovec vector = { "gate", 4 };
	struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
	pid_t pid = fork();

	if (pid == 0) {
		alarm(10);
		check(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
		control.header = (struct cmsghdr){ CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
		memcpy(CMSG_DATA(&control.header), &pair[1], sizeof(int));
		check(sendmsg(GATE, &message, MSG_NOSIGNAL) == 4 && write(pair[0], "hello", 5) == 5);
		pause();
		_exit(1);
	}
	check(waitpid(pid, &status, 0) == pid && status == SIGKILL);
	check(compute_once(1, 0));
}

static int open_all(int *fds, int most)
{
	int opened = 0;

	while (opened < most && (fds[opened] = open("/dev/sgx_enclave", O_RDWR)) >= 0)
		opened++;
	return opened;
}

static void close_all(int *fds, int opened)
{
	while (opened > 0)
		close(fds[--opened]);
	check(compute_once(10, 0));
	int again = open("/dev/sgx_enclave", O_RDWR);
	check(again >= 0);
	close(again);
}

/* As many files as the limit gives, each known to the host; then none is left open there. */
static void all_descriptors(void)
{
	struct rlimit old, limit;
	int opened, fds[4096];

	getrlimit(RLIMIT_NOFILE, &old);
	limit = old;
	limit.rlim_cur = old.rlim_max < 4096 ? old.rlim_max : 4096;
	setrlimit(RLIMIT_NOFILE, &limit);
	opened = open_all(fds, 4096);
	check(opened > 100 && (opened == 4096 || errno == EMFILE || errno == ENFILE));
	setrlimit(RLIMIT_NOFILE, &old);
	close_all(fds, opened);
}

/* The host has the same limit and needs some for itself: it runs out first, of files and then of processes. */
static void descriptors_of_host(void)
{
	int fds[4096], opened = open_all(fds, 4096);

	check(opened > 100 && opened < 4096 && errno == ENFILE);
	pid_t pid = fork();
	if (pid == 0)
		_exit(open("/dev/sgx_enclave", O_RDWR) >= 0 || errno != ENFILE);
	int status = -1;
	check(waitpid(pid, &status, 0) == pid && status == 0);
	close_all(fds, opened);
}

int main(int count, char **names)
{
	static const struct scenario scenarios[] = {
		{ "own-descriptors", own_descriptors },   { "all-descriptors", all_descriptors },
		{ "scribbled-session", scribbled_session }, { "forged-requests", forged_requests },
		{ "flooded-channel", flooded_channel }, { "forged-hello", forged_hello },
		/* The last two are only run by name: they take long, or want a host with a limit of its own. */
		{ "punched-pages", punched_pages },     { "descriptors-of-host", descriptors_of_host },
	};
	return run_scenarios(scenarios, (int)(sizeof scenarios / sizeof *scenarios) - 2 * (count == 1), names);
}
