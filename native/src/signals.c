/*
 * The program's signals. The kernel's handler is always ours, on the thread's slot. We never call the program's
 * handler: we build the frame that the kernel would have built, on the stack that its SA_ONSTACK asks for, and return
 * into it: longjmp and cancellation are then native. The frame says what the program believes of masks and stacks;
 * when it returns, rt_sigreturn traps, and our own frame becomes that one, with what is really so.
 */
#include "stub.h"

#define SIGNAL_COUNT 65
#define XSTATE_MAGIC1 0x46505853u
#define PKRU_BIT 9
#define USER_CS 0x33
#define USER_SS 0x2b

static struct action actions[SIGNAL_COUNT];
u32 actions_lock;

_Static_assert(sizeof(stack_t) == sizeof(struct altstack), "as the kernel has it in frames");

static bool is_reserved(int signal) { return signal > 0 && (RESERVED_SIGNALS & SIGNAL_BIT(signal)); }

u64 *mask_of(ucontext_t *uc) { return (u64 *)&uc->uc_sigmask; }

/* ---- actions ---- */

/* A vfork child shares our memory but not the kernel's handlers: its changes go into an overlay. */
static struct action *table(struct slot *slot, u32 self, bool write)
{
	if (self == slot->tid)
		return actions;
	if (slot->vfork_tid != self) {
		if (!write)
			return actions;
		if (!slot->overlay) {
			i64 at = sys(__NR_mmap, 0, ALIGN_UP(sizeof actions, PAGE), 3, 0x22, -1, 0);
			if (is_error(at))
				return actions;
			slot->overlay = (struct action *)at;
		}
		memcpy(slot->overlay, actions, sizeof actions);
		slot->vfork_tid = self;
	}
	return slot->overlay;
}

static i64 set_kernel_action(int signal, const struct action *wanted)
{
	struct action ours = *wanted;

	if (is_reserved(signal) || wanted->handler > 1 /* neither SIG_DFL nor SIG_IGN */) {
		ours.handler = (u64)signal_entry;
		/* SA_RESTART, SA_NOCLDSTOP, SA_NOCLDWAIT and SA_RESETHAND stay what the program wants of the kernel. */
		ours.flags &= SA_RESTART | SA_NOCLDSTOP | SA_NOCLDWAIT | SA_RESETHAND;
		if (is_reserved(signal))
			ours.flags = SA_NODEFER | SA_RESTART;
		ours.flags |= SA_SIGINFO | SA_ONSTACK | SA_RESTORER;
		ours.restorer = (u64)signal_restorer;
	}
	/* A kick waits until the handler returns: what it makes a thread do would disturb what the handler does. */
	ours.mask = ~RESERVED_SIGNALS | SIGNAL_BIT(KICK_SIGNAL);
	return sys(__NR_rt_sigaction, signal, &ours, 0, 8);
}

void signals_start(struct slot *slot, u64 inherited_ignored)
{
	u64 mask = 0;

	for (int signal = 1; signal < SIGNAL_COUNT; signal++) {
		struct action was = { 0 };
		if (sys(__NR_rt_sigaction, signal, 0, &was, 8))
			continue;
		if (was.handler == 1 || (is_reserved(signal) && (inherited_ignored & SIGNAL_BIT(signal))))
			actions[signal].handler = 1;
		if (is_reserved(signal))
			set_kernel_action(signal, &actions[signal]);
	}
	sys(__NR_rt_sigprocmask, 0, 0, &mask, 8);
	slot->blocked = mask & RESERVED_SIGNALS;
	slot->mask = mask &= ~RESERVED_SIGNALS;
	sys(__NR_rt_sigprocmask, 2, &mask, 0, 8);
}

u64 ignored_state(void)
{
	u64 state = 0;
	struct action *now = table(running_slot(), (u32)sys(__NR_gettid), false);

	for (int signal = 1; signal < SIGNAL_COUNT; signal++)
		if (is_reserved(signal) && now[signal].handler == 1)
			state |= SIGNAL_BIT(signal);
	return state & ~(STATE_FILTERED | STATE_FILTERED_TWICE);
}

