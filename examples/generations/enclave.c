/* A number to which outside code can add, and what SGX2 wants an enclave to say to changes of its pages. */
#include "calls.h"

#include "enclave-layout.h"

VITRINE_ENCLAVE_LAYOUT(.thread_count = 1, .nssa = 2, .ssa_frame_size = 1, .stack_pages = 2, .elrange_size = 0x10000,
		       .attributes = SGX_ATTR_MODE64BIT, .xfrm = SGX_XFRM_LEGACY);

#define ENCLU_EACCEPT 5
#define ENCLU_EMODPE 6

static uint64_t number = 8;
static uint64_t page[512] __attribute__((aligned(4096))) = { 1 };

static uint64_t change(uint64_t leaf, uint64_t where, uint64_t flags)
{
	uint64_t secinfo[8] __attribute__((aligned(64))) = { flags };

	__asm__ volatile(".byte 0x0f, 0x01, 0xd7" : "+a"(leaf) : "b"(secinfo), "c"(where) : "memory", "cc");
	return leaf;
}

void enclave_main(struct call *call)
{
	switch (call->function) {
	case CALL_ADD:
		call->answer = call->number + number;
		break;
	case CALL_WRITE:
		*(volatile uint64_t *)call->where = call->number;
		call->answer = *(volatile uint64_t *)call->where;
		break;
	case CALL_ACCEPT:
		call->answer = change(ENCLU_EACCEPT, call->where, call->number);
		break;
	case CALL_EXTEND:
		change(ENCLU_EMODPE, call->where, call->number);
		call->answer = 0;
		break;
	case CALL_WHERE:
		call->answer = (uint64_t)page;
		break;
	case CALL_SPIN:
		*(volatile uint64_t *)call->number = 1;
		while (*(volatile uint64_t *)call->where == 0)
			;
		break;
	}
}
