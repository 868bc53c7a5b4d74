/* Every register on its way through an exception: into the save area, to the host, and back by ERESUME. */
#define _GNU_SOURCE
#include "registers.h"
#include "odd.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>

enum { EENTER = 2, ERESUME = 3, EEXIT = 4 };
enum { DE = 0, UD = 6, GP = 13, PF = 14 };
#define EXIT_INFO(vector) (0x80000300u | (vector)) /* valid, hardware exception */
#define FLAGS 0xcd5u      /* CF PF AF ZF SF DF OF */
#define ALWAYS 0x202u     /* bit 1, IF */
#define RF 0x10000u
#define ARITHMETIC 0x8d5u
#define DF 0x400u
#define EDITED_RAX 0x1122334455667788u

/* What a caller of the vDSO function finds afterwards: R8 to R15, flags, MXCSR, XMM0 to XMM15. */
struct after {
	uint64_t r[8], rflags, mxcsr;
	uint64_t xmm[16][2];
} after;
int enter_observed(void *vdso_function, void *question, struct sgx_enclave_run *run, unsigned leaf);
/* ENCLU of our own, from `depth` bytes further down the stack and with this RBP. 1: EEXIT; else a signal came. */
int own_enclu(uint64_t tcs, uint64_t leaf, void *question, uint64_t depth, uint64_t rbp);
extern char own_aep[], own_out[];
uint64_t host_stack, own_rsp;

#define PUSH "push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n"
#define POP "pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n ret\n"
#define X(n, at) "movups %xmm" #n ", after+80+" #at "(%rip)\n"
__asm__(".text\n"
	"enter_observed: " PUSH "push %rdx\n mov %rdi, %rax\n mov %rsi, %rdi\n xor %esi, %esi\n xor %edx, %edx\n"
	"mov $-1, %r8\n mov %r8, %r9\n mov %r8, %r10\n mov %r8, %r11\n mov %r8, %r12\n mov %r8, %r13\n mov %r8, %r14\n"
	"mov %r8, %r15\n pcmpeqd %xmm0, %xmm0\n movaps %xmm0, %xmm15\n call *%rax\n"
	"mov %r8, after(%rip)\n mov %r9, after+8(%rip)\n mov %r10, after+16(%rip)\n mov %r11, after+24(%rip)\n"
	"mov %r12, after+32(%rip)\n mov %r13, after+40(%rip)\n mov %r14, after+48(%rip)\n mov %r15, after+56(%rip)\n"
	"pushfq\n pop after+64(%rip)\n cld\n stmxcsr after+72(%rip)\n"
	X(0, 0) X(1, 16) X(2, 32) X(3, 48) X(4, 64) X(5, 80) X(6, 96) X(7, 112) X(8, 128) X(9, 144) X(10, 160)
	X(11, 176) X(12, 192) X(13, 208) X(14, 224) X(15, 240)
	"movl $0x1f80, (%rsp)\n ldmxcsr (%rsp)\n add $8, %rsp\n" POP
	"own_enclu: " PUSH "mov %rsp, host_stack(%rip)\n sub %rcx, %rsp\n mov %rsp, own_rsp(%rip)\n"
	"mov %r8, %rbp\n mov %rdi, %rbx\n mov %rsi, %rax\n mov %rdx, %rdi\n lea own_aep(%rip), %rcx\n"
	"own_aep: .byte 0x0f, 0x01, 0xd7\n mov $1, %eax\n"
	"own_out: mov host_stack(%rip), %rsp\n cld\n" POP);

static struct sgx_enclave_run call(struct question *question, unsigned leaf)
{
	struct sgx_enclave_run run = { .tcs = enclave.tcs };

	question->tcs = enclave.tcs;
	check(enter_observed(find_enter_enclave(), question, &run, leaf) == 0);
	return run;
}

static struct question known(uint64_t instruction, uint64_t rcx, uint64_t rbx)
{
	struct question question = { .function = REGISTERS_FAULT, .instruction = instruction, .tcs = enclave.tcs };
	uint64_t *registers = &question.state.general.rax;

	for (uint64_t i = 0; i < 16; i++)
		registers[i] = (i + 1) * 0x0101010101010101u;
	question.state.general.rcx = rcx;
	question.state.general.rbx = rbx;
	question.state.general.rflags = FLAGS;
	question.state.mxcsr = 0x5f80; /* rounds up */
	question.state.xmm0[0] = 0x0123456789abcdefu;
	question.state.xmm0[1] = 0xfedcba9876543210u;
	return question;
}

/* The frame has what the enclave loaded. */
static void check_frame(const struct question *look, const struct question *fault, uint64_t vector)
{
	struct registers want = fault->state.general;

	want.rip = fault->rip;
	want.rflags = FLAGS | ALWAYS | RF;
	/* DIV leaves the arithmetic flags undefined; it faults before it changes them. */
	for (int i = 0; i < 18; i++)
		check((&look->frame.general.rax)[i] == (&want.rax)[i]);
	check(look->frame.exit_info == EXIT_INFO(vector));
	check(!memcmp(look->legacy + 24, &fault->state.mxcsr, 4));
	check(!memcmp(look->legacy + 160, fault->state.xmm0, 16));
	check(!(look->legacy[512] & ~3) && look->legacy[512] & 2);
}

