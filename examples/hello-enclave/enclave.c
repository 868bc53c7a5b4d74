/*
 * The enclave: a sum that nobody outside can see or set, only add to and ask for.
 * Freestanding: no C library and no system calls inside an enclave; whatever is needed comes along.
 */
#include "calls.h"
#include "enclave-layout.h"

#define ENCLAVE_SIZE 0x20000

VITRINE_ENCLAVE_LAYOUT(
	.elrange_size = ENCLAVE_SIZE,
	.thread_count = 1,
	.nssa = 1,           /* no exception is handled inside, so one save-area frame is enough */
	.ssa_frame_size = 1,
	.stack_pages = 4,
	.attributes = SGX_ATTR_MODE64BIT,
	.xfrm = SGX_XFRM_LEGACY,
);

static uint64_t hidden_sum = 1000;

/* The linker's name for the start of the file, which is where the enclave is loaded. */
extern const char __ehdr_start[] __attribute__((visibility("hidden")));

/*
 * Never follow a pointer from outside before asking where it points: with one into the enclave, the host would have
 * the enclave overwrite its own memory.
 */
static int is_outside(const void *pointer, uint64_t length)
{
	uint64_t base = (uint64_t)__ehdr_start;
	uint64_t start = (uint64_t)pointer;

	return start + length >= start && (start + length <= base || start >= base + ENCLAVE_SIZE);
}

/* Called by entry.S, with what the host passed in RDI. */
void enclave_main(struct call *call)
{
	if (!is_outside(call, sizeof(*call)))
		return;

	/* Read once: the host may change its memory at any moment. */
	uint64_t function = *(volatile uint64_t *)&call->function;
	uint64_t number = *(volatile uint64_t *)&call->number;

	call->status = CALL_OK;
	switch (function) {
	case CALL_ADD:
		hidden_sum += number;
		break;
	case CALL_SUM:
		call->answer = hidden_sum;
		break;
	case CALL_WHERE:
		call->answer = (uint64_t)&hidden_sum;
		break;
	default:
		call->status = CALL_UNKNOWN;
	}
}
