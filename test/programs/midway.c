/*
 * What is under way in one thread or process when another one forks, is killed, ends or execs: nothing of it may be
 * lost, or be waited for without end.
 */
#define _GNU_SOURCE
#include "odd.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096UL
#define PATIENCE_SECONDS 20

static const int faults[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS };

static int wait_for(pid_t pid)
{
	int status = -1;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

/* ---- a vfork child, which has our memory, is killed at any instruction ---- */

static volatile pid_t child;
static volatile int killer_stops;

static void *kill_children(void *unused)
{
	while (!killer_stops) {
		pid_t pid = child;
		usleep((useconds_t)(rand() % 400));
		if (pid > 0)
			kill(pid, SIGKILL);
	}
	return unused;
}

static void change_handlers(void)
{
	struct sigaction action = { .sa_handler = SIG_IGN };

	sigaction(SIGUSR1, &action, NULL);
}

static void change_mappings(void)
{
	void *at = (void *)(heap + 100 * PAGE);

	mprotect(at, PAGE, PROT_READ);
	mprotect(at, PAGE, PROT_READ | PROT_WRITE);
}

static void open_devices(void)
{
	close(open("/dev/sgx_enclave", O_RDWR));
}

static void killed_in_vfork(void (*work)(void))
{
	struct sigaction action = { .sa_handler = SIG_DFL };
	pthread_t killer;

	killer_stops = 0;
	child = 0;
	check(pthread_create(&killer, NULL, kill_children, NULL) == 0);
	for (volatile int i = 0; i < 300; i++) {
		alarm(PATIENCE_SECONDS);
		pid_t pid = vfork();
		if (pid == 0) {
			child = (pid_t)syscall(SYS_getpid);
			for (;;)
				work();
		}
		/* Before anybody waits for it: it is a zombie, which has a process id. */
		check(sigaction(SIGUSR1, &action, NULL) == 0);
		work();
		int fd = open("/dev/sgx_enclave", O_RDWR);
		check(fd >= 0 && close(fd) == 0);
		check(compute_once((uint64_t)i, 0));
		check(wait_for(pid) == SIGKILL);
		child = 0;
	}
	alarm(0);
	killer_stops = 1;
	pthread_join(killer, NULL);
}

static void vfork_handlers(void) { killed_in_vfork(change_handlers); }
static void vfork_mappings(void) { killed_in_vfork(change_mappings); }
static void vfork_devices(void) { killed_in_vfork(open_devices); }

/* ---- forks in the middle of changes to a long list of mappings ---- */

static volatile int changers_stop;
enum { SINGLE_PAGES = 200 };

static void *change_in_front(void *which)
{
	char *page = (char *)heap + ((uintptr_t)which ? 3 : 1) * PAGE;

	while (!changers_stop) {
		check(munmap(page, PAGE) == 0);
		check(mmap(page, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, device, 0) == page);
		/* What is not of an enclave any more must not be taken for it. */
		check(mmap(page, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == page);
		page[8] = 1;
		check(mmap(page, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, device, 0) == page);
	}
	return NULL;
}

static void forks_while_mapping(void)
{
	pthread_t changers[2];

	load_worker("small");
	for (uint64_t i = 0; i < SINGLE_PAGES; i++)
		check(mprotect((void *)(heap + (10 + 2 * i) * PAGE), PAGE, PROT_READ) == 0);
	changers_stop = 0;
	for (uintptr_t i = 0; i < 2; i++)
		check(pthread_create(&changers[i], NULL, change_in_front, (void *)i) == 0);
	for (int i = 0; i < 200; i++) {
		pid_t pid = fork();
		if (pid == 0) {
			struct work work = { .function = WORK_READ };
			alarm(PATIENCE_SECONDS);
			/* Every mapping is there, with its rights. */
			for (uint64_t page = 0; page < SINGLE_PAGES; page++) {
				work.number = heap + (10 + 2 * page) * PAGE;
				if (run_work(&work, 1).function != 4)
					_exit(2);
			}
			_exit(!compute_once((uint64_t)i, 1));
		}
		check(wait_for(pid) == 0);
	}
	changers_stop = 1;
	for (int i = 0; i < 2; i++)
		pthread_join(changers[i], NULL);
}

/* ---- signals of faults that were sent and are blocked ---- */

static sigset_t all_faults(void)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
		sigaddset(&set, faults[i]);
	return set;
}

static void send_all(void)
{
	for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
		check(i % 2 ? kill(getpid(), faults[i]) == 0 : raise(faults[i]) == 0);
}

/* How many of them wait; each is taken, and was sent by this process. */
static int take_all(void)
{
	sigset_t set = all_faults(), pending;
	struct timespec now = { 0 };
	siginfo_t info;
	int taken = 0;

	sigpending(&pending);
	for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
		check(sigismember(&pending, faults[i]) == 1);
	while (sigtimedwait(&set, &info, &now) > 0)
		taken += info.si_pid == getpid() && (info.si_code == SI_USER || info.si_code == SI_TKILL);
	return taken;
}

static void pending_over_exec(void)
{
	sigset_t set = all_faults();
	pid_t pid = fork();

	if (pid == 0) {
		sigprocmask(SIG_BLOCK, &set, NULL);
		send_all();
		execl("/proc/self/exe", "midway", "after-exec", NULL);
		_exit(127);
	}
	check(wait_for(pid) == 0);
}

/* An exec that fails at the last moment: its arguments are more than the kernel takes. */
static void pending_over_failed_exec(void)
{
	static char big[40000], *arguments[100];
	sigset_t set = all_faults();

	memset(big, 'x', sizeof big - 1);
	for (int i = 0; i < 99; i++)
		arguments[i] = big;
	sigprocmask(SIG_BLOCK, &set, NULL);
	send_all();
	check(execv("/proc/self/exe", arguments) == -1 && errno == E2BIG);
	check(take_all() == 6);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static void *receive_and_end(void *unused)
{
	union sigval value = { .sival_int = 5 };

	/* As sent to the process, where the kernel happens to choose this thread. */
	check(pthread_sigqueue(pthread_self(), SIGBUS, value) == 0);
	return unused;
}

static void *nothing_much(void *unused)
{
	sigset_t set;

	sigprocmask(SIG_BLOCK, NULL, &set);
	return unused;
}

/* A signal to the process waits in a thread that ends, and whose place others take. */
static void pending_over_threads(void)
{
	sigset_t set = all_faults();
	struct timespec now = { 0 };
	pthread_t thread;
	siginfo_t info;

	sigprocmask(SIG_BLOCK, &set, NULL);
	check(pthread_create(&thread, NULL, receive_and_end, NULL) == 0);
	pthread_join(thread, NULL);
	for (int i = 0; i < 50; i++) {
		check(pthread_create(&thread, NULL, nothing_much, NULL) == 0);
		pthread_join(thread, NULL);
	}
	check(sigtimedwait(&set, &info, &now) == SIGBUS && info.si_value.sival_int == 5);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

/* One that comes at any moment of a trapped call, also at its end, is taken when that returns, not at the next one. */
static volatile int wanted, got;
static void count_one(int signal) { (void)signal; got++; }

static void *send_when_wanted(void *main_thread)
{
	for (int sent = 0; sent < 4000;) {
		if (wanted == sent)
			continue;
		for (volatile int wait = rand() % 2000; wait > 0; wait--)
			;
		sent++;
		pthread_kill(*(pthread_t *)main_thread, SIGBUS);
	}
	return NULL;
}

static void taken_at_once(void)
{
	struct sigaction action = { .sa_handler = count_one }, fresh = { .sa_handler = SIG_DFL };
	pthread_t self = pthread_self(), sender;
	int late = 0;

	wanted = got = 0;
	sigaction(SIGBUS, &action, NULL);
	check(pthread_create(&sender, NULL, send_when_wanted, &self) == 0);
	while (wanted < 4000) {
		sigset_t set;
		wanted++;
		sigprocmask(SIG_BLOCK, NULL, &set);
		/* From here on no call of this thread is trapped, and the vDSO's clock makes none. */
		struct timespec start, now;
		clock_gettime(CLOCK_MONOTONIC, &start);
		do
			clock_gettime(CLOCK_MONOTONIC, &now);
		while (got != wanted && now.tv_sec - start.tv_sec < 3);
		late += got != wanted;
		while (got != wanted)
			sigprocmask(SIG_BLOCK, NULL, &set);
	}
	check(late == 0);
	pthread_join(sender, NULL);
	sigaction(SIGBUS, &fresh, NULL);
}

int main(int count, char **names)
{
	static const struct scenario scenarios[] = {
		{ "vfork-handlers", vfork_handlers },
		{ "vfork-mappings", vfork_mappings },
		{ "vfork-devices", vfork_devices },
		{ "forks-while-mapping", forks_while_mapping },
		{ "pending-over-exec", pending_over_exec },
		{ "pending-over-failed-exec", pending_over_failed_exec },
		{ "pending-over-threads", pending_over_threads },
		{ "taken-at-once", taken_at_once },
	};

	if (count == 2 && !strcmp(names[1], "after-exec"))
		return take_all() != 6 || failures;
	return run_scenarios(scenarios, sizeof scenarios / sizeof *scenarios, names);
}
