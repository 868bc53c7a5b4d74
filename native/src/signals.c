/*
 * The program's signals. The kernel's handler is always ours, on the thread's slot. We never call the program's
 * handler: we build the frame that the kernel would have built, on the stack that its SA_ONSTACK asks for, and return
 * into it. Its rt_sigreturn, longjmp and cancellation are then native, because the frame names our alternate stack
 * in uc_stack and a mask without our signals.
 */
#include "stub.h"

#define SIGNAL_COUNT 65
#define XSTATE_MAGIC1 0x46505853u
#define PKRU_BIT 9

static struct action actions[SIGNAL_COUNT];
u32 actions_lock;

static bool is_reserved(int signal) { return signal > 0 && (RESERVED_SIGNALS & SIGNAL_BIT(signal)); }

u64 *mask_of(ucontext_t *uc) { return (u64 *)&uc->uc_sigmask; }

/* ---- actions ---- */

/* A vfork child shares our memory but not the kernel's handlers: its changes go into an overlay. */
static struct action *table(struct slot *slot, bool write)
{
	u32 pid = (u32)sys(__NR_getpid);

	if (pid == process->pid)
		return actions;
	if (slot->vfork_pid != pid) {
		if (!write)
			return actions;
		if (!slot->overlay) {
			i64 at = sys(__NR_mmap, 0, ALIGN_UP(sizeof actions, PAGE), 3, 0x22, -1, 0);
			if (is_error(at))
				return actions;
			slot->overlay = (struct action *)at;
		}
		memcpy(slot->overlay, actions, sizeof actions);
		slot->vfork_pid = pid;
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
	struct action *now = table(running_slot(), false);

	for (int signal = 1; signal < SIGNAL_COUNT; signal++)
		if (is_reserved(signal) && now[signal].handler == 1)
			state |= SIGNAL_BIT(signal);
	return state & ~(STATE_FILTERED | STATE_FILTERED_TWICE);
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
	lock(&actions_lock);
	struct action *now = table(trap->slot, trap->args[1]);
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

/* ---- masks: what reaches the kernel never holds our signals; what the program sees does ---- */

i64 trap_rt_sigprocmask(struct trap *trap)
{
	u64 *mask = mask_of(trap->uc), set, old = *mask | trap->slot->blocked;

	if (trap->args[3] != 8)
		return -EINVAL;
	if (trap->args[1]) {
		if (copy_user(&set, (void *)trap->args[1], 8))
			return -EFAULT;
		set &= ~(SIGNAL_BIT(9) | SIGNAL_BIT(19));
		switch ((int)trap->args[0]) {
		case 0: set = old | set; break;
		case 1: set = old & ~set; break;
		case 2: break;
		default: return -EINVAL;
		}
		*mask = set & ~RESERVED_SIGNALS;
		trap->slot->blocked = set & RESERVED_SIGNALS;
	}
	if (trap->args[2] && copy_user((void *)trap->args[2], &old, 8))
		return -EFAULT;
	return 0;
}

/* Calls that take a mask go on in the program with a copy of it. A bad pointer or size is the kernel's to refuse. */
static i64 pass_with_mask(struct trap *trap, u32 argument, u64 which)
{
	u64 *copy = &trap->slot->scratch[0];

	if (copy_user(copy, (void *)trap->args[argument], 8))
		return pass(trap);
	*copy &= ~RESERVED_SIGNALS;
	return pass_edited(trap, which, (u64)copy);
}

i64 trap_rt_sigsuspend(struct trap *trap) { return pass_with_mask(trap, 0, EDIT_RDI); }
i64 trap_rt_sigtimedwait(struct trap *trap) { return pass_with_mask(trap, 0, EDIT_RDI); }
i64 trap_ppoll(struct trap *trap) { return pass_with_mask(trap, 3, EDIT_R10); }
i64 trap_epoll_pwait(struct trap *trap) { return pass_with_mask(trap, 4, EDIT_R8); }
i64 trap_epoll_pwait2(struct trap *trap) { return pass_with_mask(trap, 4, EDIT_R8); }

/* pselect6's sixth argument points to { mask pointer, size }. */
i64 trap_pselect6(struct trap *trap)
{
	u64 *copy = trap->slot->scratch;

	if (copy_user(copy, (void *)trap->args[5], 16) || !copy[0] || copy_user(&copy[2], (void *)copy[0], 8))
		return pass(trap);
	copy[2] &= ~RESERVED_SIGNALS;
	copy[0] = (u64)&copy[2];
	return pass_edited(trap, EDIT_R9, (u64)copy);
}

/* ---- the program's alternate stack ---- */

static bool on_altstack(const struct altstack *stack, u64 sp)
{
	return !(stack->flags & SS_DISABLE) && sp > stack->sp && sp - stack->sp <= stack->size;
}

i64 trap_sigaltstack(struct trap *trap)
{
	struct altstack *now = &trap->slot->altstack, wanted, old = *now;
	bool on = on_altstack(now, registers(trap->uc)->sp);
	u32 mode;

	if (on)
		old.flags |= SS_ONSTACK;
	if (trap->args[0]) {
		if (copy_user(&wanted, (void *)trap->args[0], sizeof wanted))
			return -EFAULT;
		if (on)
			return -EPERM;
		mode = (u32)wanted.flags & ~0x80000000u /* SS_AUTODISARM */;
		if (mode != SS_DISABLE && mode != SS_ONSTACK && mode)
			return -EINVAL;
		if (mode == SS_DISABLE)
			wanted.sp = wanted.size = 0;
		else if (wanted.size < 2048)
			return -ENOMEM;
		wanted.flags &= ~SS_ONSTACK;
		*now = wanted;
	}
	if (trap->args[1] && copy_user((void *)trap->args[1], &old, sizeof old))
		return -EFAULT;
	return 0;
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

/* The floating-point state that a handler starts with: initial, default keys. */
static void fresh_xstate(ucontext_t *uc)
{
	u64 size, *fp = frame_xstate(uc, &size);

	if (!fp)
		return;
	fp[64] &= 0;
	*(u16 *)fp = 0x37f;
	*(u32 *)((char *)fp + 24) = 0x1f80;
	if (key_on) {
		*(u32 *)((char *)fp + xsave_components[PKRU_BIT].offset) = key_denied;
		fp[64] = 1UL << PKRU_BIT;
	}
}

/* Dies, stops or goes on as without a handler: with the kernel's own default, at the same place. */
static void by_default(int signal, siginfo_t *info, ucontext_t *uc)
{
	struct action fresh = { 0 };

	sys(__NR_rt_sigaction, signal, &fresh, 0, 8);
	/* A fault happens again when we return; what somebody sent has to be sent again. */
	if (info->si_code <= 0 || info->si_code == 128 || registers(uc)->trapno == VECTOR_UD)
		sys(__NR_tgkill, sys(__NR_getpid), sys(__NR_gettid), signal);
	*mask_of(uc) &= ~SIGNAL_BIT(signal);
}

void deliver(struct slot *slot, int signal, siginfo_t *info, ucontext_t *uc)
{
	struct sigcontext_64 *regs = registers(uc);
	struct action *now = table(slot, false), action = now[signal];
	u64 size = 0, *xstate = frame_xstate(uc, &size), sp, at;
	bool fault = is_reserved(signal) && info->si_code > 0;
	bool entering = false, overflow;
	struct frame frame;

	if (slot->restart_at) {
		/* A call of ours that waits for this signal: restart it only if the handler says so. */
		if (slot->restart_at == regs->ip && action.handler > 1 && !(action.flags & SA_RESTART)) {
			regs->ip += 2;
			regs->ax = (u64)-EINTR;
		}
		slot->restart_at = 0;
	}
	if (fault && (slot->blocked & SIGNAL_BIT(signal)))
		action.handler = 0; /* the kernel kills for a fault whose signal is blocked */
	if (action.handler == 1 && !fault)
		return;
	if (action.handler <= 1) {
		by_default(signal, info, uc);
		return;
	}

	sp = regs->sp - 128;
	if ((action.flags & SA_ONSTACK) && !(slot->altstack.flags & SS_DISABLE) && !on_altstack(&slot->altstack, regs->sp))
		entering = true, sp = slot->altstack.sp + slot->altstack.size;
	if (xstate)
		sp = ALIGN_DOWN(sp - size, 64);
	at = ALIGN_DOWN(sp - sizeof frame, 16) - 8;
	/* As the kernel: a frame that would leave the alternate stack at its bottom is a stack overflow. */
	overflow = (entering || on_altstack(&slot->altstack, regs->sp)) && at <= slot->altstack.sp;

	memcpy(&frame.uc, uc, sizeof *uc);
	memcpy(&frame.info, info, sizeof *info);
	frame.restorer = action.restorer;
	((struct sigcontext_64 *)&frame.uc.uc_mcontext)->fpstate = xstate ? sp : 0;
	/* The alternate stack is ours whenever the kernel looks. */
	frame.uc.uc_stack = uc->uc_stack;
	if (overflow || (xstate && copy_user((void *)sp, xstate, size)) || copy_user((void *)at, &frame, sizeof frame)) {
		by_default(11, info, uc);
		sys(__NR_tgkill, sys(__NR_getpid), sys(__NR_gettid), 11);
		return;
	}
	if (action.flags & SA_RESETHAND)
		now[signal].handler = 0;
	*mask_of(uc) |= action.mask | ((action.flags & SA_NODEFER) ? 0 : SIGNAL_BIT(signal));
	*mask_of(uc) &= ~(RESERVED_SIGNALS | SIGNAL_BIT(9) | SIGNAL_BIT(19));
	fresh_xstate(uc);
	regs->ip = action.handler;
	regs->sp = at;
	regs->di = (u64)signal;
	regs->si = at + __builtin_offsetof(struct frame, info);
	regs->dx = at + __builtin_offsetof(struct frame, uc);
	regs->ax = 0;
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
		if (signal == 5 && regs->trapno == VECTOR_DB && !slot->step.traced)
			return;
	}
	slot->mask = *mask_of(uc);
	if (slot->inside)
		open_memory();
	if (slot->entry_frame && in_entry(regs->ip))
		undo_entry(slot, uc);
	if (signal == 31) {
		on_sigsys(slot, info, uc);
		return;
	}
	leave_trampoline(uc);
	if (signal == KICK_SIGNAL && is_kick(info)) {
		host_signal();
		if (slot->inside)
			catch_up(slot);
		return;
	}
	if (signal == 4 && info->si_code > 0 && on_enclu(slot, uc))
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

/*
 * Every signal that is ours comes here (signal_entry in entry.S). Faults are never blocked, so somebody may send one of
 * their signals while a handler runs: it is sent again when that returns.
 */
void on_signal(int signal, siginfo_t *info, ucontext_t *uc)
{
	struct slot *slot = slot_of_handler(uc);
	u64 sent_again;

	if (registers(uc)->sp - (u64)slot < STUB_MAP_SLOT_SIZE) {
		if (info->si_code <= 0)
			slot->postponed |= SIGNAL_BIT(signal);
		else
			handle(slot, signal, info, uc);
		return;
	}
	handle(slot, signal, info, uc);
	while ((sent_again = slot->postponed)) {
		slot->postponed = 0;
		/* Blocked until our return, which restores the mask. */
		sys(__NR_rt_sigprocmask, 0, &sent_again, 0, 8);
		for (int s = 1; s < SIGNAL_COUNT; s++)
			if (sent_again & SIGNAL_BIT(s))
				sys(__NR_tgkill, sys(__NR_getpid), sys(__NR_gettid), s);
	}
}
