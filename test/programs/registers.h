/* What `registers` and its enclave say to each other. */
#ifndef REGISTERS_H
#define REGISTERS_H

#include <stdint.h>

/* In GPRSGX's order (SDM "GPRSGX Region"). */
struct registers {
	uint64_t rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15, rflags, rip;
};

struct state {
	struct registers general;
	uint32_t mxcsr, unused;
	uint64_t xmm0[2];
};

struct frame {
	struct registers general;
	uint64_t ursp, urbp;
	uint32_t exit_info;
	uint8_t reserved[3], aex_notify;
	uint64_t fs_base, gs_base;
};

struct exinfo {
	uint64_t maddr;
	uint32_t errcd, reserved;
};

enum { REGISTERS_FAULT = 1, REGISTERS_LOOK = 2 };
enum { INSTRUCTION_UD2 = 0, INSTRUCTION_DIV = 1, INSTRUCTION_LOAD = 2 }; /* DIV RCX; MOV RAX, [RBX] */

struct question {
	uint64_t function, instruction, tcs;
	struct state state;  /* FAULT: loaded before the instruction; then what was there after it */
	uint64_t rip;        /* FAULT, in advance by the enclave: of the instruction */
	/* LOOK, from the frame above: frame 0. */
	struct frame frame;
	struct exinfo exinfo;
	uint8_t legacy[576];
	uint64_t edit, rax;  /* whether to go on after the instruction, and with which RAX */
};

#endif
