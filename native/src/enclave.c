/*
 * ENCLU that trapped, and leaving without it: EENTER, ERESUME, EEXIT and AEX on the frame of a signal.
 *
 * Spec: SDM "EENTER", "ERESUME", "EEXIT", "Asynchronous Enclave Exits".
 */
#include "enclave.h"
#include <linux/prctl.h>

static void report(struct slot *slot, u32 event, u64 tcs, u64 a, u64 b, u64 c)
{
	if (process->connected && !process->ended && (session->flags & SESSION_FLAGS_TRACE))
		ask(slot, OP_EVENT, event, tcs, a, b, c);
}

/* SYSCALL inside is #UD: from a thread's first entry on, a byte in its slot tells the kernel to stop its calls. */
static void start_dispatch(struct slot *slot)
{
	if (slot->dispatching)
		return;
	if (!sys(__NR_prctl, PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, STUB_MAP_IMAGE, STUB_MAP_IMAGE_SIZE,
		 &slot->dispatch))
		slot->dispatching = true;
}

/* The vDSO's ENCLU: no signal, the exception becomes its result. Anything else: the signal that Linux sends. */
void raise_exception(struct slot *slot, ucontext_t *uc, u32 vector, u32 error, u64 address, int signal, int code)
{
	struct sigcontext_64 *regs = registers(uc);
	siginfo_t info = { .si_signo = signal, .si_code = code };

	if (regs->ip == (u64)vdso_enclu && vector != VECTOR_DB && vector != VECTOR_BP) {
		regs->di = vector;
		regs->si = (u16)error;
		regs->dx = vector == VECTOR_PF ? address : 0;
		regs->ip = (u64)vdso_exception;
		return;
	}
	regs->trapno = vector;
	regs->err = error;
	if (vector == VECTOR_PF)
		regs->cr2 = address;
	info.si_addr = (void *)(vector == VECTOR_PF ? address : vector == VECTOR_GP || vector == VECTOR_AC ? 0 : regs->ip);
	deliver(slot, signal, &info, uc);
}

/* si_code of a page fault: the kernel knows whether anything is mapped there. */
static int segv_code(u64 address)
{
	u8 resident;

	return sys(__NR_mincore, ALIGN_DOWN(address, PAGE), PAGE, &resident) == -ENOMEM ? SEGV_MAPERR : SEGV_ACCERR;
}

static void raise(struct slot *slot, ucontext_t *uc, u32 vector, u32 error, u64 address)
{
	static const struct { u8 vector, signal, code; } kinds[] = {
		{ VECTOR_PF, SIGSEGV, 0 }, { VECTOR_GP, SIGSEGV, SI_KERNEL }, { VECTOR_UD, SIGILL, ILL_ILLOPN },
		{ VECTOR_DE, SIGFPE, FPE_INTDIV }, { VECTOR_AC, SIGBUS, BUS_ADRALN }, { VECTOR_DB, SIGTRAP, TRAP_TRACE },
		{ VECTOR_BP, SIGTRAP, SI_KERNEL }, { 0xff, SIGFPE, FPE_FLTINV },
	};
	u32 i = 0;

	while (i < ARRAY_LENGTH(kinds) - 1 && kinds[i].vector != vector)
		i++;
	if (vector != VECTOR_PF)
		error = 0, address = 0;
	raise_exception(slot, uc, vector, error, address, kinds[i].signal,
			vector == VECTOR_PF ? segv_code(address) : kinds[i].code);
}

/* What the host answered instead of a result. */
static void raise_from_record(struct slot *slot, ucontext_t *uc)
{
	volatile struct thread_record *record = RECORD(slot->index);

	if (record->ret == VERDICT_BUS)
		raise_exception(slot, uc, (u32)record->out[0], (u32)record->out[1], record->out[2], 7, 2 /* BUS_ADRERR */);
	else
		raise(slot, uc, (u32)record->out[0], (u32)record->out[1], record->out[2]);
}

/*
 * AEX-Notify: an ERESUME that the interrupted frame wants to be told of enters at OENTRY, as EENTER does.
 *
 * Model: an enclave hears of signals and exceptions only. On hardware every interrupt of the machine is an exit, and so
 * is a page fault that the kernel mends; here the first does not exist and the second is mended without one.
 */