static void check_synthetic(void)
{
	for (int i = 0; i < 8; i++)
		check(after.r[i] == 0);
	for (int i = 0; i < 16; i++)
		check(after.xmm[i][0] == 0 && after.xmm[i][1] == 0);
	check(after.mxcsr == 0x1fb0 && after.rflags & DF);
}

static void exception(uint64_t instruction, uint64_t rcx, uint64_t rbx, uint64_t vector, uint32_t error, uint64_t address)
{
	struct question fault = known(instruction, rcx, rbx), look = { .function = REGISTERS_LOOK };
	struct state before = fault.state;
	struct sgx_enclave_run run = call(&fault, EENTER);

	check(run.function == ERESUME && run.exception_vector == vector && run.exception_error_code == error);
	check(run.exception_addr == address);
	check_synthetic();

	look.edit = 1;
	look.rax = EDITED_RAX;
	check(call(&look, EENTER).function == EEXIT);
	check_frame(&look, &fault, vector);
	if (vector == PF || vector == GP)
		check(look.exinfo.maddr == address && look.exinfo.errcd == error && !look.exinfo.reserved);

	check(call(&fault, ERESUME).function == EEXIT);
	before.general.rax = EDITED_RAX;
	before.general.rflags = FLAGS | ALWAYS;
	check(!memcmp(&fault.state, &before, sizeof before));
}

static volatile int signals;
static greg_t seen[NGREG];

static void on_signal(int signal, siginfo_t *info, void *context)
{
	greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;

	(void)signal, (void)info;
	signals++;
	memcpy(seen, registers, sizeof seen);
	registers[REG_RIP] = (greg_t)own_out;
	registers[REG_RAX] = 0;
}

static void check_seen(uint64_t rsp, uint64_t rbp)
{
	static const int zero[] = { REG_RDX, REG_RSI, REG_RDI, REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14,
				    REG_R15 };

	for (unsigned i = 0; i < sizeof zero / sizeof *zero; i++)
		check(seen[zero[i]] == 0);
	check(seen[REG_RAX] == ERESUME && (uint64_t)seen[REG_RBX] == enclave.tcs);
	check(seen[REG_RIP] == (greg_t)own_aep && seen[REG_RCX] == (greg_t)own_aep);
	check((uint64_t)seen[REG_RSP] == rsp && (uint64_t)seen[REG_RBP] == rbp);
	check((seen[REG_EFL] & (ARITHMETIC | DF | RF)) == DF);
}

/* ERESUME from elsewhere on the stack: the next exit is still to where EENTER was. */
static void resumed_from_elsewhere(void)
{
	struct question fault = known(INSTRUCTION_UD2, 1, 1), look = { .function = REGISTERS_LOOK, .tcs = enclave.tcs };
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };

	sigaction(SIGILL, &action, NULL);
	check(own_enclu(enclave.tcs, EENTER, &fault, 128, 0xaaa0) == 0 && signals == 1);
	uint64_t rsp = own_rsp;
	check_seen(rsp, 0xaaa0);
	check(call(&look, EENTER).function == EEXIT);
	check_frame(&look, &fault, UD);
	check(look.frame.ursp == rsp && look.frame.urbp == 0xaaa0);

	check(own_enclu(enclave.tcs, ERESUME, &fault, 4096, 0xbbb0) == 0 && signals == 2 && own_rsp != rsp);
	check_seen(rsp, 0xaaa0);
	look.edit = 1;
	look.rax = EDITED_RAX;
	check(call(&look, EENTER).function == EEXIT);
	check_frame(&look, &fault, UD);
	check(look.frame.ursp == rsp && look.frame.urbp == 0xaaa0);
	check(own_enclu(enclave.tcs, ERESUME, &fault, 8192, 0xccc0) == 1 && signals == 2);
	check(fault.state.general.rflags == (FLAGS | ALWAYS) && fault.state.general.rax == EDITED_RAX);
}

int main(void)
{
	load_enclave("registers-enclave");
	exception(INSTRUCTION_UD2, 2, 4, UD, 0, 0);
	exception(INSTRUCTION_DIV, 0, 4, DE, 0, 0);
	exception(INSTRUCTION_LOAD, 2, enclave.tcs + 8, PF, 0x8005, enclave.tcs); /* not to be read, by the EPCM */
	exception(INSTRUCTION_LOAD, 2, 0x1238, PF, 0x4, 0x1000);                  /* nothing is mapped there */
	exception(INSTRUCTION_LOAD, 2, 1UL << 63, GP, 0, 0);                      /* not canonical */
	resumed_from_elsewhere();
	printf("%d checks, %d failed\n", checks, failures);
	return failures != 0;
}
