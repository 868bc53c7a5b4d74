/*
 * Taking and leaving a TCS, and the entry that does not trap. STATE, CSSA and the SSA are enclave memory; STATE is
 * taken by compare-and-swap, because the other threads of all processes try for it, too.
 */
#include "enclave.h"
#include <linux/prctl.h>

#define CPUID_SGX2 0x2  /* CPUID.12H.0:EAX */

/* STATE of a TCS that this thread is in: it names the thread, so that a half-done entry can be told from another's. */
static inline u64 active_state(const struct slot *slot)
{
	return TCS_STATE_ACTIVE | (u64)slot->tid << 32;
}

/* RDTSC in an enclave is legal since SGX2, #UD before. */
bool rdtsc_is_illegal(void)
{
	return !(session->cpuid_sgx[0].eax & CPUID_SGX2);
}

/* It is stopped for a thread while that is inside; fault.c sees it. */
static void forbid_rdtsc(bool forbid)
{
	if (rdtsc_is_illegal())
		sys(__NR_prctl, PR_SET_TSC, forbid ? PR_TSC_SIGSEGV : PR_TSC_ENABLE);
}

void leave_state(struct slot *slot)
{
	volatile struct thread_record *record = RECORD(slot->index);

	/* An entry that is undone may not have got the TCS yet: only what is ours is given back. */
	if (slot->tcs && slot->tcs->state == active_state(slot))
		__atomic_store_n(&slot->tcs->state, TCS_STATE_INACTIVE, __ATOMIC_SEQ_CST);
	slot->tcs = NULL;
	slot->dispatch = 0;
	forbid_rdtsc(false);
	wrfsbase(slot->host_fs);
	wrgsbase(slot->host_gs);
	__atomic_store_n(&record->inside, 0, __ATOMIC_RELEASE);
	slot->inside = 0;
	slot->entry_frame = NULL; /* last: until here a signal undoes the entry */
}

/*
 * Takes the TCS. `inside` is stored before the generation is read, as the host stores the generation before it reads
 * `inside`: one of the two sees the other. False: nothing is changed; *stale says that the host must check again.
 */
bool take_state(struct slot *slot, struct entry *entry, u64 aep, bool *stale)
{
	volatile struct thread_record *record = RECORD(slot->index);
	struct tcs *tcs = (struct tcs *)alias_of(entry, entry->tcs);
	u64 inactive = TCS_STATE_INACTIVE;

	*stale = false;
	slot->host_fs = rdfsbase();
	slot->host_gs = rdgsbase();
	slot->entry = entry;
	slot->tcs = NULL;
	show_record(slot);
	record->tid = slot->tid;
	record->inside_tcs = entry->tcs;
	slot->inside = entry->tcs;
	__atomic_store_n(&record->inside, entry->enclave + 1, __ATOMIC_SEQ_CST);
	if (!is_current(entry)) {
		*stale = true;
		goto undo;
	}
	record->inside_generation = entry->generation;
	open_memory();
	slot->tcs = tcs;
	if (!__atomic_compare_exchange_n(&tcs->state, &inactive, active_state(slot), false, __ATOMIC_SEQ_CST,
					 __ATOMIC_SEQ_CST))
		goto undo;
	tcs->aep = slot->aep = aep;
	forbid_rdtsc(true);
	return true;
undo:
	slot->tcs = NULL;
	__atomic_store_n(&record->inside, 0, __ATOMIC_RELEASE);
	slot->inside = 0;
	close_memory();
	return false;
}

/* ---- the entry that does not trap ---- */

/* What try_entry (entry.S) has pushed; `target` is its return address. RSP at the ENCLU is the byte after it. */
struct entry_frame {
	u64 rbp, rbx, r12, r13, r14, r15, rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11, target;
};

/* Does everything but the jump. When it changes nothing, try_entry returns to the ENCLU, which traps. */
void prepare_entry(struct entry_frame *frame)
{
	struct slot *slot = running_slot();
	struct entry *entry = find_entry(frame->rbx);
	bool stale;

	if (!slot || !entry || slot->inside || !slot->dispatching || !process->connected || process->ended ||
	    (session->flags & SESSION_FLAGS_TRACE))
		return;
	slot->entry_frame = frame;
	if (!take_state(slot, entry, frame->rcx, &stale)) {
		slot->entry_frame = NULL;
		return;
	}
	u32 cssa = slot->tcs->cssa;
	if (cssa >= entry->record.nssa || !frame_is_checked(entry, cssa)) {
		leave_state(slot);
		close_memory();
		return;
	}
	struct gprsgx *gpr = ssa_gpr(entry, cssa);
	gpr->ursp = slot->outside_sp = (u64)(frame + 1);
	gpr->urbp = slot->outside_bp = frame->rbp;
	frame->rax = cssa;
	frame->rcx = (u64)vdso_after_enclu;
	frame->target = entry->record.base + entry->record.oentry;
	slot->dispatch = 1;
	wrgsbase(entry->record.base + entry->record.ogs_base);
	wrfsbase(entry->record.base + entry->record.ofs_base);
}

/* With an entry begun: the next instruction is the stub's, so it has not jumped yet. */
bool in_entry(u64 rip)
{
	return rip - STUB_MAP_IMAGE < STUB_MAP_IMAGE_SIZE;
}

void undo_entry(struct slot *slot, ucontext_t *uc)
{
	struct sigcontext_64 *regs = registers(uc);
	struct entry_frame *frame = slot->entry_frame;

	/* Before its first change there is nothing to take back; it starts anew all the same. */
	if (slot->inside) {
		open_memory();
		leave_state(slot);
	}
	frame_key(uc, false);
	slot->entry_frame = NULL;
	regs->ax = ENCLU_EENTER;
	regs->cx = (u64)vdso_enclu;
	regs->bx = frame->rbx; regs->dx = frame->rdx; regs->bp = frame->rbp; regs->si = frame->rsi; regs->di = frame->rdi;
	regs->r8 = frame->r8; regs->r9 = frame->r9; regs->r10 = frame->r10; regs->r11 = frame->r11;
	regs->r12 = frame->r12; regs->r13 = frame->r13; regs->r14 = frame->r14; regs->r15 = frame->r15;
	regs->sp = (u64)(frame + 1);
	regs->ip = (u64)vdso_enclu;
}
