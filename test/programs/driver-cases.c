/*
 * Runs the cases of test/cases, one step a line on standard input, and prints what each step gave. It knows system
 * calls, memory and EENTER, nothing of the driver's structs: those come as words. README.md has the line format.
 */
#define _GNU_SOURCE
#include "cases.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#define MAX_BUSY_TRIES 100000000L
#define PAGE 4096L

static const struct { const char *name; long number; } calls[] = {
#define CALL(name) { #name, SYS_##name }
	CALL(ioctl), CALL(mmap), CALL(munmap), CALL(mprotect), CALL(mremap), CALL(madvise), CALL(msync), CALL(mlock),
	CALL(open), CALL(close), CALL(dup2), CALL(read), CALL(write), CALL(pread64), CALL(pwrite64), CALL(readv), CALL(writev),
	CALL(preadv), CALL(pwritev), CALL(lseek), CALL(ftruncate), CALL(fallocate), CALL(fsync), CALL(poll), CALL(epoll_create1),
	CALL(epoll_ctl), CALL(fstat), CALL(readlink), CALL(personality), CALL(sendfile), CALL(fcntl), CALL(splice),
	CALL(copy_file_range), CALL(fdatasync), CALL(sync_file_range), CALL(readahead), CALL(remap_file_pages), CALL(preadv2),
	CALL(pwritev2),
};

const char *errno_text(long result)
{
	static char text[32];
	const char *name = result < 0 && result >= -4095 ? strerrorname_np((int)-result) : NULL;

	if (name)
		return name;
	snprintf(text, sizeof text, "0x%lx", result);
	return result ? text : "0";
}

/* ---- a call, and one in a second thread --------------------------------------------------------------------- */

struct call { long number, arguments[6]; };

static struct call parse_call(char **words, int count)
{
	struct call call = { .number = -1 };

	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
		if (!strcmp(calls[i].name, words[0]))
			call.number = calls[i].number;
	if (call.number < 0) {
		fprintf(stderr, "driver-cases: no step is called %s\n", words[0]);
		_exit(2);
	}
	for (int i = 1; i < count && i <= 6; i++)
		call.arguments[i - 1] = (long)strtoull(words[i], NULL, 0);
	return call;
}

static long perform(const struct call *call)
{
	const long *a = call->arguments;
	long result = syscall(call->number, a[0], a[1], a[2], a[3], a[4], a[5]);

	return result == -1 ? -errno : result;
}

static struct call background;
static long background_result;
static volatile bool background_runs;
static pthread_t background_thread;

static void *run_background(void *unused)
{
	background_result = perform(&background);
	background_runs = false;
	return unused;
}

/* ---- the steps ----------------------------------------------------------------------------------------------------- */

static void on_timer(int signal) { (void)signal; }

static unsigned char nibble(char digit) { return (unsigned char)(digit <= '9' ? digit - '0' : digit - 'a' + 10); }

static void put(unsigned char *to, const char *hex)
{
	for (; *hex; hex += 2)
		*to++ = (unsigned char)(nibble(hex[0]) << 4 | nibble(hex[1]));
}

/* How many enclaves can be created until it fails, and how it does. */
static const char *capacity(unsigned long command, unsigned long argument)
{
	static char text[64];
	int fds[1024], count = 0;
	long result = 0;

	for (; count < 1024 && !result; count++) {
		fds[count] = open("/dev/sgx_enclave", O_RDWR);
		result = fds[count] < 0 || syscall(SYS_ioctl, fds[count], command, argument) ? -errno : 0;
	}
	snprintf(text, sizeof text, "%d %s", count - 1, errno_text(result));
	while (count--)
		close(fds[count]);
	return text;
}

