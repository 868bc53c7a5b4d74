/*
 * Entering and leaving enclaves: EENTER, ERESUME, EEXIT and AEX on the frame of the SIGILL that ENCLU raised, and the
 * entry that does not trap. What the host has checked about a TCS is kept and holds for one generation; STATE, CSSA
 * and the SSA are enclave memory, changed here by compare-and-swap through the stub's own mapping (the alias).
 *
 * Spec: SDM "EENTER", "ERESUME", "EEXIT", "Asynchronous Enclave Exits"; vDSO: Linux, arch/x86/entry/vdso/vsgx.S.
 */
#include "stub.h"
#include <linux/mman.h>
#include <linux/prctl.h>

#define BUCKETS 1024
_Static_assert(__builtin_offsetof(struct tcs_record, enclave) == sizeof(struct tcs_record) - 8, "copied from `out`");
#define ALIASES SESSION_ENCLAVES
#define SI_KERNEL_CODE 128

static struct entry *buckets[BUCKETS];
static u32 entries_lock;
/* The stub's mapping of each enclave of the session, by its index there. */
static struct alias { u64 at, base, size; } aliases[ALIASES];

static inline struct sigcontext_64 *registers(ucontext_t *uc) { return (struct sigcontext_64 *)&uc->uc_mcontext; }
static inline u64 rdfsbase(void) { u64 v; asm volatile("rdfsbase %0" : "=r"(v)); return v; }
static inline u64 rdgsbase(void) { u64 v; asm volatile("rdgsbase %0" : "=r"(v)); return v; }
static inline void wrfsbase(u64 v) { asm volatile("wrfsbase %0" ::"r"(v) : "memory"); }
static inline void wrgsbase(u64 v) { asm volatile("wrgsbase %0" ::"r"(v) : "memory"); }

void enclaves_forget(void)
{
	entries_lock = 0;
	memset(buckets, 0, sizeof buckets);
	memset(aliases, 0, sizeof aliases);
}

/* ---- what is known about a TCS ---- */

static inline u64 alias_of(const struct entry *entry, u64 address)
{
	return entry->alias + (address - entry->record.base);
}

static inline volatile u32 *generation_of(u32 enclave)
{
	return &session->enclaves[enclave].generation;
}

static struct entry *find_entry(u64 tcs)
{
	struct entry *entry = buckets[tcs / PAGE % BUCKETS];

	while (entry && entry->tcs != tcs)
		entry = entry->next;
	return entry;
}

static u64 map_alias(struct slot *slot, u32 enclave)
{
	struct alias *alias = &aliases[enclave];
	u64 base = session->enclaves[enclave].base, size = session->enclaves[enclave].size;

	if (alias->at && alias->base == base && alias->size == size)
		return alias->at;
	i64 fd = ask_for_descriptor(slot, OP_ALIAS, enclave, 0, true);
	if (is_error(fd))
		die("the host did not give the enclave's memory");
	i64 at = sys(__NR_mmap, 0, size, PROT_NONE, MAP_SHARED | MAP_NORESERVE, fd, base);
	sys(__NR_close, fd);
	if (is_error(at) || protect(at, size, PROT_READ | PROT_WRITE) || register_range(at, size))
		die("cannot map an enclave for the stub's own use; is the address space limited (ulimit -v)?");
	sys(__NR_madvise, at, size, MADV_DONTFORK);
	*alias = (struct alias){ at, base, size };
	return at;
}

static struct entry *new_entry(void)
{
	static struct entry *pool;
	static u32 left;

	if (!left) {
		i64 at = sys(__NR_mmap, 0, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (is_error(at))
			die("out of memory");
		pool = (struct entry *)at;
		left = 16 * PAGE / sizeof *pool;
	}
	left--;
	return pool++;
}

static bool is_current(const struct entry *entry)
{
	return entry && entry->generation == __atomic_load_n(generation_of(entry->enclave), __ATOMIC_SEQ_CST);
}

/* Has the host check the TCS. NULL: a fault, described in the thread's record. */
static struct entry *check_with_host(struct slot *slot, u64 tcs, u64 aep, u32 leaf)
{
	volatile struct thread_record *record = RECORD(slot->index);
	i64 verdict = ask(slot, OP_ENTER, tcs, aep, leaf, 0, 0);
	struct tcs_record checked;

