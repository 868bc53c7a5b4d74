/*
 * Signals as a program sees them. Run natively it tests the test; run by the stub it must say the same.
 */
#define _GNU_SOURCE
#include "check.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

extern char **environ;
static volatile int seen;
static volatile siginfo_t last;
static volatile uintptr_t handler_sp, last_ip;
static sigset_t mask_in_handler;
static sigjmp_buf jump;
static volatile int *volatile bad = (int *)16;
static char stack_memory[64 * 1024];

static void note(int signal, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	char here;

	seen = signal;
	last = *info;
	handler_sp = (uintptr_t)&here;
	last_ip = (uintptr_t)uc->uc_mcontext.gregs[REG_RIP];
	sigprocmask(SIG_SETMASK, NULL, &mask_in_handler);
}

static void install(int signal, void (*handler)(int, siginfo_t *, void *), int flags)
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags };
	check(sigaction(signal, &action, NULL) == 0);
}

static void leap(int signal, siginfo_t *info, void *context)
{
	note(signal, info, context);
	siglongjmp(jump, 1);
}

static void skip_ud2(int signal, siginfo_t *info, void *context)
{
	note(signal, info, context);
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;
}

static void arm(long us)
{
	struct itimerval once = { { 0, 0 }, { 0, us } };
	setitimer(ITIMER_REAL, &once, NULL);
}

static void handlers_and_masks(void)
{
	struct sigaction old;
	sigset_t set;

	install(SIGUSR1, note, 0);
	raise(SIGUSR1);
	check(seen == SIGUSR1 && last.si_signo == SIGUSR1 && last.si_code == SI_TKILL && last.si_pid == getpid());
	check(sigismember(&mask_in_handler, SIGUSR1));
	sigprocmask(SIG_SETMASK, NULL, &set);
	check(!sigismember(&set, SIGUSR1));
	check(sigaction(SIGUSR1, NULL, &old) == 0 && old.sa_sigaction == note && (old.sa_flags & SA_SIGINFO));

	/* The last real-time signal is the program's, although the host uses it, too. */
	install(SIGRTMAX, note, 0);
	raise(SIGRTMAX);
	check(seen == SIGRTMAX && last.si_pid == getpid());

	install(SIGUSR1, note, SA_NODEFER);
	raise(SIGUSR1);
	check(!sigismember(&mask_in_handler, SIGUSR1));

	install(SIGUSR1, note, SA_RESETHAND);
	raise(SIGUSR1);
	sigaction(SIGUSR1, NULL, &old);
	check(old.sa_handler == SIG_DFL);

	/* What a program blocks it sees blocked, also what must not really be. */
	sigfillset(&set);
	sigprocmask(SIG_SETMASK, &set, NULL);
	sigprocmask(SIG_SETMASK, NULL, &set);
	check(sigismember(&set, SIGSEGV) && sigismember(&set, SIGSYS) && sigismember(&set, SIGUSR1));
	check(!sigismember(&set, SIGKILL));
	check(access("/", R_OK) == 0); /* a trapped call while "all" are blocked */
	sigemptyset(&set);
	sigprocmask(SIG_SETMASK, &set, NULL);

	check(syscall(SYS_rt_sigaction, SIGUSR1, NULL, (void *)8, 8) == -1 && errno == EFAULT);
	check(syscall(SYS_rt_sigaction, SIGKILL, &old, NULL, 8) == -1 && errno == EINVAL);
	check(syscall(SYS_rt_sigaction, 99, NULL, NULL, 8) == -1 && errno == EINVAL);
	check(syscall(SYS_rt_sigprocmask, 77, &set, NULL, 8) == -1 && errno == EINVAL);
}

static void faults(void)
{
	install(SIGSEGV, leap, 0);
	for (int i = 0; i < 1000; i++)
		if (!sigsetjmp(jump, 1)) {
			*bad = 1;
			abort();
		}
	check(seen == SIGSEGV && last.si_addr == (void *)16 && last.si_code == SEGV_MAPERR);

	void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!sigsetjmp(jump, 1))
		*(volatile int *)page = 1;
	check(last.si_addr == page && last.si_code == SEGV_ACCERR);
	munmap(page, 4096);

	install(SIGILL, skip_ud2, 0);
	asm volatile("ud2" ::: "memory");
	check(seen == SIGILL && last.si_code == ILL_ILLOPN);

	install(SIGFPE, leap, 0);
	if (!sigsetjmp(jump, 1)) {
		asm volatile("cltd; idivl %%ecx" ::"a"(1), "c"(0) : "edx");
	}
	check(seen == SIGFPE && last.si_code == FPE_INTDIV);

	install(SIGTRAP, note, 0);
	asm volatile("int3");
	check(seen == SIGTRAP);
	install(SIGSYS, note, 0);
	raise(SIGSYS);
	check(seen == SIGSYS);
}