/* The ring of an AIO context lies on a file system that forbids execution. */
static long map_noexec(void *to)
{
	unsigned long context = 0;
	long result = syscall(SYS_io_setup, 1, &context);

	if (result)
		return -errno;
	return mremap((void *)context, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to ? 0 : -errno;
}

static const char *add_to_epoll(int fd)
{
	struct epoll_event event = { .events = EPOLLIN };

	return errno_text(epoll_ctl(epoll_create1(0), EPOLL_CTL_ADD, fd, &event) ? -errno : 0);
}

static const char *poll_events(int fd)
{
	struct pollfd wanted = { .fd = fd, .events = POLLIN | POLLOUT };

	return errno_text(poll(&wanted, 1, 0) < 0 ? -errno : wanted.revents);
}

const char *run_step(char **words, int count)
{
	static char text[512];
	unsigned long arguments[MAX_WORDS] = { 0 };
	const char *verb = words[0];

	for (int i = 1; i < count; i++)
		arguments[i] = strtoull(words[i], NULL, 0);
	if (!strcmp(verb, "device")) { /* device FD PATH FLAGS: an open file under a descriptor of choice */
		int fd = open(words[2], (int)arguments[3]);
		if (fd < 0)
			return errno_text(-errno);
		int moved = dup2(fd, (int)arguments[1]);
		close(fd);
		return moved < 0 ? errno_text(-errno) : "0";
	}
	if (!strcmp(verb, "open"))
		return open(words[1], (int)arguments[2]) < 0 ? errno_text(-errno) : "0";
	if (!strcmp(verb, "put"))
		return put((unsigned char *)arguments[1], words[2]), "0";
	if (!strcmp(verb, "words")) {
		for (int i = 2; i < count; i++)
			((volatile uint64_t *)arguments[1])[i - 2] = arguments[i];
		return "0";
	}
	if (!strcmp(verb, "peek")) {
		snprintf(text, sizeof text, "0x%lx", *(volatile uint64_t *)arguments[1]);
		return text;
	}
	if (!strcmp(verb, "between")) {
		uint64_t word = *(volatile uint64_t *)arguments[1];
		return word > arguments[2] && word < arguments[3] ? "yes" : "no";
	}
	if (!strcmp(verb, "link")) {
		char path[32];
		snprintf(path, sizeof path, "/proc/self/fd/%lu", arguments[1]);
		ssize_t length = readlink(path, text, sizeof text - 1);
		text[length < 0 ? 0 : length] = 0;
		return length < 0 ? errno_text(-errno) : text;
	}
	if (!strcmp(verb, "noexec"))
		return errno_text(map_noexec((void *)arguments[1]));
	if (!strcmp(verb, "poll"))
		return poll_events((int)arguments[1]);
	if (!strcmp(verb, "epoll"))
		return add_to_epoll((int)arguments[1]);
	if (!strcmp(verb, "touch"))
		return touch(arguments[1], *words[2]);
	if (!strcmp(verb, "enter"))
		return enter((struct entry){ 2, arguments[1], arguments[2], arguments[3], arguments[4], arguments[5] });
	if (!strcmp(verb, "resume"))
		return enter((struct entry){ .leaf = 3, .tcs = arguments[1] });
	if (!strcmp(verb, "call")) /* call LEAF TCS RDI RSI RDX R9 */
		return enter_through_vdso((struct entry){ arguments[1], arguments[2], arguments[3], arguments[4],
							  arguments[5], arguments[6] });
	if (!strcmp(verb, "fault"))
		return last_fault();
	if (!strcmp(verb, "spin"))
		return start_spinner(arguments[1]);
	if (!strcmp(verb, "stop"))
		return stop_spinner();
	if (!strcmp(verb, "pass")) /* pass FD PROCESS */
		return pass_descriptor((int)arguments[1], (int)arguments[2]);
	if (!strcmp(verb, "take"))
		return take_descriptor((int)arguments[1]);
	if (!strcmp(verb, "capacity"))
		return capacity(arguments[1], arguments[2]);
	if (!strcmp(verb, "timer")) { /* timer FIRST INTERVAL RESTART: SIGALRM, microseconds */
		struct itimerval times = { { 0, (long)arguments[2] }, { 0, (long)arguments[1] } };
		struct sigaction action = { .sa_handler = on_timer, .sa_flags = arguments[3] ? SA_RESTART : 0 };
		sigaction(SIGALRM, &action, NULL);
		return errno_text(setitimer(ITIMER_REAL, &times, NULL) ? -errno : 0);
	}
	if (!strcmp(verb, "background")) {
		background = parse_call(words + 1, count - 1);
		background_runs = true;
		return errno_text(-pthread_create(&background_thread, NULL, run_background, NULL));
	}
	if (!strcmp(verb, "busy")) { /* the call, until it is refused with EBUSY while the other one runs */
		struct call call = parse_call(words + 1, count - 1);
		long result = 0;
		for (long tries = 0; tries < MAX_BUSY_TRIES && result != -EBUSY && background_runs; tries++)
			result = perform(&call);
		return errno_text(result);
	}
	if (!strcmp(verb, "await")) {
		pthread_join(background_thread, NULL);
		return errno_text(background_result);
	}
	if (!strcmp(verb, "again")) { /* again FD COMMAND ARGUMENT: ADD_PAGES until nothing is left, as loaders loop */
		volatile uint64_t *range = (uint64_t *)arguments[3]; /* src, offset, length, secinfo, flags, count */
		while (range[2]) {
			long result = syscall(SYS_ioctl, arguments[1], arguments[2], range) ? -errno : 0;
			if (result && result != -EINTR)
				return errno_text(result);
			range[0] += range[5], range[1] += range[5], range[2] -= range[5];
			range[5] = 0;
		}
		return "0";
	}
	if (!strcmp(verb, "mmap")) { /* with MAP_FIXED the address is the expected one */
		struct call call = parse_call(words, count);
		long result = perform(&call);
		return result == call.arguments[0] || result < 0 ? errno_text(result < 0 ? result : 0) : "elsewhere";
	}
	struct call call = parse_call(words, count);
	return errno_text(perform(&call));
}

int main(void)
{
	char **lines = NULL, *line = NULL;
	size_t room = 0;
	int count = 0, end;

	while (getline(&line, &room, stdin) > 0) {
		if (count % 4096 == 0)
			lines = realloc(lines, (size_t)(count + 4096) * sizeof *lines);
		line[strcspn(line, "\n")] = 0;
		lines[count++] = strdup(line);
	}
	if (mmap(SHARED, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != SHARED)
		return 2;
	catch_faults();
	for (int at = 0; at < count; at = end) {
		for (end = at + 1; end < count && strncmp(lines[end], "case ", 5); end++)
			;
		run_case(lines, at + 1, end);
	}
	return 0;
}
