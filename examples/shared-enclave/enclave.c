/*
 * The enclave: answers whoever calls, from whatever process, and counts. Its threads share its memory as those of a
 * program do, so what several of them change is changed atomically.
 */
#include "calls.h"
#include "enclave-layout.h"

#define ENCLAVE_SIZE 0x100000

VITRINE_ENCLAVE_LAYOUT(
	.elrange_size = ENCLAVE_SIZE,
	.thread_count = 3,   /* as many calls at a time, however many threads the hosts have */
	.nssa = 3,           /* a host that dies inside leaves its frame behind: room for two who do */
	.ssa_frame_size = 1,
	.stack_pages = 3,      /* of which each frame has one: see entry.S */
	.attributes = SGX_ATTR_MODE64BIT,
	.xfrm = SGX_XFRM_LEGACY,
);

static uint64_t calls;

/* The linker's name for the start of the file, which is where the enclave is loaded. */
extern const char __ehdr_start[] __attribute__((visibility("hidden")));

static int is_outside(const void *pointer, uint64_t length)
{
	uint64_t base = (uint64_t)__ehdr_start, start = (uint64_t)pointer;

	return start + length >= start && (start + length <= base || start >= base + ENCLAVE_SIZE);
}

void enclave_main(struct call *call)
{
	if (!is_outside(call, sizeof(*call)))
		return;
	switch (*(volatile uint64_t *)&call->function) {
	case CALL_MIX:
		call->answer = mix(*(volatile uint64_t *)&call->number);
		__atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED);
		break;
	case CALL_COUNT:
		call->answer = __atomic_load_n(&calls, __ATOMIC_RELAXED);
		break;
	}
}
