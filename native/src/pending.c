/*
 * Signals of ours that somebody sent and that the program blocks, or that came while a handler of ours ran. The kernel
 * must not have them blocked (a fault or a trapped call would then kill), so they wait in the slot of the thread that
 * got them: one of each, as standard signals do in the kernel. Those sent to the process any thread may take.
 *
 * Model: a signalfd does not show them, ppoll and sigsuspend do not let them through.
 */
#include "stub.h"

#define SI_QUEUE_CODE -1
#define SI_TKILL_CODE -6

/* Signals that may wait for the whole process in some slot. */
static u64 shared_somewhere;

static u32 place_of(int signal)
{
	u32 place = 0;

	for (u64 below = RESERVED_SIGNALS & (SIGNAL_BIT(signal) - 1); below; below &= below - 1)
		place++;
	return place;
}

void keep_signal(struct slot *slot, int signal, const siginfo_t *info)
{
	u64 bit = SIGNAL_BIT(signal);

	if (slot->waiting & bit)
		return;
	memcpy(&slot->sent[place_of(signal)], info, sizeof slot->sent[0]);
	if (info->si_code == SI_TKILL_CODE) {
		slot->shared &= ~bit;
	} else {
		slot->shared |= bit;
		__atomic_or_fetch(&shared_somewhere, bit, __ATOMIC_SEQ_CST);
	}
	__atomic_or_fetch(&slot->waiting, bit, __ATOMIC_SEQ_CST);
}

/* To a thread that would take it; the kernel chose one that, as far as it knew, did. */
static bool hand_over(struct slot *slot, int signal, const siginfo_t *info)
{
	siginfo_t copy = *info;

	/* To another thread nothing may look as if the kernel had sent it. */
	copy.si_code = SI_QUEUE_CODE;
	for (u32 i = 0; i < slots_used; i++) {
		struct slot *to = SLOT(i);
		if (to->tid && to->tid != slot->tid && !(to->blocked & ~to->awaited & SIGNAL_BIT(signal)) &&
		    !sys(__NR_rt_tgsigqueueinfo, process->pid, to->tid, signal, &copy))
			return true;
	}
	return false;
}

void wait_unblocked(struct slot *slot, int signal, const siginfo_t *info)
{
	slot->awaited = 0;
	if (info->si_code == SI_TKILL_CODE || !hand_over(slot, signal, info))
		keep_signal(slot, signal, info);
}

static u64 waiting_in(struct slot *of, struct slot *slot)
{
	return of == slot ? of->waiting : of->tid ? of->waiting & of->shared : 0;
}

u64 waiting_signals(struct slot *slot)
{
	u64 waiting = slot->waiting;

	for (u32 i = 0; i < slots_used && shared_somewhere; i++)
		waiting |= waiting_in(SLOT(i), slot);
	return waiting;
}

static int take_from(struct slot *of, struct slot *slot, u64 set, siginfo_t *info)
{
	u64 found = waiting_in(of, slot) & set, bit = found & -found;

	if (!bit)
		return 0;
	memset(info, 0, sizeof *info);
	memcpy(info, &of->sent[place_of(__builtin_ctzl(bit) + 1)], sizeof of->sent[0]);
	return __atomic_fetch_and(&of->waiting, ~bit, __ATOMIC_SEQ_CST) & bit ? info->si_signo : 0;
}

int take_signal(struct slot *slot, u64 set, siginfo_t *info)
{
	int signal = take_from(slot, slot, set, info);

	if (signal || !(shared_somewhere & set))
		return signal;
	__atomic_and_fetch(&shared_somewhere, ~set, __ATOMIC_SEQ_CST);
	for (u32 i = 0; i < slots_used; i++) {
		u64 bits = waiting_in(SLOT(i), slot) & set;
		if (!signal)
			signal = take_from(SLOT(i), slot, set, info);
		/* Perhaps not the last: looked for again. */
		__atomic_or_fetch(&shared_somewhere, bits, __ATOMIC_SEQ_CST);
	}
	return signal;
}

/*
 * Before an exec the kernel gets what waits, really blocked: the next image finds it pending (signals_start). Not by a
 * vfork child, for what waits is its parent's. If the exec fails, the return from our handler lets them through to wait again.
 */
void hand_to_next_image(struct slot *slot)
{
	siginfo_t info;
	int signal;

	if ((u32)sys(__NR_getpid) != process->pid)
		return;
	while ((signal = take_signal(slot, RESERVED_SIGNALS, &info)))
		send_again(signal, &info);
}
