/*
 * Frames of signals: returns from them, also forged ones, and places where none fits. Run natively it tests the test;
 * run by the stub it must say the same.
 */
#define _GNU_SOURCE
#include "check.h"
#include "../include/layout.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif
#define AC (1L << 18)
#define NT (1L << 14)

static char stack_memory[64 * 1024];
static sigjmp_buf jump;
static volatile int seen, code;
static volatile uintptr_t where;

static void install(int signal, void (*handler)(int, siginfo_t *, void *), int flags, int also_blocked)
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags };

	sigemptyset(&action.sa_mask);
	if (also_blocked)
		sigaddset(&action.sa_mask, also_blocked);
	check(sigaction(signal, &action, NULL) == 0);
}

static void alternate(int flags)
{
	stack_t stack = { .ss_sp = stack_memory, .ss_size = sizeof stack_memory, .ss_flags = flags };

	check(sigaltstack(&stack, NULL) == 0);
}

static void note(int signal, siginfo_t *info, void *context)
{
	seen = signal;
	code = info->si_code;
	where = (uintptr_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
}

static void leap(int signal, siginfo_t *info, void *context)
{
	note(signal, info, context);
	siglongjmp(jump, 1);
}

/* What the frame shows must be the program, never what stands behind it. */
static int is_programs(uintptr_t ip)
{
	return ip - STUB_MAP_IMAGE >= STUB_MAP_IMAGE_SIZE;
}

/* A signal that waits for the handler's return comes when that is complete: stack, mask and all. */
static int to_raise;
static void raise_another(int signal, siginfo_t *info, void *context)
{
	note(signal, info, context);
	raise(to_raise);
}

static void return_with_another_pending(void)
{
	static const int others[] = { SIGUSR2, SIGSEGV, SIGTRAP };

	for (int i = 0; i < 6; i++) {
		to_raise = others[i / 2];
		alternate(i % 2 ? (int)SS_AUTODISARM : 0);
		install(to_raise, note, SA_ONSTACK, 0);
		install(SIGUSR1, raise_another, SA_ONSTACK, to_raise);
		for (int n = 0; n < 10; n++) {
			seen = 0;
			raise(SIGUSR1);
			check(seen == to_raise && is_programs(where));
		}
	}
	alternate(0);
}

enum forgery { FORGE_CS, FORGE_SS, FORGE_FPSTATE, FORGE_KERNEL_FPSTATE, FORGE_ODD_FPSTATE, FORGE_IP, FORGE_COUNT };
static enum forgery forgery;
static void forge(int signal, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	greg_t *regs = uc->uc_mcontext.gregs;

	note(signal, info, context);
	switch (forgery) {
	case FORGE_CS: regs[REG_CSGSFS] = (regs[REG_CSGSFS] & ~0xffffL) | 0x10; break;
	case FORGE_SS: regs[REG_CSGSFS] = (regs[REG_CSGSFS] & ~(0xffffL << 48)) | 0x1230L << 48; break;
	case FORGE_FPSTATE: uc->uc_mcontext.fpregs = (void *)64; break;
	case FORGE_KERNEL_FPSTATE: uc->uc_mcontext.fpregs = (void *)0xffff888000000000; break;
	case FORGE_ODD_FPSTATE: uc->uc_mcontext.fpregs = (void *)((char *)uc->uc_mcontext.fpregs + 8); break;
	case FORGE_IP: regs[REG_RIP] = (greg_t)0x8000000000000000; break;
	default: break;
	}
}

/* The kernel's answer to a frame that it cannot restore is SIGSEGV or SIGBUS, which can be handled. */
static void forged_frames(void)
{
	for (forgery = 0; forgery < FORGE_COUNT; forgery++) {
		install(SIGSEGV, leap, SA_ONSTACK, 0);
		install(SIGBUS, leap, SA_ONSTACK, 0);
		install(SIGUSR1, forge, 0, 0);
		seen = 0;
		if (!sigsetjmp(jump, 1))
			raise(SIGUSR1);
		check(seen == SIGSEGV || seen == SIGBUS, "forgery %d: %d", (int)forgery, seen);
		check(is_programs(where), "forgery %d", (int)forgery);
	}
}

/* No frame at all. */
static void return_to_nowhere(void)
{
	static const uintptr_t places[] = { 0, 4096, 0xffff888000000000, 0x7fffffffeff8 };

	install(SIGSEGV, leap, SA_ONSTACK, 0);
	for (int i = 0; i < 4; i++) {
		seen = 0;
		if (!sigsetjmp(jump, 1))
			asm volatile("movq %0, %%rsp; movl $15, %%eax; syscall; ud2" ::"r"(places[i]) : "memory");
		check(seen == SIGSEGV && code == SI_KERNEL, "%#lx: %d", places[i], seen);
		check(is_programs(where), "%#lx", places[i]);
	}
}

/* Flags that a handler must not inherit, or that our own code must live with. */
static void odd_flags(void)
{
	long flags, r;

	asm volatile("pushfq; orq %2, (%%rsp); popfq\n"
		     "syscall\n"
		     "pushfq; popq %1; pushfq; andq %3, (%%rsp); popfq\n"
		     : "=a"(r), "=&r"(flags)
		     : "r"(AC | NT), "r"(~(AC | NT)), "a"(SYS_access), "D"("/dev/sgx_nothing"), "S"(0L)
		     : "rcx", "r11", "memory", "cc");
	check(r == -ENOENT && (flags & AC));
}

/* A frame for which the stack has no room is a SIGSEGV, which has a handler on its own stack. */
static void stack_without_room(void)
{
	char *memory = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pid_t pid = getpid(), tid = (pid_t)syscall(SYS_gettid);

	check(mprotect(memory, 4096, PROT_NONE) == 0);
	alternate(0);
	install(SIGSEGV, leap, SA_ONSTACK, 0);
	install(SIGUSR1, note, 0, 0);
	seen = 0;
	if (!sigsetjmp(jump, 1))
		asm volatile("movq %0, %%rsp; movl %1, %%eax; syscall; ud2" ::"r"(memory + 4096 + 256), "i"(SYS_tgkill),
			     "D"((long)pid), "S"((long)tid), "d"((long)SIGUSR1)
			     : "rax", "rcx", "r11", "memory");
	check(seen == SIGSEGV && code == SI_KERNEL, "%d %d", seen, code);
	munmap(memory, 8192);
}

static int status_of(pid_t pid)
{
	int status = -1;

	check(waitpid(pid, &status, 0) == pid);
	return status;
}

/* Crash reporters send themselves the signal that they have caught, as it came. */
static void sent_as_a_fault(void)
{
	static const int signals[] = { SIGSEGV, SIGILL, SIGFPE, SIGBUS, SIGTRAP };

	for (int i = 0; i < 5; i++) {
		pid_t pid = fork();
		if (pid == 0) {
			siginfo_t info = { .si_signo = signals[i], .si_code = 1 };
			signal(signals[i], SIG_DFL);
			syscall(SYS_rt_tgsigqueueinfo, getpid(), getpid(), signals[i], &info);
			_exit(0);
		}
		check(WTERMSIG(status_of(pid)) == signals[i]);
	}
}

/* A vfork child has its parent's memory, but a mask and an alternate stack of its own. */
static void child_in_our_memory(void)
{
	stack_t none = { .ss_flags = SS_DISABLE }, now;
	sigset_t set;
	pid_t pid;

	alternate(0);
	sigemptyset(&set);
	sigprocmask(SIG_SETMASK, &set, NULL);
	pid = vfork();
	if (pid == 0) {
		sigset_t all;
		sigfillset(&all);
		sigprocmask(SIG_SETMASK, &all, NULL);
		sigaltstack(&none, NULL);
		_exit(0);
	}
	check(status_of(pid) == 0);
	check(sigprocmask(SIG_SETMASK, NULL, &set) == 0 && !sigismember(&set, SIGSEGV) && !sigismember(&set, SIGUSR1));
	check(sigaltstack(NULL, &now) == 0 && now.ss_sp == stack_memory);
}

/* One that is no thread and waited for by nobody. */
static volatile int stop, calls;
static int call_on(void *unused)
{
	(void)unused;
	while (!stop) {
		long r;
		asm volatile("syscall" : "=a"(r) : "a"(SYS_access), "D"("/nowhere"), "S"(0L) : "rcx", "r11", "memory");
		if (r != -ENOENT)
			syscall(SYS_exit, 1);
		calls++;
	}
	syscall(SYS_exit, 0);
	return 0;
}

static void process_in_our_memory(void)
{
	static char stacks[2][64 * 1024];
	pid_t pids[2];

	for (int i = 0; i < 2; i++)
		check((pids[i] = clone(call_on, stacks[i] + sizeof stacks[i], CLONE_VM | SIGCHLD, NULL)) > 0);
	usleep(200000);
	stop = 1;
	for (int i = 0; i < 2; i++)
		check(status_of(pids[i]) == 0);
	check(calls > 100);
}

static void call_again(int signal, siginfo_t *info, void *context)
{
	sigset_t other;
	struct timespec none = { 0, 0 };

	note(signal, info, context);
	sigfillset(&other);
	ppoll(NULL, 0, &none, &other);
}

/* SIGSYS that somebody sends while a call of the program's waits. */
static void sent_during_a_call(void)
{
	static const int signals[] = { SIGSYS, SIGSEGV, SIGUSR1 };
	struct timespec seconds = { 5, 0 };
	sigset_t empty;

	sigemptyset(&empty);
	for (int i = 0; i < 3; i++) {
		install(signals[i], call_again, 0, 0);
		pid_t parent = getpid(), pid = fork();
		if (pid == 0) {
			usleep(30000);
			kill(parent, signals[i]);
			_exit(0);
		}
		seen = 0;
		check(ppoll(NULL, 0, &seconds, &empty) == -1 && errno == EINTR && seen == signals[i]);
		check(is_programs(where), "signal %d", signals[i]);
		check(status_of(pid) == 0);
	}
}

int main(void)
{
	return_with_another_pending();
	forged_frames();
	return_to_nowhere();
	odd_flags();
	stack_without_room();
	sent_as_a_fault();
	child_in_our_memory();
	process_in_our_memory();
	sent_during_a_call();
	fflush(stderr);
	return finish("frames: forged, pending, without room; processes in our memory");
}
