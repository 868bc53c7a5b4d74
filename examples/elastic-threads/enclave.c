/*
 * The enclave: it works, and it says yes to each page and each thread that comes or goes. The host can do nothing to its
 * memory that it has not accepted, so the addresses are its own, and it knows what is in every slot.
 */
#include "calls.h"
#include "enclave-layout.h"
#include "layout.h"

VITRINE_ENCLAVE_LAYOUT(
	.elrange_size = ELRANGE_BYTES,
	.thread_count = 1,
	.nssa = 1,           /* no exception is handled inside, so one save-area frame is enough */
	.ssa_frame_size = 1,
	.stack_pages = 1,
	.heap_pages = HEAP_PAGES,
	.attributes = SGX_ATTR_MODE64BIT,
	.xfrm = SGX_XFRM_LEGACY,
);

enum { EACCEPT = 5, EACCEPTCOPY = 7 };

/* SECINFO.FLAGS: what the enclave expects of a page when it accepts it. */
struct secinfo {
	uint64_t flags;
	uint8_t reserved[56];
} __attribute__((aligned(64)));

static const struct secinfo new_page = { .flags = 0x20b }; /* PT_REG, R, W, PENDING */
static const struct secinfo copied = { .flags = 0x203 }; /* PT_REG, R, W */
static const struct secinfo tcs_now = { .flags = 0x110 }; /* PT_TCS, MODIFIED */
static const struct secinfo trimmed = { .flags = 0x410 }; /* PT_TRIM, MODIFIED */

struct tcs {
	uint64_t state, flags, ossa;
	uint32_t cssa, nssa;
	uint64_t oentry, aep, ofs_base, ogs_base;
	uint32_t fs_limit, gs_limit;
	uint8_t reserved[PAGE - 72];
};

/* What is in a slot; each step can be taken once, and tried again until it succeeds. */
enum { EMPTY, WITH_STACK, WITH_TCS_PAGE, THREAD, WITHOUT_STACK };

static uint8_t state[MAX_THREADS] = { THREAD };
static uint64_t served[MAX_THREADS];
/* One thread at a time changes slots. */
static uint8_t changing;
/* The page that each new TCS is copied from. */
static struct tcs pattern __attribute__((aligned(4096)));

extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char _end[] __attribute__((visibility("hidden")));
extern void enclave_entry(void) __attribute__((visibility("hidden")));

static uint64_t base(void)
{
	return (uint64_t)__ehdr_start;
}

/* The heap begins at the page after the segments. */
static uint64_t save_area_offset(uint64_t slot)
{
	return (((uint64_t)_end + PAGE - 1) & ~(PAGE - 1)) - base() + slot * PAGE;
}

static uint64_t enclu(uint64_t leaf, const struct secinfo *expected, uint64_t page, const void *source)
{
	__asm__ volatile(".byte 0x0f, 0x01, 0xd7" : "+a"(leaf) : "b"(expected), "c"(page), "d"(source) : "memory", "cc");
	return (uint32_t)leaf;
}

/* The first touch makes the kernel add a page (EAUG); it is ours once we have accepted it. */
static uint64_t prepare(uint64_t slot)
{
	uint64_t code;

	if (state[slot] == EMPTY) {
		code = enclu(EACCEPT, &new_page, base() + STACK_OFFSET(slot), 0);
		if (code != 0)
			return code;
		state[slot] = WITH_STACK;
	}
	pattern.ossa = save_area_offset(slot);
	pattern.nssa = 1;
	pattern.oentry = (uint64_t)enclave_entry - base();
	pattern.fs_limit = pattern.gs_limit = 0xffffffff;
	/* Accepted with its content in one step: nobody can enter half a TCS. */
	code = enclu(EACCEPTCOPY, &copied, base() + TCS_OFFSET(slot), &pattern);
	if (code == 0)
		state[slot] = WITH_TCS_PAGE;
	return code;
}

/* The kernel has changed the type (EMODT). */
static uint64_t confirm(uint64_t slot)
{
	uint64_t code = enclu(EACCEPT, &tcs_now, base() + TCS_OFFSET(slot), 0);

	if (code == 0) {
		served[slot] = 0;
		state[slot] = THREAD;
	}
	return code;
}

/* The kernel has trimmed both pages; now it may remove them (EREMOVE). */
static uint64_t retire(uint64_t slot)
{
	uint64_t code;

	if (state[slot] == THREAD) {
		code = enclu(EACCEPT, &trimmed, base() + STACK_OFFSET(slot), 0);
		if (code != 0)
			return code;
		state[slot] = WITHOUT_STACK;
	}
	code = enclu(EACCEPT, &trimmed, base() + TCS_OFFSET(slot), 0);
	if (code == 0)
		state[slot] = EMPTY;
	return code;
}

/* A thread's stack is in its slot, so that any local variable tells which one it is. */
static uint64_t own_slot(void)
{
	uint64_t offset = (uint64_t)__builtin_frame_address(0) - base();

	return offset < SLOTS_OFFSET ? 0 : (offset - SLOTS_OFFSET) / SLOT_BYTES + 1;
}

static uint64_t change(uint64_t function, uint64_t slot, uint64_t *status)
{
	uint64_t answer = 0;

	*status = CALL_REFUSED;
	if (slot == 0 || slot >= MAX_THREADS || slot == own_slot())
		return 0;
	if (__atomic_exchange_n(&changing, 1, __ATOMIC_ACQUIRE))
		return 0;
	uint8_t now = state[slot];
	if (function == CALL_PREPARE ? now == EMPTY || now == WITH_STACK :
	    function == CALL_CONFIRM ? now == WITH_TCS_PAGE :
				       now == THREAD || now == WITHOUT_STACK) {
		answer = function == CALL_PREPARE ? prepare(slot) : function == CALL_CONFIRM ? confirm(slot) : retire(slot);
		*status = CALL_OK;
	}
	__atomic_store_n(&changing, 0, __ATOMIC_RELEASE);
	return answer;
}

/* Never follow a pointer from outside before asking where it points. */
static int is_outside(const void *pointer, uint64_t length)
{
	uint64_t start = (uint64_t)pointer;

	return start + length >= start && (start + length <= base() || start >= base() + ELRANGE_BYTES);
}

/* Called by entry.S, with what the host passed in RDI. */
void enclave_main(struct call *call)
{
	if (!is_outside(call, sizeof(*call)))
		return;

	/* Read once: the host may change its memory at any moment. */
	uint64_t function = *(volatile uint64_t *)&call->function;
	uint64_t number = *(volatile uint64_t *)&call->number;
	uint64_t answer = 0, status = CALL_OK;

	switch (function) {
	case CALL_WORK:
		answer = collatz(number);
		__atomic_add_fetch(&served[own_slot()], 1, __ATOMIC_RELAXED);
		break;
	case CALL_COUNT:
		answer = number < MAX_THREADS ? __atomic_load_n(&served[number], __ATOMIC_RELAXED) : 0;
		break;
	case CALL_PREPARE:
	case CALL_CONFIRM:
	case CALL_RETIRE:
		answer = change(function, number, &status);
		break;
	default:
		status = CALL_REFUSED;
	}
	call->answer = answer;
	call->status = status;
}