static void crash_again(int signal, siginfo_t *info, void *context)
{
	note(signal, info, context);
	*bad = 1;
}

static int status_of(pid_t pid)
{
	int status = -1;

	check(waitpid(pid, &status, 0) == pid);
	return status;
}

/* A handler that faults itself: its signal is blocked while it runs, so the second fault kills. */
static void faults_in_handlers(void)
{
	static const int flags[] = { 0, SA_RESETHAND };
	sigset_t now;
	pid_t pid;

	for (int i = 0; i < 2; i++) {
		pid = fork();
		if (pid == 0) {
			alarm(5);
			install(SIGSEGV, crash_again, flags[i]);
			*bad = 1;
			_exit(0);
		}
		check(WTERMSIG(status_of(pid)) == SIGSEGV);
	}
	/* The handler sees its signal blocked; siglongjmp with the mask unblocks it, its return does, too. */
	install(SIGSEGV, leap, 0);
	if (!sigsetjmp(jump, 1))
		*bad = 1;
	check(sigismember(&mask_in_handler, SIGSEGV));
	sigprocmask(SIG_SETMASK, NULL, &now);
	check(!sigismember(&now, SIGSEGV));
	install(SIGILL, skip_ud2, 0);
	asm volatile("ud2" ::: "memory");
	check(sigismember(&mask_in_handler, SIGILL));
	sigprocmask(SIG_SETMASK, NULL, &now);
	check(!sigismember(&now, SIGILL));
	/* Without the mask it stays blocked, and the next fault kills. */
	pid = fork();
	if (pid == 0) {
		if (!sigsetjmp(jump, 0))
			*bad = 1;
		*bad = 1;
		_exit(0);
	}
	check(WTERMSIG(status_of(pid)) == SIGSEGV);
}

static void unblock_in_frame(int signal, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	note(signal, info, context);
	sigdelset(&uc->uc_sigmask, SIGILL);
}

static int runs;
static void *wait_for_one(void *set)
{
	int signal = 0;

	check(sigwait(set, &signal) == 0);
	return (void *)(long)signal;
}

