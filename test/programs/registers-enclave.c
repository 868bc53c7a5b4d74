/* An enclave that faults with all registers known, and looks at its save area then. Entered through entry.S. */
#include "enclave-layout.h"
#include "registers.h"

VITRINE_ENCLAVE_LAYOUT(
	.elrange_size = 0x40000,
	.thread_count = 1,
	.nssa = 2,
	.ssa_frame_size = 1,
	.stack_pages = 2,
	.attributes = SGX_ATTR_MODE64BIT,
	.xfrm = SGX_XFRM_LEGACY,
	.misc_select = 1, /* EXINFO */
);

#define HIDDEN __attribute__((visibility("hidden")))
HIDDEN struct state wanted, found;
HIDDEN uint64_t own_stack;
extern HIDDEN char ud2_at[], div_at[], load_at[], go_on[];
HIDDEN void fault(void (*)(void));
extern HIDDEN void do_ud2(void), do_div(void), do_load(void);

#define LOAD_ALL \
	"ldmxcsr wanted+144(%rip)\n movups wanted+152(%rip), %xmm0\n push wanted+128(%rip)\n popfq\n" \
	"mov wanted(%rip), %rax\n mov wanted+8(%rip), %rcx\n mov wanted+16(%rip), %rdx\n mov wanted+24(%rip), %rbx\n" \
	"mov wanted+32(%rip), %rsp\n mov wanted+40(%rip), %rbp\n mov wanted+48(%rip), %rsi\n mov wanted+56(%rip), %rdi\n" \
	"mov wanted+64(%rip), %r8\n mov wanted+72(%rip), %r9\n mov wanted+80(%rip), %r10\n mov wanted+88(%rip), %r11\n" \
	"mov wanted+96(%rip), %r12\n mov wanted+104(%rip), %r13\n mov wanted+112(%rip), %r14\n mov wanted+120(%rip), %r15\n"
__asm__(".text\n"
	"fault: push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n mov %rsp, own_stack(%rip)\n jmp *%rdi\n"
	"do_ud2: " LOAD_ALL "ud2_at: ud2\n"
	"do_div: " LOAD_ALL "div_at: div %rcx\n ud2\n"
	"do_load: " LOAD_ALL "load_at: mov (%rbx), %rax\n ud2\n"
	"go_on: mov %rax, found(%rip)\n mov %rcx, found+8(%rip)\n mov %rdx, found+16(%rip)\n mov %rbx, found+24(%rip)\n"
	"mov %rsp, found+32(%rip)\n mov %rbp, found+40(%rip)\n mov %rsi, found+48(%rip)\n mov %rdi, found+56(%rip)\n"
	"mov %r8, found+64(%rip)\n mov %r9, found+72(%rip)\n mov %r10, found+80(%rip)\n mov %r11, found+88(%rip)\n"
	"mov %r12, found+96(%rip)\n mov %r13, found+104(%rip)\n mov %r14, found+112(%rip)\n mov %r15, found+120(%rip)\n"
	"mov own_stack(%rip), %rsp\n pushfq\n pop found+128(%rip)\n cld\n"
	"stmxcsr found+144(%rip)\n movups %xmm0, found+152(%rip)\n"
	"push $0x1f80\n ldmxcsr (%rsp)\n add $8, %rsp\n"
	"pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n ret\n");

static void copy(void *to, const void *from, uint64_t length)
{
	for (uint64_t i = 0; i < length; i++)
		((volatile uint8_t *)to)[i] = ((const volatile uint8_t *)from)[i];
}

void enclave_main(struct question *question)
{
	static void (*volatile routine)(void);
	char *frame_start = (char *)question->tcs + 4096, *frame_end = frame_start + 4096;
	struct frame *frame = (struct frame *)frame_end - 1;

	if (question->function == REGISTERS_FAULT) {
		uint64_t which = question->instruction;

		question->rip = (uint64_t)(which == INSTRUCTION_UD2 ? ud2_at : which == INSTRUCTION_DIV ? div_at : load_at);
		copy(&wanted, &question->state, sizeof wanted);
		routine = which == INSTRUCTION_UD2 ? do_ud2 : which == INSTRUCTION_DIV ? do_div : do_load;
		fault(routine);
		copy(&question->state, &found, sizeof found);
		return;
	}
	copy(&question->frame, frame, sizeof *frame);
	copy(&question->exinfo, (struct exinfo *)frame - 1, sizeof(struct exinfo));
	copy(question->legacy, frame_start, sizeof question->legacy);
	if (question->edit) {
		frame->general.rip = (uint64_t)go_on;
		frame->general.rax = question->rax;
	}
}
