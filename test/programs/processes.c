/* Processes and threads that share an enclave in every unkind way: forks, execs, orphans, stops, cut rights. */
#define _GNU_SOURCE
#include "odd.h"

#include <err.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096UL

struct board { volatile uint64_t stop, count, calls, vector, ready; };
static struct board *board;

static int wait_for(pid_t pid)
{
	int status = -1;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

static void *spin(void *unused)
{
	struct work work = { .function = WORK_SPIN, .number = (uint64_t)&board->stop };

	board->ready = 1;
	check(run_work(&work, 1).function == 4);
	return unused;
}

static void *call_on(void *unused)
{
	while (!board->stop) {
		check(compute_once(board->calls, 0));
		board->calls++;
	}
	return unused;
}

static pthread_t start(void *(*function)(void *))
{
	pthread_t thread;

	memset(board, 0, sizeof *board);
	if (pthread_create(&thread, NULL, function, NULL))
		err(1, "pthread_create");
	return thread;
}

static void stop(pthread_t thread)
{
	board->stop = 1;
	pthread_join(thread, NULL);
}

static void many_children(void)
{
	pid_t children[200];

	for (int i = 0; i < 200; i++) {
		children[i] = fork();
		if (children[i] == 0)
			_exit(!compute_once((uint64_t)i, i % 2));
		check(children[i] > 0);
	}
	for (int i = 0; i < 200; i++)
		check(wait_for(children[i]) == 0);
}

/* Threads enter, fault and change handlers and mappings while another one forks. */
static void *change(void *unused)
{
	struct sigaction action = { .sa_handler = SIG_IGN };

	while (!board->stop) {
		void *at = (void *)(heap + 100 * PAGE), *page = mmap(at, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, device, 0);
		check(page == at);
		sigaction(SIGUSR2, &action, NULL);
		munmap(page, PAGE);
	}
	return unused;
}

static void forks_and_threads(void)
{
	pthread_t caller = start(call_on), changer;

	pthread_create(&changer, NULL, change, NULL);
	for (int i = 0; i < 300; i++) {
		pid_t pid = fork();
		if (pid == 0) {
			struct sigaction action = { .sa_handler = SIG_IGN };
			alarm(20);
			sigaction(SIGUSR1, &action, NULL);
			_exit(i % 2 ? 0 : !compute_once((uint64_t)i, 1));
		}
		int status = wait_for(pid);
		check(status == 0);
	}
	board->stop = 1;
	pthread_join(changer, NULL);
	stop(caller);
	check(board->calls > 0);
}

/* A thread that ends inside leaves its TCS with a frame in use, and there are two: a new enclave for each. */
static void exec_with_threads_inside(void)
{
	for (int i = 0; i < 6; i++) {
		load();
		pid_t pid = fork();
		if (pid == 0) {
			start(i % 2 ? spin : call_on);
			usleep((useconds_t)(rand() % 5000));
			execl("/bin/sh", "sh", "-c", "test -c /dev/sgx_enclave", NULL);
			_exit(127);
		}
		check(wait_for(pid) == 0);
		check(compute_once(1, 0) && compute_once(2, 1));
	}
}

static void killed_inside(void)
{
	for (int i = 0; i < 6; i++) {
		load();
		pid_t pid = fork();
		if (pid == 0) {
			start(i % 2 ? spin : call_on);
			pause();
		}
		usleep((useconds_t)(rand() % 20000));
		kill(pid, SIGKILL);
		check(wait_for(pid) == SIGKILL);
		check(compute_once(3, 0) && compute_once(4, 1));
	}
}

/* The kernel tells of a death by a robust mutex while the dead process is still being taken apart: its TCS is free then. */
static void entered_at_a_death(void)
{
	pthread_mutex_t *mutex = shared_page();
	pthread_mutexattr_t attributes;

	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(mutex, &attributes);
	for (int i = 0; i < 6; i++) {
		struct work work = { .function = WORK_COMPUTE, .number = (uint64_t)i };
		struct work counting = { .function = WORK_COUNT, .number = (uint64_t)&board->count,
					 .other = (uint64_t)&board->stop };

		load();
		memset(board, 0, sizeof *board);
		pid_t pid = fork();
		if (pid == 0) {
			pthread_mutex_lock(mutex);
			run_work(&counting, 1);
		}
		while (!board->count)
			usleep(1000);
		struct sgx_enclave_run run = run_work(&work, 1);
		check(run.function == 2 && run.exception_vector == 13);
		kill(pid, SIGKILL);
		check(pthread_mutex_lock(mutex) == EOWNERDEAD);
		run = run_work(&work, 1);
		check(run.function == 4 && work.answer == compute((uint64_t)i));
		pthread_mutex_consistent(mutex);
		pthread_mutex_unlock(mutex);
		check(wait_for(pid) == SIGKILL);
	}
	munmap(mutex, PAGE);
}

static struct sgx_enclave_run count_inside(void)
{
	struct work work = { .function = WORK_COUNT, .number = heap, .other = (uint64_t)&board->stop };

	board->ready = 1;
	return run_work(&work, 1);
}

static uint64_t counter(void)
{
	struct work work = { .function = WORK_READ, .number = heap };

	check(run_work(&work, 0).function == 4);
	return work.answer;
}

static void restrict_to(uint64_t permissions)
{
	struct sgx_enclave_restrict_permissions request = { .offset = heap - (uint64_t)enclave.base, .length = PAGE,
		.permissions = permissions };

	check(ioctl(device, SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS, &request) == 0 && request.result == 0);
}

/* A child writes from inside while the parent takes the right: once the ioctl has returned no write may land. */
static void rights_cut(int stopped)
{
	pid_t pid;

	load();
	memset(board, 0, sizeof *board);
	pid = fork();
	if (pid == 0) {
		struct sgx_enclave_run run = count_inside();
		_exit(!(run.function == 3 && run.exception_vector == 14 && run.exception_addr == heap));
	}
	while (!board->ready)
		usleep(1000);
	while (counter() == 0)
		usleep(1000);
	if (stopped)
		kill(pid, SIGSTOP), usleep(10000);
	struct timeval before, after;
	gettimeofday(&before, NULL);
	restrict_to(1 /* R */);
	uint64_t count = counter();
	gettimeofday(&after, NULL);
	check(after.tv_sec - before.tv_sec < 2); /* it did not wait for the stopped one */
	usleep(20000);
	check(counter() == count);
	if (stopped) {
		kill(pid, SIGCONT);
		usleep(20000);
		check(counter() == count);
	}
	check(wait_for(pid) == 0);
}

static void rights_cut_of_running(void) { rights_cut(0); }
static void rights_cut_of_stopped(void) { rights_cut(1); }

static void on_alarm(int signal)
{
	char local;
	extern char alternate[65536];

	(void)signal;
	board->count++;
	if (&local < alternate || &local >= alternate + sizeof alternate)
		board->vector++;
}
char alternate[65536];

static void alternate_stack(void)
{
	struct sigaction action = { .sa_handler = on_alarm, .sa_flags = SA_ONSTACK | SA_RESTART };
	struct itimerval timer = { { 0, 100 }, { 0, 100 } };
	stack_t stack = { .ss_sp = alternate, .ss_size = sizeof alternate }, none = { .ss_flags = SS_DISABLE };

	memset(board, 0, sizeof *board);
	check(sigaltstack(&stack, NULL) == 0);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	for (uint64_t i = 0; i < 20000; i++)
		check(compute_once(i, 0));
	timer = (struct itimerval){ 0 };
	setitimer(ITIMER_REAL, &timer, NULL);
	check(sigaltstack(&none, NULL) == 0);
	check(board->count > 0 && board->vector == 0);
}

static void on_sent(int signal) { (void)signal; board->count++; }

static void *send_faults(void *main_thread)
{
	static const int faults[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP };

	for (uint64_t i = 0; !board->stop; i++) {
		pthread_kill(*(pthread_t *)main_thread, faults[i % 5]);
		usleep(30);
	}
	return NULL;
}

/* Signals of faults that somebody sends, while calls are made that the stub serves in handlers of its own. */
static void sent_faults(void)
{
	struct sigaction action = { .sa_handler = on_sent, .sa_flags = SA_RESTART }, fresh = { .sa_handler = SIG_DFL };
	static const int faults[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP };
	pthread_t self = pthread_self(), sender;

	memset(board, 0, sizeof *board);
	for (int i = 0; i < 5; i++)
		sigaction(faults[i], &action, NULL);
	pthread_create(&sender, NULL, send_faults, &self);
	for (uint64_t i = 0; i < 3000; i++) {
		void *at = (void *)(heap + 100 * PAGE);

		check(compute_once(i, 0));
		check(mprotect(at, PAGE, PROT_READ) == 0 && mprotect(at, PAGE, PROT_READ | PROT_WRITE) == 0);
	}
	stop(sender);
	for (int i = 0; i < 5; i++)
		sigaction(faults[i], &fresh, NULL);
	check(board->count > 100);
}

/* Every way to start a program; each time it builds an enclave of its own, while a thread here is inside another. */
static void ways_to_start(void)
{
	extern char **environ;
	char *self[] = { "victim", "child", NULL }, script[] = "/tmp/vitrine-script-XXXXXX", line[64] = "", command[128];
	pthread_t caller = start(call_on);
	pid_t pid;
	FILE *pipe;
	int file = mkstemp(script);

	setenv("PATH", "build:/usr/bin:/bin", 1);
	check(dprintf(file, "#!/bin/sh -e\n\"$@\" > /dev/null\nexec victim child > /dev/null\n") > 0);
	check(fchmod(file, 0700) == 0);
	close(file);
	check(posix_spawn(&pid, "build/victim", NULL, NULL, self, environ) == 0 && wait_for(pid) == 0);
	check(posix_spawnp(&pid, "victim", NULL, NULL, self, environ) == 0 && wait_for(pid) == 0);
	check(posix_spawnp(&pid, "no-such-program", NULL, NULL, self, environ) == ENOENT);
	check(system("victim child > /dev/null && test -c /dev/sgx_enclave") == 0);
	pipe = popen("victim child > /dev/null; /bin/sh -c 'exec sh -c \"exec victim child\"' | grep -c init", "r");
	check(pipe && fgets(line, sizeof line, pipe) && !strcmp(line, "1\n") && pclose(pipe) == 0);
	snprintf(command, sizeof command, "%s victim child", script);
	check(system(command) == 0);
	pid = vfork();
	if (pid == 0) {
		execlp("no-such-program", "no-such-program", NULL);
		execlp("victim", "victim", "child", NULL);
		_exit(127);
	}
	check(wait_for(pid) == 0);
	pid = fork();
	if (pid == 0) {
		execl(script, script, "victim", "child", NULL);
		_exit(127);
	}
	check(wait_for(pid) == 0);
	unlink(script);
	stop(caller);
	check(board->calls > 0);
}

static sigjmp_buf out;
static volatile int *volatile nowhere = (int *)8;
static void jump_out(int signal) { siglongjmp(out, signal); }

/* A handler that leaves by siglongjmp while the thread was inside: its frame in the SSA stays, as on hardware. */
static void jumps_out(void)
{
	struct sigaction action = { .sa_handler = jump_out }, fresh = { .sa_handler = SIG_DFL };
	struct itimerval timer = { { 0, 0 }, { 0, 20000 } };
	struct work spinning = { .function = WORK_SPIN, .number = (uint64_t)&board->stop };
	struct sgx_enclave_run run = { 0 };
	volatile int faults = 0;

	load();
	memset(board, 0, sizeof *board);
	sigaction(SIGALRM, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
	for (int i = 0; i < WORKER_NSSA; i++) {
		if (!sigsetjmp(out, 1)) {
			setitimer(ITIMER_REAL, &timer, NULL);
			run_work(&spinning, 1);
		}
		check(compute_once((uint64_t)i, 0));
	}
	/* Every frame is in use. */
	run = run_work(&spinning, 1);
	check(run.function == 2 && run.exception_vector == 13);
	for (volatile int i = 0; i < 100; i++)
		if (sigsetjmp(out, 1))
			faults++;
		else
			*nowhere = 1;
	check(faults == 100 && compute_once(5, 0));
	sigaction(SIGALRM, &fresh, NULL);
	sigaction(SIGSEGV, &fresh, NULL);
}

/* An enclave goes, and the next one gets its place and whatever number it had. */
static void same_place_again(void)
{
	int again = 0;

	for (uint64_t i = 0; i < 6; i++) {
		void *place = (void *)enclave.base;
		munmap((void *)enclave.base, 0x8000000);
		close(device);
		device = -1;
		load_worker("small");
		again += (void *)enclave.base == place;
		check(compute_once(i, 0) && compute_once(i, 1));
	}
	check(again > 0);
}

/* The last scenario: this process ends, its child goes on with the enclave. */
static void orphan(void)
{
	pid_t parent = getpid(), pid = fork();

	if (pid == 0) {
		while (getppid() == parent)
			usleep(1000);
		usleep(50000);
		for (uint64_t i = 0; i < 1000; i++)
			check(compute_once(i, 0));
		printf("orphan: %d failed\n", failures);
		fflush(stdout);
		_exit(failures != 0);
	}
}

static pthread_barrier_t both;
static void *enter_first(void *thread)
{
	pthread_barrier_wait(&both);
	check(compute_once(3, (int)(intptr_t)thread));
	return NULL;
}

/* How often this process maps the enclave's file elsewhere than the enclave itself. */
static int other_mappings(void)
{
	unsigned long at, inode, file = 0;
	int count = 0;
	char line[512];

	for (int pass = 0; pass < 2; pass++) {
		FILE *maps = fopen("/proc/self/maps", "r");
		while (maps && fgets(line, sizeof line, maps)) {
			if (sscanf(line, "%lx-%*x %*s %*x %*s %lu", &at, &inode) != 2 || !inode)
				continue;
			if (at - (unsigned long)enclave.base < enclave.size_bytes)
				file = inode;
			else
				count += pass && inode == file;
		}
		fclose(maps);
	}
	return count;
}

/* Two threads whose first entries come at the same time share what the first of them sets up. */
static void first_entries(void)
{
	pthread_t threads[2];

	pthread_barrier_init(&both, NULL, 2);
	for (int round = 0; round < 10; round++) {
		load_enclave("small");
		for (intptr_t i = 0; i < 2; i++)
			check(pthread_create(&threads[i], NULL, enter_first, (void *)i) == 0);
		for (int i = 0; i < 2; i++)
			pthread_join(threads[i], NULL);
		check(other_mappings() == 1);
	}
}

int main(int count, char **names)
{
	static const struct scenario scenarios[] = {
		{ "many-children", many_children },
		{ "forks-and-threads", forks_and_threads },
		{ "exec-with-threads-inside", exec_with_threads_inside },
		{ "killed-inside", killed_inside },
		{ "entered-at-a-death", entered_at_a_death },
		{ "alternate-stack", alternate_stack },
		{ "sent-faults", sent_faults },
		{ "rights-cut-of-running", rights_cut_of_running },
		{ "rights-cut-of-stopped", rights_cut_of_stopped },
		{ "ways-to-start", ways_to_start },
		{ "jumps-out", jumps_out },
		{ "same-place-again", same_place_again },
		{ "first-entries", first_entries },
		{ "orphan", orphan },
	};

	(void)count;
	board = shared_page();
	return run_scenarios(scenarios, sizeof scenarios / sizeof *scenarios, names);
}