static bool wants_notice(struct slot *slot, const struct entry *entry, u32 frame)
{
	return (slot->tcs->flags & TCS_FLAGS_AEXNOTIFY) && (ssa_gpr(entry, frame)->aex_notify & 1);
}

/* Those that the leaf uses; it is refused later where CSSA gives it none. */
static bool frames_are_checked(struct slot *slot, const struct entry *entry, u32 leaf, u32 cssa)
{
	if (leaf == ENCLU_ERESUME) {
		if (!cssa)
			return true;
		if (!frame_is_checked(entry, cssa - 1))
			return false;
		if (!wants_notice(slot, entry, cssa - 1))
			return true;
	}
	return cssa >= entry->record.nssa || frame_is_checked(entry, cssa);
}

/* EENTER and ERESUME. */
static void enter(struct slot *slot, ucontext_t *uc, u32 leaf)
{
	struct sigcontext_64 *regs = registers(uc);
	u64 tcs = regs->bx;
	struct entry *entry;
	u32 cssa;
	bool stale, checked = false;

	start_dispatch(slot);
	if (!session_open(slot)) {
		raise(slot, uc, VECTOR_GP, 0, 0);
		return;
	}
	entry = find_entry(tcs);
	for (bool again = !is_current(entry);; again = true) {
		if (again && !(entry = check_with_host(slot, tcs, regs->cx, leaf))) {
			raise_from_record(slot, uc);
			return;
		}
		checked |= again;
		if (take_state(slot, entry, regs->cx, &stale)) {
			cssa = slot->tcs->cssa;
			if (frames_are_checked(slot, entry, leaf, cssa))
				break;
			leave_state(slot);
		} else if (!stale && checked) {
			/* The last thing that hardware looks at. */
			u64 holder = ((struct tcs *)alias_of(entry, tcs))->state >> 32;
			report(slot, EVENT_REFUSED, tcs, leaf, REFUSAL_BUSY, holder);
			raise(slot, uc, VECTOR_GP, 0, 0);
			return;
		}
	}

	bool anew = leaf == ENCLU_EENTER || (cssa && wants_notice(slot, entry, cssa - 1));
	if (anew ? cssa >= entry->record.nssa : cssa == 0) {
		leave_state(slot);
		report(slot, EVENT_REFUSED, tcs, anew ? ENCLU_EENTER : leaf, REFUSAL_CSSA, cssa | (u64)entry->record.nssa << 32);
		raise(slot, uc, VECTOR_GP, 0, 0);
		return;
	}
	if (anew) {
		struct gprsgx *gpr = ssa_gpr(entry, cssa);
		gpr->ursp = slot->outside_sp = regs->sp;
		gpr->urbp = slot->outside_bp = regs->bp;
		regs->ax = cssa;
		regs->cx = regs->ip + 3;
		regs->ip = entry->record.base + entry->record.oentry;
		wrgsbase(entry->record.base + entry->record.ogs_base);
		wrfsbase(entry->record.base + entry->record.ofs_base);
	} else if (!resume_from_ssa(entry, uc, cssa - 1)) {
		leave_state(slot);
		report(slot, EVENT_REFUSED, tcs, leaf, REFUSAL_FRAME, cssa - 1);
		raise(slot, uc, VECTOR_GP, 0, 0);
		return;
	} else {
		slot->outside_sp = ssa_gpr(entry, cssa - 1)->ursp;
		slot->outside_bp = ssa_gpr(entry, cssa - 1)->urbp;
		slot->tcs->cssa = cssa - 1;
	}
	slot->dispatch = slot->dispatching;
	frame_key(uc, true);
	report(slot, leaf == ENCLU_EENTER ? EVENT_EENTER : EVENT_ERESUME, tcs, regs->ip, regs->cx, cssa);
}