/* What would end or stop the program and has no handler does so now, in the middle of ours. */
void let_defaults_through(struct slot *slot)
{
	u64 defaults = 0, mask;

	const struct action *now = table(slot, lock(&actions_lock), false);
	for (int signal = 1; signal < SIGNAL_COUNT; signal++)
		if (!now[signal].handler)
			defaults |= SIGNAL_BIT(signal);
	defaults &= ~slot->mask & ~RESERVED_SIGNALS;
	sys(__NR_rt_sigprocmask, SIG_UNBLOCK, &defaults, &mask, 8);
	sys(__NR_rt_sigprocmask, SIG_SETMASK, &mask, 0, 8);
	unlock(&actions_lock);
}

i64 trap_rt_sigaction(struct trap *trap)
{
	int signal = (int)trap->args[0];
	struct action wanted, old;
	i64 r = 0;

	if (trap->args[3] != 8 || signal < 1 || signal >= SIGNAL_COUNT || signal == 9 || signal == 19)
		return pass(trap);
	if (trap->args[1] && copy_user(&wanted, (void *)trap->args[1], sizeof wanted))
		return -EFAULT;
	struct action *now = table(trap->slot, lock(&actions_lock), trap->args[1]);
	old = now[signal];
	if (trap->args[1]) {
		wanted.mask &= ~(SIGNAL_BIT(9) | SIGNAL_BIT(19));
		/* The table first: a signal that comes in between must not find the kernel ahead of it. */
		now[signal] = wanted;
		r = signal == KICK_SIGNAL ? 0 : set_kernel_action(signal, &wanted);
		if (r)
			now[signal] = old;
	}
	unlock(&actions_lock);
	if (!r && trap->args[2] && copy_user((void *)trap->args[2], &old, sizeof old))
		return -EFAULT;
	return r;
}

/* ---- frames ---- */

struct frame {
	u64 restorer;
	ucontext_t uc;
	siginfo_t info;
};

u64 *frame_xstate(ucontext_t *uc, u64 *size)
{
	struct _fpstate_64 *fp = (struct _fpstate_64 *)registers(uc)->fpstate;

	if (!fp || fp->sw_reserved.magic1 != XSTATE_MAGIC1)
		return NULL;
	*size = fp->sw_reserved.extended_size;
	return (u64 *)fp;
}

/* PKRU as it will be after our return; without the bit in XSTATE_BV the processor would take 0, all allowed. */
void frame_key(ucontext_t *uc, bool allow)
{
	u64 size, *fp = frame_xstate(uc, &size);
	u32 *pkru;

	if (!key_on || !fp)
		return;
	pkru = (u32 *)((char *)fp + xsave_components[PKRU_BIT].offset);
	u32 value = fp[64] >> PKRU_BIT & 1 ? *pkru : 0;
	value &= ~(3u << 2 * key);
	*pkru = allow ? value : value | 1u << 2 * key;
	fp[64] |= 1UL << PKRU_BIT;
}

static struct altstack *stack_of_frame(ucontext_t *uc) { return (struct altstack *)&uc->uc_stack; }

/* As the kernel's force_sig: blocked, it kills. */
static void force_segv(struct slot *slot, ucontext_t *uc)
{
	siginfo_t info = { .si_signo = 11, .si_code = SI_KERNEL };

	deliver(slot, 11, &info, uc);
}

/*
 * A handler of the program's returns: RSP is where the frame's context begins. It takes the place of the one that we
 * return by, so that everything changes at once, as in the kernel, which restores and refuses what it points to.
 */
i64 trap_rt_sigreturn(struct trap *trap)
{
	ucontext_t *uc = trap->uc, frame;
	u64 sp = registers(uc)->sp;

	if (copy_user(&frame, (void *)sp, sizeof frame)) {
		force_segv(trap->slot, uc);
		return 0;
	}
	set_altstack(trap->slot, *stack_of_frame(&frame), sp);
	*stack_of_frame(&frame) = *stack_of_frame(uc);
	memcpy(uc, &frame, sizeof frame);
	block(trap->slot, uc, *mask_of(uc));
	return (i64)registers(uc)->ax;
}

