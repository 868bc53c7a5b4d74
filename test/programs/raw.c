/*
 * A program without libc: raw system calls, an ENCLU and an AEP of its own, and an enclave at address 0 whose range is
 * mapped RWX before it is created. A timer interrupts it all; a fault inside comes as a signal with RIP at the AEP.
 */
#include "enclave-layout.h"
#include "worker.h"

#include <asm/sgx.h>
#include <asm/signal.h>
#include <asm/siginfo.h>
#include <asm/sigcontext.h>
#include <asm/ucontext.h>
#include <asm/unistd.h>
#include <elf.h>
#include <linux/fcntl.h>
#include <linux/mman.h>
#include <linux/time.h>

#define PAGE 4096UL
#define FIRST 0x10000UL /* of the enclave's pages: an ordinary user cannot map lower ones */
#define CALLS 3000
#define REGULAR 0x200UL
#define TCS 0x100UL

/* Copied by the compiler's own calls. */
void *memset(void *to, int byte, unsigned long n)
{
	for (unsigned long i = 0; i < n; i++)
		((volatile char *)to)[i] = (char)byte;
	return to;
}

static long call(long number, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

static void say(const char *text)
{
	const char *end = text;

	while (*end)
		end++;
	call(__NR_write, 1, (long)text, end - text, 0, 0, 0);
}

static void must(int holds, const char *what)
{
	if (holds)
		return;
	say("not ok ");
	say(what);
	say("\n");
	call(__NR_exit_group, 1, 0, 0, 0, 0, 0);
}

/* ---- building ---- */

static long device;

static char *map(unsigned long at, unsigned long length, int protection, int flags, long fd)
{
	long r = call(__NR_mmap, (long)at, (long)length, protection, flags, fd, 0);

	must((unsigned long)r < -4095UL, "mmap");
	return (char *)r;
}

static char *memory(unsigned long length)
{
	return map(0, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

static char *file(const char *path)
{
	long fd = call(__NR_openat, AT_FDCWD, (long)path, O_RDONLY, 0, 0, 0);

	must(fd >= 0, path);
	return map(0, 256 * PAGE, PROT_READ, MAP_PRIVATE, fd);
}

static void protect(unsigned long at, unsigned long length, int protection)
{
	must(!call(__NR_mprotect, (long)at, (long)length, protection, 0, 0, 0), "mprotect");
}

static void add(unsigned long at, const char *source, unsigned long length, unsigned long flags, int measure)
{
	unsigned long secinfo[8] __attribute__((aligned(64))) = { flags };
	struct sgx_enclave_add_pages request = { (unsigned long)source, at, length, (unsigned long)secinfo, measure, 0 };

	while (request.length) {
		long r = call(__NR_ioctl, device, SGX_IOC_ENCLAVE_ADD_PAGES, (long)&request, 0, 0, 0);
		must(!r || r == -4 /* EINTR */, "ADD_PAGES");
		request.src += request.count;
		request.offset += request.count;
		request.length -= request.count;
		request.count = 0;
	}
}

/* Returns the first TCS. The order is the loader's of the example. */
static unsigned long build(void)
{
	char *elf = file("build/low.elf"), *sigstruct = file("build/low.sigstruct");
	const Elf64_Ehdr *header = (Elf64_Ehdr *)elf;
	const Elf64_Phdr *segments = (Elf64_Phdr *)(elf + header->e_phoff);
	unsigned long size = 0x8000000, end = 0, *secs = (unsigned long *)memory(PAGE);
	struct sgx_enclave_create create = { (unsigned long)secs };
	struct sgx_enclave_init init = { (unsigned long)sigstruct };
	char *zeros = memory(16 * PAGE);

	device = call(__NR_openat, AT_FDCWD, (long)"/dev/sgx_enclave", O_RDWR, 0, 0, 0);
	must(device >= 0, "open");
	map(FIRST, size - FIRST, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED | MAP_FIXED, device);
	secs[0] = size;
	secs[2] = 1;
	secs[6] = SGX_ATTR_MODE64BIT;
	secs[7] = SGX_XFRM_LEGACY | 4;
	must(!call(__NR_ioctl, device, SGX_IOC_ENCLAVE_CREATE, (long)&create, 0, 0, 0), "CREATE at 0");
	for (int i = 0; i < header->e_phnum; i++) {
		const Elf64_Phdr *s = &segments[i];
		if (s->p_type != PT_LOAD || !s->p_memsz)
			continue;
		unsigned long start = s->p_vaddr & -PAGE, length = ((s->p_vaddr + s->p_memsz + PAGE - 1) & -PAGE) - start;
		char *pages = memory(length);
		for (unsigned long at = 0; at < s->p_filesz; at++)
			pages[s->p_vaddr - start + at] = elf[s->p_offset + at];
		unsigned long rights = (s->p_flags & PF_R ? 1 : 0) | (s->p_flags & PF_W ? 2 : 0) | (s->p_flags & PF_X ? 4 : 0);
		add(start, pages, length, REGULAR | rights, 1);
		protect(start, length, (int)rights);
		end = start + length;
	}
	add(end, zeros, WORKER_PAGES * PAGE, REGULAR | 3, 0);
	protect(end, size - end, PROT_READ | PROT_WRITE);
	end += WORKER_PAGES * PAGE;
	for (unsigned long thread = 0; thread < 2; thread++) {
		unsigned long stack = end + thread * WORKER_TCS_STRIDE + PAGE, tcs = stack + WORKER_STACK_PAGES * PAGE;
		unsigned long *words = (unsigned long *)memory(PAGE);
		words[2] = tcs + PAGE;
		words[3] = (unsigned long)WORKER_NSSA << 32;
		words[4] = header->e_entry;
		words[8] = ~0UL;
		add(stack, zeros, WORKER_STACK_PAGES * PAGE, REGULAR | 3, 1);
		add(tcs, (char *)words, PAGE, TCS, 1);
		add(tcs + PAGE, zeros, WORKER_NSSA * PAGE, REGULAR | 3, 1);
	}
	must(!call(__NR_ioctl, device, SGX_IOC_ENCLAVE_INIT, (long)&init, 0, 0, 0), "INIT");
	return end + PAGE + WORKER_STACK_PAGES * PAGE;
}

/* ---- entering ---- */

extern char aep[], outside[];

/* Everything but RBP, RSP and the flags comes back changed. */
void enter(unsigned long tcs, struct work *work);
__asm__("enter:\n"
	"	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"	mov %rdi, %rbx; mov %rsi, %rdi; lea aep(%rip), %rcx; mov $2, %eax\n"
	"	.byte 0x0f, 0x01, 0xd7\n"
	"	jmp outside\n"
	"aep:	.byte 0x0f, 0x01, 0xd7\n"
	"outside:\n"
	"	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"	ret\n");

static volatile unsigned long interrupts, alarms, faults, wrong;
static unsigned long tcs_of_fault;

static void on_signal(int signal, siginfo_t *info, void *context)
{
	struct sigcontext_64 *at = (struct sigcontext_64 *)&((struct ucontext *)context)->uc_mcontext;

	(void)info;
	if (signal == SIGALRM) {
		alarms++;
		/* What shows of a thread inside is the AEP and what ERESUME needs. */
		if (at->ip == (unsigned long)aep) {
			interrupts++;
			wrong += at->ax != 3 || at->cx != (unsigned long)aep || at->r15 != 0;
		}
		return;
	}
	faults++;
	wrong += at->ip != (unsigned long)aep || at->ax != 3 || at->bx != tcs_of_fault || at->trapno != 0;
	at->ip = (unsigned long)outside;
}

__asm__("restorer: mov $15, %eax; syscall");
extern char restorer[];

static void handle(int signal)
{
	unsigned long action[4] = { (unsigned long)on_signal, SA_SIGINFO | SA_RESTART | 0x04000000 /* SA_RESTORER */,
				    (unsigned long)restorer, 0 };

	must(!call(__NR_rt_sigaction, signal, (long)action, 0, 8, 0, 0), "rt_sigaction");
}

int run(void)
{
	struct { struct { long seconds, micros; } interval, value; } timer = { { 0, 100 }, { 0, 100 } }, off = { 0 };
	unsigned long tcs = build();

	handle(SIGALRM);
	handle(SIGFPE);
	call(__NR_setitimer, 0 /* ITIMER_REAL */, (long)&timer, 0, 0, 0, 0);
	for (unsigned long i = 0; i < CALLS || interrupts < 50; i++) {
		struct work work = { .function = i % 2 ? WORK_VECTOR : WORK_COMPUTE, .number = i % 2 ? 500 : i };
		enter(tcs, &work);
		wrong += work.answer != (i % 2 ? 0 : compute(i));
	}
	call(__NR_setitimer, 0, (long)&off, 0, 0, 0, 0);
	must(!wrong, "answers and contexts");

	struct work divide = { .function = WORK_DIVIDE };
	tcs_of_fault = tcs + WORKER_TCS_STRIDE;
	enter(tcs_of_fault, &divide);
	must(faults == 1 && !wrong, "a fault inside is a signal at the AEP");
	say("raw: all calls answered, interrupted ones too\n");
	return 0;
}

__asm__(".globl _start\n"
	"_start: xor %ebp, %ebp; and $-16, %rsp; call run; mov %eax, %edi; mov $231, %eax; syscall");
