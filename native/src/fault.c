/*
 * SIGSEGV and SIGBUS: a CPUID that faulted, ENCLU on a machine that has SGX itself, and enclave pages. The hardware's
 * error code says little (a hole reads as absent, a key as a key), so the host decides from its tables.
 */
#include "stub.h"

#define PATIENCE 20000          /* "mended" so often in a row at one place: the model and the mapping disagree */

static bool is_illegal_rdtsc(struct slot *slot, struct sigcontext_64 *regs)
{
	static const u8 rdtsc[2] = { 0x0f, 0x31 }, rdtscp[3] = { 0x0f, 0x01, 0xf9 };
	return slot->inside && rdtsc_is_illegal() &&
	       (code_is(slot, regs->ip, rdtsc, sizeof rdtsc) || code_is(slot, regs->ip, rdtscp, sizeof rdtscp));
}

/* Not getting anywhere: better a clear end than a hang. */
void count_retry(struct slot *slot, u64 address)
{
	if (slot->retry_at != address) {
		slot->retry_at = address;
		slot->retries = 0;
	}
	if (++slot->retries > PATIENCE)
		die("an enclave page faults again and again; this is a bug of vitrine, please report the trace");
}

static void on_enclave_page(struct slot *slot, int signal, siginfo_t *info, ucontext_t *uc)
{
	struct sigcontext_64 *regs = registers(uc);
	u64 address = (u64)info->si_addr;
	u32 access = regs->err & PF_ERROR_I ? 2 : regs->err & PF_ERROR_W ? 1 : 0;
	volatile struct thread_record *record = RECORD(slot->index);
	i64 verdict = ask(slot, OP_FAULT, address, access, slot->inside != 0, regs->ip, 0);
	u32 vector = (u32)record->out[0], error = (u32)record->out[1];
	u64 page = record->out[2];

	switch (verdict) {
	case VERDICT_RETRY:
		count_retry(slot, address);
		return;
	case VERDICT_FAULT:
		if (slot->inside)
			leave_by_exception(slot, uc, vector, error, page);
		else
			raise_exception(slot, uc, vector, error, address, 11, 2 /* SEGV_ACCERR */);
		return;
	case VERDICT_BUS:
		bus_error(slot, uc, error, slot->inside ? ALIGN_DOWN(address, PAGE) : address);
		return;
	case VERDICT_ABORT_PAGE:
		if (!slot->inside && abort_page(slot, uc, address))
			return;
	}
	if (slot->inside)
		leave_by_exception(slot, uc, VECTOR_PF, (u32)regs->err, ALIGN_DOWN(address, PAGE));
	else
		deliver(slot, signal, info, uc);
}

void on_memory_signal(struct slot *slot, int signal, siginfo_t *info, ucontext_t *uc)
{
	struct sigcontext_64 *regs = registers(uc);
	u64 address = (u64)info->si_addr;

	if (regs->trapno == VECTOR_GP && on_cpuid(slot, uc))
		return;
	if (regs->trapno == VECTOR_GP && is_illegal_rdtsc(slot, regs)) {
		leave_by_exception(slot, uc, VECTOR_UD, 0, 0);
		return;
	}
	/* With SGX in the processor but not for us, ENCLU is #GP or #PF, not #UD. It was not fetched if that is what failed. */
	bool fetching = regs->trapno == VECTOR_PF && (regs->err & PF_ERROR_I);
	if (signal == 11 && !fetching && on_enclu(slot, uc))
		return;
	if (regs->trapno == VECTOR_PF && (is_enclave_range(address, 1) || in_elrange(slot, address))) {
		on_enclave_page(slot, signal, info, uc);
		return;
	}
	if (slot->inside) {
		u32 vector = (u32)regs->trapno;
		leave_by_exception(slot, uc, vector, (u32)regs->err, vector == VECTOR_PF ? ALIGN_DOWN(address, PAGE) : 0);
		return;
	}
	deliver(slot, signal, info, uc);
}