static void exit_enclave(struct slot *slot, ucontext_t *uc)
{
	struct sigcontext_64 *regs = registers(uc);
	u64 tcs = slot->inside;

	if ((i64)(regs->bx << 16) >> 16 != (i64)regs->bx) {
		leave_by_exception(slot, uc, VECTOR_GP, 0, 0); /* RBX is not canonical */
		return;
	}
	regs->ip = regs->bx;
	regs->cx = slot->aep;
	leave_state(slot);
	frame_key(uc, false);
	report(slot, EVENT_EEXIT, tcs, regs->ip, regs->cx, 0);
}

/* A leaf whose work is the host's. */
static void leaf_at_host(struct slot *slot, ucontext_t *uc, u32 leaf)
{
	struct sigcontext_64 *regs = registers(uc);
	volatile struct thread_record *record = RECORD(slot->index);
	i64 verdict = ask(slot, OP_LEAF, leaf, regs->bx, regs->cx, regs->dx, 0);
	u64 rax = record->out[0], zero_flag = record->out[1];

	if (verdict == VERDICT_BUS) {
		bus_error(slot, uc, (u32)record->out[1], record->out[2]);
		return;
	}
	if (verdict != VERDICT_RETRY) {
		leave_by_exception(slot, uc, (u32)record->out[0], (u32)record->out[1], record->out[2]);
		return;
	}
	/* The leaves with a result; the others touch neither RAX nor flags. */
	if (leaf == ENCLU_EGETKEY || leaf == ENCLU_EACCEPT || leaf == ENCLU_EACCEPTCOPY) {
		regs->ax = rax;
		regs->flags = (regs->flags & ~(u64)(RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)) |
			      (zero_flag ? RFLAGS_ZF : 0);
	}
	regs->ip += 3;
}

bool on_enclu(struct slot *slot, ucontext_t *uc)
{
	static const u8 enclu[3] = { 0x0f, 0x01, 0xd7 };
	struct sigcontext_64 *regs = registers(uc);
	u32 leaf = (u32)regs->ax;

	if (!code_is(slot, regs->ip, enclu, sizeof enclu))
		return false;
	slot->retries = 0;
	if (slot->inside) {
		if (leaf == ENCLU_EEXIT)
			exit_enclave(slot, uc);
		else if (leaf == ENCLU_EENTER || leaf == ENCLU_ERESUME)
			leave_by_exception(slot, uc, VECTOR_GP, 0, 0);
		else
			leaf_at_host(slot, uc, leaf);
	} else if (leaf == ENCLU_EENTER || leaf == ENCLU_ERESUME) {
		enter(slot, uc, leaf);
	} else {
		raise(slot, uc, VECTOR_GP, 0, 0);
	}
	return true;
}

/* ---- leaving without EEXIT ---- */

static void leave_to_aep(struct slot *slot, ucontext_t *uc, u32 exit_info, u32 error, u64 address)
{
	u64 tcs = slot->inside, rip = registers(uc)->ip;

	save_to_ssa(slot, uc, exit_info, error, address);
	leave_state(slot);
	frame_key(uc, false);
	report(slot, EVENT_AEX, tcs, exit_info, rip, address);
}

void leave_by_exception(struct slot *slot, ucontext_t *uc, u32 vector, u32 error, u64 address)
{
	leave_to_aep(slot, uc, exit_info_of(slot->entry, vector), error, address);
	raise(slot, uc, vector, error, address);
}

void bus_error(struct slot *slot, ucontext_t *uc, u32 error, u64 address)
{
	if (slot->inside)
		leave_to_aep(slot, uc, exit_info_of(slot->entry, VECTOR_PF), error, address);
	raise_exception(slot, uc, VECTOR_PF, error, address, SIGBUS, BUS_ADRERR);
}

void leave_by_interrupt(struct slot *slot, ucontext_t *uc)
{
	leave_to_aep(slot, uc, 0, 0, 0);
}

/* From the request on nothing of before this generation is used: until it is answered and applied, we are here. */
i64 catch_up(struct slot *slot)
{
	RECORD(slot->index)->inside_generation =
		__atomic_load_n(generation_of(slot->entry->enclave), __ATOMIC_SEQ_CST);
	return ask(slot, OP_SYNC, slot->entry->enclave, 0, 0, 0, 0);
}
