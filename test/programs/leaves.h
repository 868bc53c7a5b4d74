/* What `leaves` and its enclave say to each other. */
#ifndef LEAVES_H
#define LEAVES_H

#include <stdint.h>

enum { LEAVES_NSSA = 3, LEAVES_STACK_PAGES = 3, ARENA_PAGES = 4 };

enum {
	LEAVES_ENCLU = 1, /* ENCLU with these registers; rax and flags are its results */
	LEAVES_PUT = 2,   /* copies `length` bytes from outside to `offset` of the arena */
	LEAVES_GET = 3,   /* and back out */
	LEAVES_WHERE = 4, /* rax = address of the arena */
	LEAVES_SKIP = 5,  /* on the frame above an ENCLU that faulted: resume it after the ENCLU */
	LEAVES_SPIN = 6,  /* until *flag is not 0, told of every exit; rax = how often that was */
};

struct call {
	uint64_t function, rax, rbx, rcx, rdx, flags;
	uint64_t outside, offset, length;
	uint64_t tcs;
	uint64_t how; /* SPIN: what the handler of an exit does */
	volatile uint64_t *flag;
};

/* In the enclave it goes on where it was interrupted; or it leaves, and the next ERESUME goes on. */
enum { NOTICE_INSIDE = 1, NOTICE_LEAVES = 2 };

#define ARITHMETIC_FLAGS 0x8d5u /* CF PF AF ZF SF OF */
#define ZERO_FLAG 0x40u

#endif
