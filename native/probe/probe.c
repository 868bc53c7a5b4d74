/*
 * vitrine-probe: tries each thing that the stub and the host need of this machine, as they would, and prints one line
 * for each: NAME=ok, NAME=errno N, NAME=signal N (it was killed), NAME=no-effect, or NAME=value N.
 *
 * Every probe runs in a child, so that filters, limits and deaths end with it. What an answer means is judged by
 * src/attach/doctor/checks.ts, which has the same names.
 */
#include "../src/sys.h"
#include "../include/layout.h"
#include <asm-generic/errno.h>
#include <asm/prctl.h>
#include <asm/unistd.h>
#include <linux/audit.h>
#include <linux/fcntl.h>
#include <linux/filter.h>
#include <linux/memfd.h>
#include <linux/mman.h>
#include <linux/prctl.h>
#include <linux/resource.h>
#include <linux/seccomp.h>
#include <linux/signal.h>
#include <linux/socket.h>
#include <linux/stat.h>
#include <linux/uio.h>
#include <linux/userfaultfd.h>
#include <asm/stat.h>
#include <linux/falloc.h>
#include <linux/ioctl.h>

#define NO_EFFECT 255
#define RET_ON_ERROR(r)             \
	do {                        \
		i64 result_ = (r);  \
		if (is_error(result_)) \
			return (int)-result_; \
	} while (0)

static void __attribute__((noreturn)) leave(int code)
{
	for (;;)
		sys(__NR_exit_group, code);
}

/* ---- a signal that is to come ---- */

static int wanted_signal, wanted_code;
/* 1: the kernel stops system calls. */
static volatile char selector;

static void on_signal(int signal, siginfo_t *info, void *context)
{
	(void)context;
	selector = 0;
	leave(signal == wanted_signal && (!wanted_code || info->si_code == wanted_code) ? 0 : NO_EFFECT);
}

struct kernel_sigaction { void *handler; u64 flags; void *restorer; u64 mask; };

/* The probe succeeds by this signal. No handler returns, so none needs a restorer that works. */
static void expect(int signal, int code)
{
	struct kernel_sigaction action = { (void *)on_signal, SA_SIGINFO | 0x04000000 /* SA_RESTORER */, (void *)leave, 0 };

	wanted_signal = signal;
	wanted_code = code;
	sys(__NR_rt_sigaction, signal, &action, 0, 8);
}

/* ---- the probes: 0, an errno, or NO_EFFECT ---- */

static int probe_cpuid_faulting(void)
{
	u32 a = 0, c = 0;

	expect(11, 0);
	RET_ON_ERROR(sys(__NR_arch_prctl, ARCH_SET_CPUID, 0));
	asm volatile("cpuid" : "+a"(a), "+c"(c) : : "rbx", "rdx");
	return NO_EFFECT;
}

