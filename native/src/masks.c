/*
 * What a thread believes of its signal mask and its alternate stack. No mask that reaches the kernel holds one of our
 * signals, what the program sees does; and the kernel's alternate stack is always the slot.
 */
#include "stub.h"

/* A vfork child has the slot of its parent, which waits: what it changes is the parent's again when that goes on. */
static void lend(struct slot *slot)
{
	if (slot->lent || (u32)sys(__NR_getpid) == process->pid)
		return;
	slot->lent_blocked = slot->blocked;
	slot->lent_altstack = slot->altstack;
	slot->lent = true;
}

void take_back(struct slot *slot)
{
	if (!slot->lent || (u32)sys(__NR_getpid) != process->pid)
		return;
	slot->blocked = slot->lent_blocked;
	slot->altstack = slot->lent_altstack;
	slot->lent = false;
}

void block(struct slot *slot, ucontext_t *uc, u64 mask)
{
	*mask_of(uc) = mask & ~RESERVED_SIGNALS;
	slot->blocked = mask & RESERVED_SIGNALS;
}

i64 trap_rt_sigprocmask(struct trap *trap)
{
	u64 set, old = *mask_of(trap->uc) | trap->slot->blocked;

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
		lend(trap->slot);
		block(trap->slot, trap->uc, set);
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

/* What waits here (pending.c) is taken at once; what comes later the kernel gives to this call, as nothing of ours is blocked. */
i64 trap_rt_sigtimedwait(struct trap *trap)
{
	u64 *set = trap->slot->scratch;
	siginfo_t info;
	int signal;

	if (trap->args[3] != 8 || copy_user(set, (void *)trap->args[0], 8))
		return pass(trap);
	signal = take_signal(trap->slot, *set & RESERVED_SIGNALS, &info);
	if (signal)
		return trap->args[1] && copy_user((void *)trap->args[1], &info, sizeof info) ? -EFAULT : signal;
	trap->slot->awaited = *set & RESERVED_SIGNALS;
	/* Model: nobody waits for SIGRTMAX, which may be a kick. */
	*set &= ~SIGNAL_BIT(KICK_SIGNAL);
	return pass_edited(trap, EDIT_RDI, (u64)set);
}

i64 trap_rt_sigpending(struct trap *trap)
{
	u64 pending = 0;

	if (trap->args[1] > 8)
		return -EINVAL;
	sys(__NR_rt_sigpending, &pending, 8);
	pending = (pending | waiting_signals(trap->slot)) & (*mask_of(trap->uc) | trap->slot->blocked);
	return copy_user((void *)trap->args[0], &pending, trap->args[1]);
}

/* ---- the program's alternate stack ---- */

const struct altstack no_stack = { .flags = SS_DISABLE };

bool lies_on(const struct altstack *stack, u64 sp)
{
	return sp > stack->sp && sp - stack->sp <= stack->size;
}

/* One that disarms itself is never in use as far as the kernel is concerned. */
bool on_altstack(const struct altstack *stack, u64 sp)
{
	return !(stack->flags & SS_AUTODISARM) && lies_on(stack, sp);
}

i64 set_altstack(struct slot *slot, struct altstack wanted, u64 sp)
{
	u32 mode = (u32)wanted.flags & ~SS_AUTODISARM;

	if (on_altstack(&slot->altstack, sp))
		return -EPERM;
	if (mode != SS_DISABLE && mode != SS_ONSTACK && mode)
		return -EINVAL;
	if (mode == SS_DISABLE)
		wanted.sp = wanted.size = 0;
	else if (wanted.size < 2048)
		return -ENOMEM;
	slot->altstack = wanted;
	return 0;
}

i64 trap_sigaltstack(struct trap *trap)
{
	struct altstack *now = &trap->slot->altstack, wanted, old = *now;
	u64 sp = registers(trap->uc)->sp;
	i64 r = 0;

	old.flags &= SS_AUTODISARM;
	old.flags |= !now->size ? SS_DISABLE : on_altstack(now, sp) ? SS_ONSTACK : 0;
	if (trap->args[0]) {
		if (copy_user(&wanted, (void *)trap->args[0], sizeof wanted))
			return -EFAULT;
		lend(trap->slot);
		r = set_altstack(trap->slot, wanted, sp);
	}
	if (!r && trap->args[1] && copy_user((void *)trap->args[1], &old, sizeof old))
		return -EFAULT;
	return r;
}