	if (verdict == VERDICT_RETRY)
		for (u32 i = 0; i < sizeof checked / 8; i++)
			((u64 *)&checked)[i] = record->out[i];
	if (verdict != VERDICT_RETRY)
		return NULL;
	u64 alias = map_alias(slot, (u32)checked.enclave % SESSION_ENCLAVES);
	lock(&entries_lock);
	struct entry *entry = find_entry(tcs), *fresh = entry ? entry : new_entry();
	fresh->tcs = tcs;
	fresh->record = checked;
	fresh->alias = alias;
	fresh->enclave = (u32)checked.enclave % SESSION_ENCLAVES;
	fresh->generation = (u32)(checked.enclave >> 32);
	if (!entry) {
		fresh->next = buckets[tcs / PAGE % BUCKETS];
		__atomic_store_n(&buckets[tcs / PAGE % BUCKETS], fresh, __ATOMIC_RELEASE);
	}
	unlock(&entries_lock);
	return fresh;
}

/* ---- the state that both ways of entering change, and how it is taken back ---- */

/* STATE of a TCS that this thread is in: it names the thread, so that a half-done entry can be told from another's. */
static inline u64 active_state(const struct slot *slot)
{
	return TCS_STATE_ACTIVE | (u64)slot->tid << 32;
}

static inline void leave_state(struct slot *slot)
{
	volatile struct thread_record *record = RECORD(slot->index);

	/* An entry that is undone may not have got the TCS yet: only what is ours is given back. */
	if (slot->tcs && slot->tcs->state == active_state(slot))
		__atomic_store_n(&slot->tcs->state, TCS_STATE_INACTIVE, __ATOMIC_SEQ_CST);
	slot->tcs = NULL;
	slot->dispatch = 0;
	wrfsbase(slot->host_fs);
	wrgsbase(slot->host_gs);
	__atomic_store_n(&record->inside, 0, __ATOMIC_RELEASE);
	slot->inside = 0;
}

/*
 * Takes the TCS. `inside` is stored before the generation is read, as the host stores the generation before it reads
 * `inside`: one of the two sees the other. False: nothing is changed; *stale says that the host must check again.
 */
static inline __attribute__((always_inline)) bool take_state(struct slot *slot, struct entry *entry, u64 aep, bool *stale)
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
	if (entry->generation != __atomic_load_n(generation_of(entry->enclave), __ATOMIC_SEQ_CST)) {
		*stale = true;
		goto undo;
	}
	record->inside_generation = entry->generation;
	open_memory();
	slot->tcs = tcs;
	if (!__atomic_compare_exchange_n(&tcs->state, &inactive, active_state(slot), false, __ATOMIC_SEQ_CST,
					 __ATOMIC_SEQ_CST))
		goto undo;
	tcs->aep = aep;
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
	struct slot *slot = slot_of_thread((u32)sys(__NR_gettid));
	struct entry *entry = buckets[frame->rbx / PAGE % BUCKETS];
	bool stale;

	while (entry && entry->tcs != frame->rbx)
		entry = entry->next;
	if (!slot || !entry || slot->inside || !slot->dispatching || !process->connected || process->ended ||
	    (session->flags & SESSION_FLAGS_TRACE))
		return;
	slot->entry_frame = frame;
	if (!take_state(slot, entry, frame->rcx, &stale))
		return;
	u32 cssa = slot->tcs->cssa;
	if (cssa >= entry->record.nssa) {
		leave_state(slot);
		close_memory();
		return;
	}
	struct gprsgx *gpr = ssa_gpr(entry, cssa);
	gpr->ursp = (u64)(frame + 1);
	gpr->urbp = frame->rbp;
	frame->rax = cssa;
	frame->rcx = (u64)vdso_after_enclu;
	frame->target = entry->record.base + entry->record.oentry;
	slot->dispatch = 1;
	wrgsbase(entry->record.base + entry->record.ogs_base);
	wrfsbase(entry->record.base + entry->record.ofs_base);
}