static i64 anonymous(u64 size, u64 prot)
{
	return sys(__NR_mmap, 0, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

static int probe_protection_keys(void)
{
	i64 page = anonymous(PAGE, PROT_READ | PROT_WRITE), key = sys(__NR_pkey_alloc, 0, 1 /* PKEY_DISABLE_ACCESS */);

	RET_ON_ERROR(page);
	RET_ON_ERROR(key);
	RET_ON_ERROR(sys(__NR_pkey_mprotect, page, PAGE, PROT_READ | PROT_WRITE, key));
	expect(11, 4 /* SEGV_PKUERR */);
	*(volatile char *)page = 1;
	return NO_EFFECT;
}

static int probe_fsgsbase(void)
{
	u64 base;

	asm volatile("rdfsbase %0" : "=r"(base));
	asm volatile("wrfsbase %0" : : "r"(base));
	return 0;
}

static const struct sock_filter trap_getppid[] = {
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_getppid, 0, 1),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

static i64 filter(u32 flags)
{
	struct sock_fprog program = { ARRAY_LENGTH(trap_getppid), (struct sock_filter *)trap_getppid };

	return sys(__NR_seccomp, SECCOMP_SET_MODE_FILTER, flags | SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program);
}

static int probe_seccomp(void)
{
	RET_ON_ERROR(sys(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	RET_ON_ERROR(filter(0));
	RET_ON_ERROR(filter(SECCOMP_FILTER_FLAG_TSYNC));
	expect(31, 1 /* SYS_SECCOMP */);
	sys(__NR_getppid);
	return NO_EFFECT;
}

/* The same without the promise never to gain privileges. */
static int probe_seccomp_privileged(void)
{
	RET_ON_ERROR(filter(0));
	return 0;
}

static int probe_syscall_dispatch(void)
{
	RET_ON_ERROR(sys(__NR_prctl, PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, 0x1000, PAGE, &selector));
	expect(31, 2 /* SYS_USER_DISPATCH */);
	selector = 1;
	sys(__NR_getppid);
	selector = 0;
	return NO_EFFECT;
}

static i64 memfd(void)
{
	i64 fd = sys(__NR_memfd_create, "vitrine-probe", MFD_CLOEXEC | MFD_ALLOW_SEALING | 8 /* MFD_NOEXEC_SEAL */);

	return fd == -EINVAL ? sys(__NR_memfd_create, "vitrine-probe", MFD_CLOEXEC | MFD_ALLOW_SEALING) : fd;
}

static i64 map_shared(i64 fd, u64 size, u64 prot)
{
	return sys(__NR_mmap, 0, size, prot, MAP_SHARED | MAP_NORESERVE, fd, 0);
}

static int probe_userfaultfd(void)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_SIGBUS | UFFD_FEATURE_MISSING_SHMEM };
	i64 fd = memfd(), at, uffd = sys(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);

	RET_ON_ERROR(uffd);
	RET_ON_ERROR(sys(__NR_ioctl, uffd, UFFDIO_API, &api));
	RET_ON_ERROR(fd);
	RET_ON_ERROR(sys(__NR_ftruncate, fd, PAGE));
	RET_ON_ERROR(at = map_shared(fd, PAGE, PROT_READ | PROT_WRITE));
	struct uffdio_register range = { .range = { (u64)at, PAGE }, .mode = UFFDIO_REGISTER_MODE_MISSING };
	RET_ON_ERROR(sys(__NR_ioctl, uffd, UFFDIO_REGISTER, &range));
	expect(7, 0);
	*(volatile char *)at = 1;
	return NO_EFFECT;
}

static int probe_memfd_exec(void)
{
	static const u8 code[] = { 0xb8, 42, 0, 0, 0, 0xc3 }; /* mov $42, %eax; ret */
	i64 fd = memfd(), at;

	RET_ON_ERROR(fd);
	RET_ON_ERROR(sys(__NR_ftruncate, fd, PAGE));
	RET_ON_ERROR(sys(__NR_pwrite64, fd, code, sizeof code, 0));
	RET_ON_ERROR(at = map_shared(fd, PAGE, PROT_READ | PROT_EXEC));
	return ((int (*)(void))at)() == 42 ? 0 : NO_EFFECT;
}

/* An ELRANGE of 64 GiB: its file and its mappings, without any memory behind them. */
static int probe_address_space(void)
{
	i64 fd = memfd();

	RET_ON_ERROR(fd);
	RET_ON_ERROR(sys(__NR_ftruncate, fd, 1UL << 36));
	RET_ON_ERROR(map_shared(fd, 1UL << 36, PROT_NONE));
	RET_ON_ERROR(map_shared(fd, 1UL << 36, PROT_NONE));
	return 0;
}

/* Touching one page must bring one page. */
static int probe_small_pages(void)
{
	const u64 size = 8UL << 20;
	struct stat stat;
	i64 fd = memfd(), at;

	RET_ON_ERROR(fd);
	RET_ON_ERROR(sys(__NR_ftruncate, fd, size));
	RET_ON_ERROR(at = map_shared(fd, size, PROT_READ | PROT_WRITE));
	*(volatile char *)(at + (4 << 20)) = 1;
	RET_ON_ERROR(sys(__NR_fstat, fd, &stat));
	return stat.st_blocks * 512 <= (i64)PAGE ? 0 : NO_EFFECT;
}

/* The page itself moves into a pipe, a hole stays: src/attach/contents.ts. */
static int probe_eviction(void)
{
	i64 fd = memfd();
	int pipe[2];
	u64 offset = 0;
	char out = 7, in = 0;

	RET_ON_ERROR(fd);
	RET_ON_ERROR(sys(__NR_ftruncate, fd, PAGE));
	RET_ON_ERROR(sys(__NR_pwrite64, fd, &out, 1, 0));
	RET_ON_ERROR(sys(__NR_pipe2, pipe, 0));
	RET_ON_ERROR(sys(__NR_splice, fd, &offset, pipe[1], 0, PAGE, 0));
	RET_ON_ERROR(sys(__NR_fallocate, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE));
	RET_ON_ERROR(sys(__NR_read, pipe[0], &in, 1));
	RET_ON_ERROR(sys(__NR_pread64, fd, &out, 1, 0));
	return in == 7 && out == 0 ? 0 : NO_EFFECT;
}

/* Another open file description, by /proc; its lock says when the program's last one is gone. */
static int probe_reopen(void)
{
	char path[32] = "/proc/self/fd/";
	i64 fd = memfd(), again, pidfd = sys(__NR_pidfd_open, sys(__NR_getpid), 0);

	RET_ON_ERROR(pidfd);
	RET_ON_ERROR(fd);
	append_number(path + strlen(path), (u64)fd, 10);
	RET_ON_ERROR(again = sys(__NR_open, path, O_RDWR | O_CLOEXEC, 0));
	RET_ON_ERROR(sys(__NR_flock, fd, 2 | 4 /* LOCK_EX | LOCK_NB */));
	return sys(__NR_flock, again, 2 | 4) == -EAGAIN ? 0 : NO_EFFECT;
}

static int probe_wipe_on_fork(void)
{
	i64 page = anonymous(PAGE, PROT_READ | PROT_WRITE);
	int status = 0;

	RET_ON_ERROR(page);
	RET_ON_ERROR(sys(__NR_madvise, page, PAGE, MADV_WIPEONFORK));
	*(volatile char *)page = 1;
	i64 child = sys(__NR_fork);
	if (!child)
		leave(*(volatile char *)page);
	RET_ON_ERROR(child);
	RET_ON_ERROR(sys(__NR_wait4, child, &status, 0, 0));
	return status ? NO_EFFECT : 0;
}

/* As keep_descriptor in start.c. */
static int probe_descriptors(void)
{
	i64 r = sys(__NR_dup3, 1, STUB_FD_UFFD, 0);
	struct rlimit limit;

	if (r == -EBADF) {
		RET_ON_ERROR(sys(__NR_prlimit64, 0, RLIMIT_NOFILE, 0, &limit));
		limit.rlim_cur = STUB_FD_UFFD + 1;
		if (limit.rlim_max < limit.rlim_cur)
			limit.rlim_max = limit.rlim_cur;
		RET_ON_ERROR(sys(__NR_prlimit64, 0, RLIMIT_NOFILE, &limit, 0));
		r = sys(__NR_dup3, 1, STUB_FD_UFFD, 0);
	}
	RET_ON_ERROR(r);
	return 0;
}

/* The stub and the host: whole messages, and descriptors in them. */
static int probe_sockets(void)
{
	struct { u64 length; i32 level, type, fd, pad; } control = { 20, 1 /* SOL_SOCKET */, 1 /* SCM_RIGHTS */, 1, 0 };
	char byte = 0;
	struct iovec part = { &byte, 1 };
	struct { void *name; u64 name_length; struct iovec *parts; u64 count; void *control; u64 control_length, flags; }
		message = { 0, 0, &part, 1, &control, sizeof control, 0 };
	int pair[2];

	RET_ON_ERROR(sys(__NR_socketpair, 1 /* AF_UNIX */, 5 /* SOCK_SEQPACKET */ | O_CLOEXEC, 0, pair));
	RET_ON_ERROR(sys(__NR_sendmsg, pair[0], &message, 0));
	control.fd = -1;
	RET_ON_ERROR(sys(__NR_recvmsg, pair[1], &message, 0));
	RET_ON_ERROR(sys(__NR_fcntl, control.fd, F_GETFD, 0));
	return control.fd > 2 ? 0 : NO_EFFECT;
}

/* The host is not always an ancestor of its targets: they name it as their tracer. */
static int probe_memory_access(void)
{
	static volatile char word = 1;
	int to_reader[2], to_target[2], status = 0;
	u32 pid = 0;

	RET_ON_ERROR(sys(__NR_pipe2, to_reader, 0));
	RET_ON_ERROR(sys(__NR_pipe2, to_target, 0));
	i64 reader = sys(__NR_fork);
	RET_ON_ERROR(reader);
	if (!reader) {
		char two = 2;
		struct iovec local = { &two, 1 }, remote = { (void *)&word, 1 };
		sys(__NR_read, to_reader[0], &pid, sizeof pid);
		i64 r = sys(__NR_process_vm_writev, pid, &local, 1, &remote, 1, 0);
		if (!is_error(r))
			r = sys(__NR_process_vm_readv, pid, &local, 1, &remote, 1, 0);
		leave(is_error(r) ? (int)-r : two == 2 ? 0 : NO_EFFECT);
	}
	i64 target = sys(__NR_fork);
	RET_ON_ERROR(target);
	if (!target) {
		sys(__NR_prctl, PR_SET_PTRACER, reader, 0, 0, 0); /* EINVAL without Yama: then nobody needs it */
		pid = (u32)sys(__NR_getpid);
		sys(__NR_write, to_reader[1], &pid, sizeof pid);
		sys(__NR_close, to_target[1]);
		sys(__NR_read, to_target[0], &pid, 1); /* until it is closed */
		leave(0);
	}
	sys(__NR_wait4, reader, &status, 0, 0);
	sys(__NR_close, to_target[1]);
	sys(__NR_wait4, target, 0, 0, 0);
	return status >> 8 & 0xff;
}

/* ---- numbers: printed by the child ---- */

static void say(const char *name, const char *what, u64 value, u32 base)
{
	char line[96], *end = append(append(append(line, name), "="), what);

	if (base) {
		end = append(end, base == 16 ? " 0x" : " ");
		end = append_number(end, value, base);
	}
	end = append(end, "\n");
	sys(__NR_write, 1, line, end - line);
}

/* How many mappings a process can have: pages of changing rights until there are too many. */
#define ENOUGH_MAPPINGS 100000UL
static void count_mappings(void)
{
	u64 made = 0;
	i64 at = anonymous(ENOUGH_MAPPINGS * PAGE, PROT_NONE);

	while (!is_error(at) && made < ENOUGH_MAPPINGS && !sys(__NR_mprotect, at + made * PAGE, PAGE, PROT_READ))
		made += 2;
	say("mappings", "value", made, 10);
}

/* What XSAVE saves here, and so what enclaves can have. */
static void read_xcr0(void)
{
	u32 a = 1, b, c = 0, d;

	asm volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	if (c & 1u << 27) /* OSXSAVE */
		asm volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	else
		a = 3, d = 0;
	say("xcr0", "value", a | (u64)d << 32, 16);
}

static void print_outcome(const char *name, int status)
{
	if (status & 0x7f)
		say(name, "signal", status & 0x7f, 10);
	else if (status == 0)
		say(name, "ok", 0, 0);
	else if (status >> 8 == NO_EFFECT)
		say(name, "no-effect", 0, 0);
	else
		say(name, "errno", (u64)status >> 8, 10);
}

static const struct { const char *name; int (*probe)(void); void (*number)(void); } probes[] = {
	{ "cpuid-faulting", probe_cpuid_faulting, 0 },
	{ "protection-keys", probe_protection_keys, 0 },
	{ "fsgsbase", probe_fsgsbase, 0 },
	{ "seccomp", probe_seccomp, 0 },
	{ "seccomp-privileged", probe_seccomp_privileged, 0 },
	{ "syscall-dispatch", probe_syscall_dispatch, 0 },
	{ "userfaultfd", probe_userfaultfd, 0 },
	{ "memfd-exec", probe_memfd_exec, 0 },
	{ "address-space", probe_address_space, 0 },
	{ "small-pages", probe_small_pages, 0 },
	{ "eviction", probe_eviction, 0 },
	{ "reopen", probe_reopen, 0 },
	{ "wipe-on-fork", probe_wipe_on_fork, 0 },
	{ "descriptors", probe_descriptors, 0 },
	{ "sockets", probe_sockets, 0 },
	{ "memory-access", probe_memory_access, 0 },
	{ "mappings", 0, count_mappings },
	{ "xcr0", 0, read_xcr0 },
};

/* No core files of children that are meant to die. */
static void forbid_core_dumps(void)
{
	struct rlimit none = { 0, 0 };

	sys(__NR_prlimit64, 0, RLIMIT_CORE, &none, 0);
}

void __attribute__((noreturn)) probe_all(void)
{
	forbid_core_dumps();
	for (u64 i = 0; i < ARRAY_LENGTH(probes); i++) {
		int status = NO_EFFECT << 8;
		i64 child = sys(__NR_fork);

		if (!child) {
			if (!probes[i].number)
				leave(probes[i].probe());
			probes[i].number();
			leave(0);
		}
		if (is_error(child))
			status = (int)-child << 8;
		else
			sys(__NR_wait4, child, &status, 0, 0);
		if (!probes[i].number || status)
			print_outcome(probes[i].name, status);
	}
	leave(0);
}

asm(".globl _start\n"
    "_start:\n"
    "	xor %ebp, %ebp\n"
    "	and $-16, %rsp\n"
    "	call probe_all\n");
