/* An enclave that executes what the host asks for. Freestanding; entered through the example's entry.S. */
#include "enclave-layout.h"
#include "leaves.h"

VITRINE_ENCLAVE_LAYOUT(
	.elrange_size = 0x100000,
	.thread_count = 1,
	.nssa = LEAVES_NSSA,
	.ssa_frame_size = 1,
	.stack_pages = LEAVES_STACK_PAGES,
	.attributes = SGX_ATTR_MODE64BIT | SGX_ATTR_KSS | SGX_ATTR_AEXNOTIFY,
	.xfrm = SGX_XFRM_LEGACY,
	.misc_select = 1, /* EXINFO */
);

static uint8_t arena[ARENA_PAGES][4096] __attribute__((aligned(4096)));
static volatile uint64_t notices, how;
static uint64_t tcs;

/* SDM "GPRSGX Region". */
struct gprsgx {
	uint64_t rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15, rflags, rip, ursp, urbp;
	uint32_t exit_info;
	uint8_t reserved[3], aex_notify;
	uint64_t fs_base, gs_base;
};

static struct gprsgx *frame(uint64_t index)
{
	return (struct gprsgx *)(tcs + 4096 * (2 + index) - sizeof(struct gprsgx));
}

/* With all arithmetic flags set before. */
static void enclu(uint64_t *rax, uint64_t rbx, uint64_t rcx, uint64_t rdx, uint64_t *flags)
{
	uint64_t result = *rax, after;

	__asm__ volatile("lea -128(%%rsp), %%rsp\n"
			 "pushfq\n orq $0x8d5, (%%rsp)\n popfq\n"
			 ".byte 0x0f, 0x01, 0xd7\n"
			 "pushfq\n pop %1\n"
			 "lea 128(%%rsp), %%rsp\n"
			 : "+a"(result), "=&r"(after)
			 : "b"(rbx), "c"(rcx), "d"(rdx)
			 : "memory", "cc");
	*rax = result;
	*flags = after & ARITHMETIC_FLAGS;
}

/* Everything in the frame but floating point, which the handler does not touch; below the red zone of its stack. */
static void __attribute__((noreturn)) go_on(const struct gprsgx *at)
{
	uint64_t *stack = (uint64_t *)(at->rsp - 128) - 3;

	stack[0] = at->rflags;
	stack[1] = at->rdi;
	stack[2] = at->rip;
	__asm__ volatile("mov %0, %%rsp\n"
			 "mov 0(%%rdi), %%rax\n mov 8(%%rdi), %%rcx\n mov 16(%%rdi), %%rdx\n mov 24(%%rdi), %%rbx\n"
			 "mov 40(%%rdi), %%rbp\n mov 48(%%rdi), %%rsi\n mov 64(%%rdi), %%r8\n mov 72(%%rdi), %%r9\n"
			 "mov 80(%%rdi), %%r10\n mov 88(%%rdi), %%r11\n mov 96(%%rdi), %%r12\n mov 104(%%rdi), %%r13\n"
			 "mov 112(%%rdi), %%r14\n mov 120(%%rdi), %%r15\n"
			 "popfq\n pop %%rdi\n ret $128\n"
			 :
			 : "r"(stack), "D"(at)
			 : "memory");
	__builtin_unreachable();
}

/* ERESUME has entered at the top instead of going on: RDI is 0, frame 0 is the interrupted one. */
static void on_notice(void)
{
	uint64_t leaf = 9 /* EDECCSSA */, flags;

	notices++;
	if (how == NOTICE_LEAVES) {
		frame(0)->aex_notify = 0;
		return;
	}
	/* From EDECCSSA on, an exit is saved over frame 0. */
	struct gprsgx interrupted = *frame(0);
	frame(0)->aex_notify = 0;
	enclu(&leaf, 0, 0, 0, &flags);
	go_on(&interrupted);
}

/* Counts in registers; what an exit loses shows in the sum. */
static uint64_t spin(volatile uint64_t *flag)
{
	uint64_t a = 0, b = 0;

	while (!*flag) {
		frame(0)->aex_notify = 1;
		a++;
		b += 3;
		__builtin_ia32_pause();
	}
	frame(0)->aex_notify = 0;
	return b == 3 * a ? notices : ~0UL;
}

void enclave_main(struct call *call)
{
	if (!call) {
		on_notice();
		return;
	}
	uint8_t *inside = &arena[0][0] + call->offset, *outside = (uint8_t *)call->outside;
	uint64_t rax = call->rax, flags = 0;

	tcs = call->tcs;
	switch (call->function) {
	case LEAVES_ENCLU:
		enclu(&rax, call->rbx, call->rcx, call->rdx, &flags);
		break;
	case LEAVES_PUT:
		for (uint64_t i = 0; i < call->length; i++)
			((volatile uint8_t *)inside)[i] = outside[i];
		break;
	case LEAVES_GET:
		for (uint64_t i = 0; i < call->length; i++)
			((volatile uint8_t *)outside)[i] = inside[i];
		break;
	case LEAVES_WHERE:
		rax = (uint64_t)arena;
		break;
	case LEAVES_SKIP:
		frame(0)->rip += 3;
		break;
	case LEAVES_SPIN:
		notices = 0;
		how = call->how;
		rax = spin(call->flag);
		break;
	}
	call->rax = rax;
	call->flags = flags;
}