/* The floating-point state that a handler starts with: initial, default keys. */
static void fresh_xstate(ucontext_t *uc)
{
	u64 size, *fp = frame_xstate(uc, &size);

	if (!fp)
		return;
	fp[64] = 0;
	*(u16 *)fp = 0x37f;
	*(u32 *)((char *)fp + 24) = 0x1f80;
	if (key_on) {
		*(u32 *)((char *)fp + xsave_components[PKRU_BIT].offset) = key_denied;
		fp[64] = 1UL << PKRU_BIT;
	}
}

/* To this thread, as it came: taken when our handler returns, which must restore a mask that lets it through. */
void send_again(int signal, siginfo_t *info)
{
	u64 bit = SIGNAL_BIT(signal);

	sys(__NR_rt_sigprocmask, 0, &bit, 0, 8);
	sys(__NR_rt_tgsigqueueinfo, sys(__NR_getpid), sys(__NR_gettid), signal, info);
}

/* Dies, stops or goes on as without a handler: with the kernel's own default, at the same place. */
static void by_default(int signal, siginfo_t *info, ucontext_t *uc)
{
	struct action fresh = { 0 };

	sys(__NR_rt_sigaction, signal, &fresh, 0, 8);
	send_again(signal, info);
	*mask_of(uc) &= ~SIGNAL_BIT(signal);
}

void deliver(struct slot *slot, int signal, siginfo_t *info, ucontext_t *uc)
{
	struct sigcontext_64 *regs = registers(uc);
	struct action *now, action;
	u64 size = 0, *xstate = frame_xstate(uc, &size), sp, at;
	bool fault = is_reserved(signal) && info->si_code > 0;
	bool entering = false, overflow;
	struct altstack *altstack = &slot->altstack;
	struct frame frame;

	if (!fault && (slot->blocked & SIGNAL_BIT(signal))) {
		wait_unblocked(slot, signal, info);
		return;
	}
	now = table(slot, lock(&actions_lock), false);
	action = now[signal];
	unlock(&actions_lock);
	if (slot->restart_at) {
		/* A call of ours that waits for this signal: restart it only if the handler says so. */
		if (slot->restart_at == regs->ip && action.handler > 1 && !(action.flags & SA_RESTART)) {
			regs->ip += 2;
			regs->ax = (u64)-EINTR;
		}
		slot->restart_at = 0;
	}
	if (slot->blocked & SIGNAL_BIT(signal))
		action.handler = 0; /* the kernel kills for a fault whose signal is blocked */
	if (action.handler == 1 && !fault)
		return;
	if (action.handler <= 1) {
		by_default(signal, info, uc);
		return;
	}

	sp = regs->sp - 128;
	if ((action.flags & SA_ONSTACK) && altstack->size && !on_altstack(altstack, regs->sp))
		entering = true, sp = altstack->sp + altstack->size;
	if (xstate)
		sp = ALIGN_DOWN(sp - size, 64);
	at = ALIGN_DOWN(sp - sizeof frame, 16) - 8;
	/* As the kernel: a frame that would leave the alternate stack at its bottom is a stack overflow. */
	overflow = (entering || on_altstack(altstack, regs->sp)) && !lies_on(altstack, at);

	memcpy(&frame.uc, uc, sizeof *uc);
	memcpy(&frame.info, info, sizeof *info);
	frame.restorer = action.restorer;
	((struct sigcontext_64 *)&frame.uc.uc_mcontext)->fpstate = xstate ? sp : 0;
	*stack_of_frame(&frame.uc) = *altstack;
	*mask_of(&frame.uc) |= slot->blocked;
	if (overflow || (xstate && copy_user((void *)sp, xstate, size)) || copy_user((void *)at, &frame, sizeof frame)) {
		/* Another signal's frame is a fault, which may have a stack of its own. */
		if (signal == 11)
			slot->blocked |= SIGNAL_BIT(11);
		force_segv(slot, uc);
		return;
	}
	if (action.flags & SA_RESETHAND)
		now[signal].handler = 0;
	if (altstack->flags & SS_AUTODISARM)
		*altstack = no_stack;
	block(slot, uc, *mask_of(&frame.uc) | action.mask | ((action.flags & SA_NODEFER) ? 0 : SIGNAL_BIT(signal)));
	fresh_xstate(uc);
	regs->ip = action.handler;
	regs->sp = at;
	regs->di = (u64)signal;
	regs->si = at + __builtin_offsetof(struct frame, info);
	regs->dx = at + __builtin_offsetof(struct frame, uc);
	regs->ax = 0;
	regs->cs = USER_CS;
	regs->ss = USER_SS;
	regs->flags &= ~(u64)(RFLAGS_DF | RFLAGS_RF | RFLAGS_TF);
}

