/*
 * The enclave: a sum that nobody outside can see or set, only add to and ask for; a count of runs that survives in a file
 * that nobody else can read or change; and reports by which two enclaves recognise each other.
 * Freestanding: no C library and no system calls inside an enclave; whatever is needed comes along.
 */
#include "calls.h"
#include "crypto.h"
#include "enclave-layout.h"
#include "sealing.h"

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
static uint64_t hidden_count;

/* Large structures that must be aligned, and that the host must not be able to change while they are looked at. */
static union {
	uint8_t bytes[CALL_DATA_BYTES];
	struct sealed sealed;
	struct target_info target;
	struct report report;
} inside;

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

/*
 * A host that keeps old files can bring back an old count: sealing hides and protects, it does not know what is newest.
 * Real enclaves ask a counter outside the machine.
 */
static uint64_t count_run(int first, uint64_t *status)
{
	uint64_t secret[2] = { 0 };

	if (!first && !unseal(&inside.sealed, (uint8_t *)secret)) {
		*status = CALL_REFUSED;
		return 0;
	}
	hidden_count = ++secret[0];
	seal((uint8_t *)secret, &inside.sealed);
	return hidden_count;
}

/* What a report says of this enclave, for itself to ask for: its measurement and attributes. */
static void describe_self(struct target_info *target)
{
	static struct target_info nobody;
	static struct report self;
	uint8_t no_data[64] = { 0 };

	make_report(&nobody, no_data, &self);
	clear(target, sizeof(*target));
	copy(target->mr_enclave, self.mr_enclave, sizeof(self.mr_enclave));
	target->attributes = self.attributes;
	target->xfrm = self.xfrm;
	target->misc_select = self.misc_select;
}

static void report_count(void)
{
	static struct report report;
	uint8_t data[64] = { 0 };

	copy(data, &hidden_count, sizeof(hidden_count));
	make_report(&inside.target, data, &report);
	copy(&inside.report, &report, REPORT_BYTES);
}

/* Only the processor and the enclave that a report was made for know the key of its MAC. */
static uint64_t verify_report(uint64_t *status)
{
	static struct key_request request;
	static struct target_info self;
	uint8_t key[16], mac[16];
	uint64_t count;

	clear(&request, sizeof(request));
	request.name = KEY_REPORT;
	copy(request.key_id, inside.report.key_id, sizeof(request.key_id));
	describe_self(&self);
	if (get_key(&request, key) != 0)
		__builtin_trap();
	aes_cmac(key, &inside.report, REPORT_MACED_BYTES, mac);
	clear(key, sizeof(key));
	/* Genuine, and of the same code as this enclave: so its word is as good as our own. */
	if (!equal(mac, inside.report.mac, sizeof(mac)) ||
	    !equal(inside.report.mr_enclave, self.mr_enclave, sizeof(self.mr_enclave))) {
		*status = CALL_REFUSED;
		return 0;
	}
	copy(&count, inside.report.data, sizeof(count));
	return count;
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

	copy(inside.bytes, call->data, sizeof(inside.bytes));
	switch (function) {
	case CALL_ADD:
		hidden_sum += number;
		break;
	case CALL_SUM:
		answer = hidden_sum;
		break;
	case CALL_WHERE:
		answer = (uint64_t)&hidden_sum;
		break;
	case CALL_COUNT:
		answer = count_run(number == 0, &status);
		break;
	case CALL_TARGET:
		describe_self(&inside.target);
		break;
	case CALL_REPORT:
		report_count();
		break;
	case CALL_VERIFY:
		answer = verify_report(&status);
		break;
	default:
		status = CALL_UNKNOWN;
	}
	copy(call->data, inside.bytes, sizeof(inside.bytes));
	clear(&inside, sizeof(inside));
	call->answer = answer;
	call->status = status;
}