/* Inside an enclave, yet the next instruction is the stub's: only an entry before its jump looks so. */
bool in_entry(u64 rip)
{
	return rip - STUB_MAP_IMAGE < STUB_MAP_IMAGE_SIZE;
}

void undo_entry(struct slot *slot, ucontext_t *uc)
{
	struct sigcontext_64 *regs = registers(uc);
	struct entry_frame *frame = slot->entry_frame;

	open_memory();
	leave_state(slot);
	frame_key(uc, false);
	regs->ax = ENCLU_EENTER;
	regs->bx = frame->rbx;
	regs->cx = (u64)vdso_enclu;
	regs->dx = frame->rdx;
	regs->si = frame->rsi;
	regs->di = frame->rdi;
	regs->bp = frame->rbp;
	regs->r8 = frame->r8;
	regs->r9 = frame->r9;
	regs->r10 = frame->r10;
	regs->r11 = frame->r11;
	regs->r12 = frame->r12;
	regs->r13 = frame->r13;
	regs->r14 = frame->r14;
	regs->r15 = frame->r15;
	regs->sp = (u64)(frame + 1);
	regs->ip = (u64)vdso_enclu;
}

/* ---- ENCLU that trapped ---- */

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

static void raise(struct slot *slot, ucontext_t *uc, u32 vector, u32 error, u64 address)
{
	switch (vector) {
	case VECTOR_PF: raise_exception(slot, uc, vector, error, address, 11, 2 /* SEGV_ACCERR */); break;
	case VECTOR_GP: raise_exception(slot, uc, vector, 0, 0, 11, SI_KERNEL_CODE); break;
	case VECTOR_UD: raise_exception(slot, uc, vector, 0, 0, 4, 2 /* ILL_ILLOPN */); break;
	case VECTOR_DE: raise_exception(slot, uc, vector, 0, 0, 8, 1 /* FPE_INTDIV */); break;
	case VECTOR_AC: raise_exception(slot, uc, vector, 0, 0, 7, 1 /* BUS_ADRALN */); break;
	case VECTOR_DB: raise_exception(slot, uc, vector, 0, 0, 5, 2 /* TRAP_TRACE */); break;
	case VECTOR_BP: raise_exception(slot, uc, vector, 0, 0, 5, SI_KERNEL_CODE); break;
	default: raise_exception(slot, uc, vector, 0, 0, 8, 7 /* FPE_FLTINV */); break;
	}
}

/* What the host answered instead of a result. */
static void raise_from_record(struct slot *slot, ucontext_t *uc)
{
	volatile struct thread_record *record = RECORD(slot->index);
	raise(slot, uc, (u32)record->out[0], (u32)record->out[1], record->out[2]);
}