/* The signal is the program's, too (SIGRTMAX): ours come from the channel's descriptor or from the host. */
static bool is_kick(const siginfo_t *info)
{
	return info->si_code > 0 || (process->connected && !process->ended && info->si_code == -6 /* SI_TKILL */ &&
				     (!info->si_pid || (u32)info->si_pid == session->host_pid));
}

static void handle(struct slot *slot, int signal, siginfo_t *info, ucontext_t *uc)
{
	struct sigcontext_64 *regs = registers(uc);

	if ((signal == 11 || signal == 7) && info->si_code > 0) {
		/* The stub's own access, possibly in a handler: to enclave memory whose page is away ... */
		if (signal == 7 && alias_fault(slot, uc, (u64)info->si_addr))
			return;
		/* ... or, in a guarded copy, to a bad address of the program's. */
		if (regs->ip >= (u64)copy_user_start && regs->ip < (u64)copy_user_end) {
			regs->ip = (u64)copy_user_fault;
			return;
		}
	}
	if (slot->step.moved) {
		abort_page_end(slot, uc);
		slot->mask = *mask_of(uc);
		if (signal == 5 && regs->trapno == VECTOR_DB && !slot->step.traced)
			return;
	}
	if (slot->inside)
		open_memory();
	if (slot->entry_frame && in_entry(regs->ip))
		undo_entry(slot, uc);
	if (leave_trampoline(uc)) {
		session_open(slot);
		if (signal == SIGILL && info->si_code > 0)
			return;
	}
	if (signal == 31) {
		on_sigsys(slot, info, uc);
		return;
	}
	if (signal == KICK_SIGNAL && is_kick(info)) {
		host_signal();
		/* An enclave that is ending lets nobody stay. */
		if (slot->inside && catch_up(slot))
			leave_by_interrupt(slot, uc);
		return;
	}
	if (signal == 4 && info->si_code > 0 && (on_enclu(slot, uc) || on_cpuid(slot, uc)))
		return;
	if ((signal == 11 || signal == 7) && info->si_code > 0) {
		on_memory_signal(slot, signal, info, uc);
		return;
	}
	if (slot->inside && info->si_code > 0 && is_reserved(signal)) {
		leave_by_exception(slot, uc, signal == 4 ? VECTOR_UD : (u32)regs->trapno, 0, 0);
		return;
	}
	if (slot->inside)
		leave_by_interrupt(slot, uc);
	deliver(slot, signal, info, uc);
}

_Static_assert(__builtin_offsetof(struct slot, blocked) == 8 && __builtin_offsetof(struct slot, waiting) == 16, "entry.S");

/* Signals that wait and are not blocked (any more) come when our handler returns. */
void send_waiting(struct slot *slot)
{
	siginfo_t sent;
	int signal;

	while ((signal = take_signal(slot, RESERVED_SIGNALS & ~slot->blocked, &sent)))
		send_again(signal, &sent);
}

/*
 * Every signal that is ours comes here (signal_entry in entry.S), on the slot's stack. Faults are never blocked, so
 * somebody may send one of their signals while a handler runs: it waits until that returns. False: this one was nested
 * in another.
 */
bool on_signal(int signal, siginfo_t *info, ucontext_t *uc, struct slot *slot)
{
	if (registers(uc)->sp - (u64)slot < STUB_MAP_SLOT_SIZE) {
		u64 *ip = (u64 *)&registers(uc)->ip;
		if (info->si_code <= 0)
			keep_signal(slot, signal, info);
		else
			handle(slot, signal, info, uc);
		if (*ip >= (u64)signal_return && *ip <= (u64)signal_return_end)
			*ip = (u64)signal_return;
		return false;
	}
	take_back(slot);
	slot->mask = *mask_of(uc);
	handle(slot, signal, info, uc);
	send_waiting(slot);
	return true;
}
