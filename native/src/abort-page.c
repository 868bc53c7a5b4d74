/*
 * Code outside an enclave that touches EPC meets the abort page: reads give all ones, writes vanish, nothing faults.
 * Here the protection key makes it fault. The one instruction is run again with the register of its memory operand
 * moved to a private page of 0xff, single-stepped, with signals held back for that step.
 *
 * Only the operand is decoded. Not done: RIP-relative and absolute operands, vector gathers, PUSH and POP onto enclave
 * memory (the program gets SIGSEGV), and system calls with such a buffer, which fail with EFAULT.
 * Model: those accesses differ from hardware, where they too read ones.
 *
 * Spec: SDM "Enclave Page Cache: Accesses to EPC from non-enclave code"; instruction format: SDM vol. 2, chapter 2.
 */
#include "stub.h"
#include <linux/mman.h>

#define REG_NONE 16

u64 *general(struct sigcontext_64 *regs, u32 number)
{
	switch (number) {
	case 0: return (u64 *)&regs->ax;
	case 1: return (u64 *)&regs->cx;
	case 2: return (u64 *)&regs->dx;
	case 3: return (u64 *)&regs->bx;
	case 4: return (u64 *)&regs->sp;
	case 5: return (u64 *)&regs->bp;
	case 6: return (u64 *)&regs->si;
	case 7: return (u64 *)&regs->di;
	default: return (u64 *)&regs->r8 + (number - 8);
	}
}

/* Whether a one-byte opcode is followed by ModRM. */
static bool has_modrm(u8 op)
{
	if (op < 0x40)
		return (op & 7) < 4;
	return op == 0x63 || op == 0x69 || op == 0x6b || (op >= 0x80 && op <= 0x8f) || op == 0xc0 || op == 0xc1 ||
	       op == 0xc6 || op == 0xc7 || (op >= 0xd0 && op <= 0xd3) || (op >= 0xd8 && op <= 0xdf) || op == 0xf6 ||
	       op == 0xf7 || op == 0xfe || op == 0xff;
}

static bool is_string(u8 op)
{
	return (op >= 0xa4 && op <= 0xa7) || (op >= 0xaa && op <= 0xaf);
}

/* The base register of the memory operand, or REG_NONE. *string: RSI and RDI are the operands. */
static u32 base_register(const u8 *code, bool *string)
{
	u32 extend = 0; /* REX.B or its VEX and EVEX counterpart, as 8 */
	bool vector = false;
	u8 op;

	while (is_legacy_prefix(*code))
		code++;
	if ((*code & 0xf0) == 0x40) {
		extend = (*code & 1) << 3;
		code++;
	}
	op = *code++;
	if (op == 0xc5) {
		code += 2;
	} else if (op == 0xc4 || op == 0x62) {
		extend = *code & 0x20 ? 0 : 8;
		code += op == 0xc4 ? 2 : 3;
		vector = *code >= 0x90 && *code <= 0x93;
		code++;
	} else if (op == 0x0f) {
		if (*code == 0x38 || *code == 0x3a)
			code++;
		code++;
	} else if (is_string(op)) {
		*string = true;
		return REG_NONE;
	} else if (op == 0xd7) {
		return REG_RBX; /* XLAT */
	} else if (!has_modrm(op)) {
		return REG_NONE;
	}
	u8 mod = *code >> 6, rm = *code & 7;
	if (mod == 3 || vector)
		return REG_NONE;
	if (rm == 4) {
		u8 base = code[1] & 7;
		return base == 5 && mod == 0 ? REG_NONE : base + extend;
	}
	return rm == 5 && mod == 0 ? REG_NONE : rm + extend;
}

static void move_register(struct slot *slot, struct sigcontext_64 *regs, u32 number, u64 address)
{
	u64 delta = slot->step.page + (address & (PAGE - 1)) - address;
	u32 n = slot->step.moved++;

	slot->step.reg[n] = (u8)number;
	slot->step.delta[n] = delta;
	*general(regs, number) += delta;
	slot->step.value[n] = *general(regs, number);
}

bool abort_page(struct slot *slot, ucontext_t *uc, u64 address)
{
	struct sigcontext_64 *regs = registers(uc);
	u8 code[16] = { 0 };
	bool string = false;

	if (slot->step.moved || (copy_user(code, (void *)regs->ip, 15) && copy_user(code, (void *)regs->ip, 4)))
		return false;
	if (!slot->step.page) {
		i64 at = sys(__NR_mmap, 0, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (is_error(at))
			return false;
		slot->step.page = (u64)at;
	}
	u32 base = base_register(code, &string);
	if (base == REG_NONE && !string)
		return false;
	memset((void *)slot->step.page, 0xff, 2 * PAGE);
	if (!string) {
		move_register(slot, regs, base, address);
	} else {
		if (is_enclave_range(regs->si, 1))
			move_register(slot, regs, REG_RSI, regs->si);
		if (is_enclave_range(regs->di, 1))
			move_register(slot, regs, REG_RDI, regs->di);
		if (!slot->step.moved)
			return false;
	}
	slot->step.string = string;
	slot->step.mask = *mask_of(uc);
	*mask_of(uc) = ~RESERVED_SIGNALS;
	slot->step.traced = regs->flags & RFLAGS_TF;
	regs->flags |= RFLAGS_TF;
	return true;
}

/* Puts the registers back, after the step or when something else came in its place. */
void abort_page_end(struct slot *slot, ucontext_t *uc)
{
	struct sigcontext_64 *regs = registers(uc);

	for (u32 n = 0; n < slot->step.moved; n++) {
		u64 *reg = general(regs, slot->step.reg[n]);
		/* A load may have replaced its own base; string instructions and the stack pointer move along. */
		if (slot->step.string || slot->step.reg[n] == REG_RSP || *reg == slot->step.value[n])
			*reg -= slot->step.delta[n];
	}
	slot->step.moved = 0;
	*mask_of(uc) = slot->step.mask;
	if (!slot->step.traced)
		regs->flags &= ~(u64)RFLAGS_TF;
}