/* EENTER and ERESUME. */
static void enter(struct slot *slot, ucontext_t *uc, u32 leaf)
{
	struct sigcontext_64 *regs = registers(uc);
	u64 tcs = regs->bx;
	struct entry *entry;
	bool stale;

	start_dispatch(slot);
	if (!session_open(slot)) {
		raise(slot, uc, VECTOR_GP, 0, 0);
		return;
	}
	entry = find_entry(tcs);
	do {
		if (!is_current(entry))
			entry = check_with_host(slot, tcs, regs->cx, leaf);
		if (!entry) {
			raise_from_record(slot, uc);
			return;
		}
		if (take_state(slot, entry, regs->cx, &stale))
			break;
		if (!stale) {
			raise(slot, uc, VECTOR_GP, 0, 0); /* the TCS is busy */
			return;
		}
	} while (true);

	u32 cssa = slot->tcs->cssa;
	if (leaf == ENCLU_EENTER ? cssa >= entry->record.nssa : cssa == 0) {
		leave_state(slot);
		raise(slot, uc, VECTOR_GP, 0, 0);
		return;
	}
	if (leaf == ENCLU_EENTER) {
		struct gprsgx *gpr = ssa_gpr(entry, cssa);
		gpr->ursp = regs->sp;
		gpr->urbp = regs->bp;
		regs->ax = cssa;
		regs->cx = regs->ip + 3;
		regs->ip = entry->record.base + entry->record.oentry;
		wrgsbase(entry->record.base + entry->record.ogs_base);
		wrfsbase(entry->record.base + entry->record.ofs_base);
	} else if (!resume_from_ssa(entry, uc, cssa - 1)) {
		leave_state(slot);
		raise(slot, uc, VECTOR_GP, 0, 0);
		return;
	} else {
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
	regs->cx = slot->tcs->aep;
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

	if (verdict != VERDICT_RETRY) {
		leave_by_exception(slot, uc, (u32)record->out[0], (u32)record->out[1], record->out[2]);
		return;
	}
	if (leaf != ENCLU_EMODPE && leaf != ENCLU_EREPORT)
		regs->ax = rax;
	if (leaf != ENCLU_EMODPE)
		regs->flags = (regs->flags & ~(u64)(RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)) |
			      (zero_flag ? RFLAGS_ZF : 0);
	regs->ip += 3;
}

bool in_elrange(struct slot *slot, u64 address)
{
	return slot->inside && address - slot->entry->record.base < slot->entry->record.size;
}

/* Enclave code may be execute-only: it is read through the alias. */
u64 inside_byte_address(struct slot *slot, u64 rip)
{
	return in_elrange(slot, rip) ? alias_of(slot->entry, rip) : rip;
}

static bool is_enclu(struct slot *slot, u64 rip)
{
	static const u8 enclu[3] = { 0x0f, 0x01, 0xd7 };
	u8 code[3];

	rip = inside_byte_address(slot, rip);
	return !copy_user(code, (void *)rip, sizeof code) && !memcmp(code, enclu, sizeof code);
}

bool on_enclu(struct slot *slot, ucontext_t *uc)
{
	struct sigcontext_64 *regs = registers(uc);
	u32 leaf = (u32)regs->ax;

	if (!is_enclu(slot, regs->ip))
		return false;
	if (slot->inside) {
		if (leaf == ENCLU_EEXIT)
			exit_enclave(slot, uc);
		else if (leaf == ENCLU_EENTER || leaf == ENCLU_ERESUME || leaf > ENCLU_EDECCSSA)
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

void leave_by_bus_error(struct slot *slot, ucontext_t *uc, u32 error, u64 address)
{
	leave_to_aep(slot, uc, exit_info_of(slot->entry, VECTOR_PF), error, address);
	raise_exception(slot, uc, VECTOR_PF, error, address, 7, 2 /* BUS_ADRERR */);
}

void leave_by_interrupt(struct slot *slot, ucontext_t *uc)
{
	leave_to_aep(slot, uc, 0, 0, 0);
}

void catch_up(struct slot *slot)
{
	ask(slot, OP_SYNC, slot->entry->enclave, 0, 0, 0, 0);
}

/* The stub touched enclave memory through its own mapping and the page is away: have it brought back, try again. */
bool alias_fault(struct slot *slot, ucontext_t *uc, u64 address)
{
	struct sigcontext_64 *regs = registers(uc);

	if (regs->ip < STUB_MAP_IMAGE || regs->ip >= STUB_MAP_IMAGE + STUB_MAP_IMAGE_SIZE)
		return false;
	for (u32 i = 0; i < ALIASES; i++) {
		struct alias *alias = &aliases[i];
		if (!alias->at || address - alias->at >= alias->size)
			continue;
		if (ask(slot, OP_LOAD, alias->base + (address - alias->at), 0, 0, 0, 0) != VERDICT_RETRY)
			die("an enclave's TCS or SSA page is gone while a thread needs it");
		return true;
	}
	return false;
}