/* Signals of faults that somebody sends while they are blocked. */
static void blocked_and_sent(void)
{
	static const int signals[] = { SIGSEGV, SIGILL, SIGBUS, SIGFPE, SIGTRAP, SIGSYS };
	struct timespec none = { 0, 0 };
	sigset_t set, pending, empty;
	siginfo_t info;

	sigemptyset(&empty);
	for (int i = 0; i < 6; i++) {
		sigemptyset(&set);
		sigaddset(&set, signals[i]);
		install(signals[i], note, 0);
		check(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
		seen = 0;
		kill(getpid(), signals[i]);
		check(seen == 0);
		check(sigpending(&pending) == 0 && sigismember(&pending, signals[i]));
		check(sigprocmask(SIG_UNBLOCK, &set, NULL) == 0);
		check(seen == signals[i] && last.si_code == SI_USER && last.si_pid == getpid());
		check(sigpending(&pending) == 0 && !sigismember(&pending, signals[i]));

		sigprocmask(SIG_BLOCK, &set, NULL);
		seen = 0;
		check(sigqueue(getpid(), signals[i], (union sigval){ .sival_int = 77 }) == 0);
		check(sigtimedwait(&set, &info, &none) == signals[i]);
		check(info.si_code == SI_QUEUE && info.si_value.sival_int == 77 && info.si_pid == getpid());
		check(sigtimedwait(&set, &info, &none) == -1 && errno == EAGAIN && seen == 0);
		raise(signals[i]);
		signal(signals[i], SIG_IGN);
		sigprocmask(SIG_UNBLOCK, &set, NULL);
		check(seen == 0);
	}
	/* One of each, whatever was sent meanwhile. */
	sigaddset(&set, SIGILL);
	install(SIGILL, note, 0);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (runs = 0; runs < 3; runs++)
		raise(SIGILL);
	check(sigtimedwait(&set, NULL, &none) == SIGILL && sigtimedwait(&set, NULL, &none) == -1);

	/* A handler's return lets it through, when the frame says so. */
	install(SIGUSR1, unblock_in_frame, 0);
	raise(SIGILL);
	raise(SIGUSR1);
	sigprocmask(SIG_BLOCK, NULL, &pending);
	check(seen == SIGILL && !sigismember(&pending, SIGILL));

	/* Sent to the process and blocked here: another thread waits for it. */
	pthread_t thread;
	void *result;
	sigprocmask(SIG_BLOCK, &set, NULL);
	check(pthread_create(&thread, NULL, wait_for_one, &set) == 0);
	usleep(20000);
	kill(getpid(), SIGILL);
	pthread_join(thread, &result);
	check((long)result == SIGILL);
	kill(getpid(), SIGILL);
	check(pthread_create(&thread, NULL, wait_for_one, &set) == 0);
	pthread_join(thread, &result);
	check((long)result == SIGILL);

	/* Nothing of it comes to a fork's child. */
	raise(SIGILL);
	pid_t pid = fork();
	if (pid == 0)
		_exit(sigpending(&pending) || sigismember(&pending, SIGILL));
	check(status_of(pid) == 0);
	seen = 0;
	sigprocmask(SIG_SETMASK, &empty, NULL);
	check(seen == SIGILL);
}

static stack_t stack_in_handler;
static void note_stack(int signal, siginfo_t *info, void *context)
{
	note(signal, info, context);
	check(sigaltstack(NULL, &stack_in_handler) == 0);
}

static int on_alternate(void)
{
	return handler_sp >= (uintptr_t)stack_memory && handler_sp < (uintptr_t)stack_memory + sizeof stack_memory;
}

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif

static void disarming_stack(void)
{
	stack_t stack = { .ss_sp = stack_memory, .ss_size = sizeof stack_memory, .ss_flags = (int)SS_AUTODISARM }, now;
	stack_t none = { .ss_flags = SS_DISABLE };

	install(SIGUSR2, note_stack, SA_ONSTACK);
	check(sigaltstack(&stack, NULL) == 0);
	for (int i = 0; i < 2; i++) {
		raise(SIGUSR2);
		check(on_alternate() && stack_in_handler.ss_flags == SS_DISABLE);
		check(sigaltstack(NULL, &now) == 0 && now.ss_sp == stack_memory && now.ss_flags == (int)SS_AUTODISARM);
	}
	stack.ss_flags = 0;
	check(sigaltstack(&stack, NULL) == 0);
	raise(SIGUSR2);
	check(on_alternate() && stack_in_handler.ss_flags == SS_ONSTACK && stack_in_handler.ss_sp == stack_memory);
	check(sigaltstack(&none, &now) == 0 && now.ss_flags == 0);
	check(sigaltstack(NULL, &now) == 0 && now.ss_flags == SS_DISABLE);
}

static volatile int small_thread_done;
static int __attribute__((noreturn)) on_small_stack(void *unused)
{
	(void)unused;
	/* Raw calls: libc's would find the wrong thread. */
	long r;
	asm volatile("syscall" : "=a"(r) : "a"(SYS_access), "D"("/nowhere"), "S"(0L) : "rcx", "r11", "memory");
	__atomic_store_n(&small_thread_done, r == -ENOENT ? 1 : 2, __ATOMIC_SEQ_CST);
	for (;;)
		asm volatile("syscall" : "=a"(r) : "a"(SYS_exit), "D"(0L) : "rcx", "r11", "memory");
}

/* A thread whose first trapped call comes on 8 KiB of stack, with nothing below. */
static void small_stack(void)
{
	char *memory = mmap(NULL, 3 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	check(mprotect(memory + 4096, 2 * 4096, PROT_READ | PROT_WRITE) == 0);
	check(clone(on_small_stack, memory + 3 * 4096,
		    CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM, NULL) > 0);
	for (int i = 0; i < 5000 && !small_thread_done; i++)
		usleep(1000);
	check(small_thread_done == 1);
}

static void alternate_stack(void)
{
	stack_t stack = { .ss_sp = stack_memory, .ss_size = sizeof stack_memory }, old;

	check(sigaltstack(&stack, NULL) == 0);
	check(sigaltstack(NULL, &old) == 0 && old.ss_sp == stack_memory && old.ss_flags == 0);
	install(SIGUSR2, note, SA_ONSTACK);
	raise(SIGUSR2);
	check(on_alternate());
	install(SIGUSR2, note, 0);
	raise(SIGUSR2);
	check(!on_alternate());
	stack.ss_size = 100;
	check(sigaltstack(&stack, NULL) == -1 && errno == ENOMEM);
	stack.ss_flags = SS_DISABLE;
	check(sigaltstack(&stack, NULL) == 0);
}

static void interrupted_calls(void)
{
	struct timespec long_time = { 5, 0 }, short_time = { 0, 1000000 };
	sigset_t none, alarm_only;
	siginfo_t info;
	char byte;
	int pipes[2], epoll = epoll_create1(0);
	struct epoll_event event;

	sigemptyset(&none);
	sigemptyset(&alarm_only);
	sigaddset(&alarm_only, SIGALRM);
	install(SIGALRM, note, 0);
	check(pipe(pipes) == 0);

	sigprocmask(SIG_BLOCK, &alarm_only, NULL);
	raise(SIGALRM);
	seen = 0;
	check(ppoll(NULL, 0, &long_time, &none) == -1 && errno == EINTR && seen == SIGALRM);
	raise(SIGALRM);
	seen = 0;
	check(pselect(0, NULL, NULL, NULL, &long_time, &none) == -1 && errno == EINTR && seen == SIGALRM);
	raise(SIGALRM);
	seen = 0;
	check(epoll_pwait(epoll, &event, 1, 5000, &none) == -1 && errno == EINTR && seen == SIGALRM);
	raise(SIGALRM);
	seen = 0;
	check(sigsuspend(&none) == -1 && errno == EINTR && seen == SIGALRM);
	raise(SIGALRM);
	seen = 0;
	check(sigtimedwait(&alarm_only, &info, &long_time) == SIGALRM && !seen);
	check(sigtimedwait(&alarm_only, &info, &short_time) == -1 && errno == EAGAIN);
	sigprocmask(SIG_UNBLOCK, &alarm_only, NULL);

	arm(20000);
	check(read(pipes[0], &byte, 1) == -1 && errno == EINTR);
	install(SIGALRM, note, SA_RESTART);
	if (fork() == 0) {
		usleep(60000);
		_exit(write(pipes[1], "x", 1) != 1);
	}
	seen = 0;
	arm(20000);
	check(read(pipes[0], &byte, 1) == 1 && byte == 'x' && seen == SIGALRM);
	wait(NULL);

	/* A trapped call that blocks: opening a FIFO is interrupted, and restarted, too. */
	char name[] = "/tmp/vitrine-fifo-XXXXXX";
	check(mkdtemp(name) != NULL);
	char fifo[64];
	snprintf(fifo, sizeof fifo, "%s/f", name);
	check(mkfifo(fifo, 0600) == 0);
	install(SIGALRM, note, 0);
	arm(20000);
	check(open(fifo, O_RDONLY) == -1 && errno == EINTR);
	install(SIGALRM, note, SA_RESTART);
	if (fork() == 0) {
		usleep(60000);
		_exit(open(fifo, O_WRONLY) < 0);
	}
	arm(20000);
	int fd = open(fifo, O_RDONLY);
	check(fd >= 0);
	wait(NULL);
	close(fd);
	unlink(fifo);
	rmdir(name);
}

/* Registers and floating point survive signals that come at any instruction. */
static void *compute(void *unused)
{
	(void)unused;
	double x = 1, y = 1;
	for (long i = 0; i < 5000000; i++)
		x = x * 1.0000001 + 0.5;
	for (long i = 0; i < 5000000; i++) {
		y = y * 1.0000001 + 0.5;
		if (i % 50000 == 0)
			check(access("/nowhere", R_OK) == -1 && errno == ENOENT);
	}
	check(x == y);
	return NULL;
}

static void *nothing(void *argument) { return argument; }
static void *sleep_on(void *argument) { pause(); return argument; }

static void under_fire(void)
{
	struct itimerval fast = { { 0, 100 }, { 0, 100 } }, off = { { 0, 0 }, { 0, 0 } };
	pthread_t threads[3];

	install(SIGALRM, note, SA_RESTART);
	setitimer(ITIMER_REAL, &fast, NULL);
	for (int i = 0; i < 3; i++)
		check(pthread_create(&threads[i], NULL, compute, NULL) == 0);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	setitimer(ITIMER_REAL, &off, NULL);
	/* More threads than slots would hold if they were not given back. */
	for (int i = 0; i < 6000; i++) {
		check(pthread_create(&threads[0], NULL, nothing, NULL) == 0);
		pthread_join(threads[0], NULL);
	}
	void *result;
	pthread_create(&threads[0], NULL, sleep_on, NULL);
	pthread_cancel(threads[0]);
	pthread_join(threads[0], &result);
	check(result == PTHREAD_CANCELED);
}

static pthread_barrier_t all_there;
static void *stay(void *unused)
{
	check(access("/nowhere", R_OK) == -1 && errno == ENOENT);
	pthread_barrier_wait(&all_there);
	return unused;
}

/* All at the same time, each with a slot of its own. */
static void many_threads(void)
{
	static pthread_t threads[5000];
	int count = sizeof threads / sizeof *threads;
	pthread_attr_t small;

	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 32 * 1024);
	pthread_barrier_init(&all_there, NULL, (unsigned)count + 1);
	for (int i = 0; i < count; i++)
		if (pthread_create(&threads[i], &small, stay, NULL)) {
			perror("5000 threads");
			exit(1);
		}
	pthread_barrier_wait(&all_there);
	for (int i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
}

static void limits(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		struct rlimit limit = { 64UL << 20, 64UL << 20 };
		check(setrlimit(RLIMIT_AS, &limit) == 0);
		execl("/bin/sh", "sh", "-c", "exit 6", NULL);
		_exit(1);
	}
	check(WEXITSTATUS(status_of(pid)) == 6);
	check(prctl(PR_GET_DUMPABLE) == 1 && prctl(PR_SET_DUMPABLE, 0) == 0 && prctl(PR_GET_DUMPABLE) == 0);
	check(prctl(PR_SET_DUMPABLE, 2) == -1 && errno == EINVAL);
	check(prctl(PR_SET_DUMPABLE, 1) == 0 && prctl(PR_GET_DUMPABLE) == 1);
}

static void children(void)
{
	struct sigaction old;
	int status;
	pid_t pid;
	char *argv[] = { "sh", "-c", "exit 5", NULL };

	install(SIGUSR1, note, 0);
	/* posix_spawn's child shares this memory and resets every handler: ours must still stand afterwards. */
	for (int i = 0; i < 20; i++) {
		check(posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ) == 0);
		check(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 5);
	}
	check(sigaction(SIGUSR1, NULL, &old) == 0 && old.sa_sigaction == note);
	check(WEXITSTATUS(system("exit 9")) == 9);
	pid = vfork();
	if (pid == 0) {
		execl("/nowhere", "nowhere", NULL);
		_exit(errno);
	}
	check(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == ENOENT);
	pid = fork();
	if (pid == 0) {
		seen = 0;
		raise(SIGUSR1);
		_exit(seen == SIGUSR1 ? 0 : 1);
	}
	check(waitpid(pid, &status, 0) == pid && status == 0);
	/* A fault without handler, with the signal blocked, and ignored: the kernel kills. */
	for (int way = 0; way < 3; way++) {
		pid = fork();
		if (pid == 0) {
			sigset_t all;
			sigfillset(&all);
			signal(SIGSEGV, way == 2 ? SIG_IGN : SIG_DFL);
			if (way == 1) {
				install(SIGSEGV, note, 0);
				sigprocmask(SIG_BLOCK, &all, NULL);
			}
			*bad = 1;
			_exit(0);
		}
		check(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	}
	/* Ignored signals stay ignored over exec. */
	signal(SIGUSR2, SIG_IGN);
	check(WEXITSTATUS(system("kill -USR2 $$; exit 3")) == 3);
}

static void own_descriptors(void)
{
	/* The stub keeps three descriptors; to a program there is nothing. */
	check(close_range(3, ~0U, 0) == 0);
	check(access("/", R_OK) == 0 && WEXITSTATUS(system("exit 4")) == 4);
}

/* Neither int 0x80 nor x32 is a way around the filter. */
static void other_abis(void)
{
	long r;

	asm volatile("int $0x80" : "=a"(r) : "a"(20) : "r8", "r9", "r10", "r11", "memory");
	if (getenv("VITRINE_STUB"))
		check((int)r == -ENOSYS);
	errno = 0;
	r = syscall(0x40000000 | SYS_getpid);
	check(r == -1 && errno == ENOSYS);
}

int main(void)
{
	handlers_and_masks();
	faults();
	faults_in_handlers();
	blocked_and_sent();
	alternate_stack();
	disarming_stack();
	small_stack();
	interrupted_calls();
	under_fire();
	many_threads();
	limits();
	children();
	other_abis();
	own_descriptors();
	fflush(stderr);
	return finish("signals, masks, stacks, interrupted calls, threads and children");
}
