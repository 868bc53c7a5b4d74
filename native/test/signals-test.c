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
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

extern char **environ;
static volatile int seen, on_stack, nested;
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

static void alternate_stack(void)
{
	stack_t stack = { .ss_sp = stack_memory, .ss_size = sizeof stack_memory }, old;

	check(sigaltstack(&stack, NULL) == 0);
	check(sigaltstack(NULL, &old) == 0 && old.ss_sp == stack_memory && old.ss_flags == 0);
	install(SIGUSR2, note, SA_ONSTACK);
	raise(SIGUSR2);
	on_stack = handler_sp >= (uintptr_t)stack_memory && handler_sp < (uintptr_t)stack_memory + sizeof stack_memory;
	check(on_stack);
	install(SIGUSR2, note, 0);
	raise(SIGUSR2);
	on_stack = handler_sp >= (uintptr_t)stack_memory && handler_sp < (uintptr_t)stack_memory + sizeof stack_memory;
	check(!on_stack);
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
	alternate_stack();
	interrupted_calls();
	under_fire();
	children();
	other_abis();
	own_descriptors();
	fflush(stderr);
	return finish("signals, masks, stacks, interrupted calls, threads and children");
}
