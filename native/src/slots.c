/*
 * A thread's slot: its header and its real alternate signal stack. While a thread is inside an enclave its FS base
 * is the enclave's, so it is known by where its stack lies, never by TLS.
 */
#include "stub.h"
#include <linux/mman.h>

_Static_assert(sizeof(struct slot) <= 1024, "the header leaves the slot to the stack");

u32 slots_used;
static u32 slots_lock, next_look;
static u32 own_pid; /* survives fork, unlike process->pid */

static u64 stack_of(struct slot *slot)
{
	return (u64)slot + 1024;
}

void slots_start(void)
{
	i64 at = sys(__NR_mmap, STUB_MAP_PROCESS, PAGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if (at != STUB_MAP_PROCESS || sys(__NR_madvise, STUB_MAP_PROCESS, PAGE, MADV_WIPEONFORK))
		die("no page that fork wipes (needs Linux 4.14)");
	process->pid = own_pid = (u32)sys(__NR_getpid);
}

/* A free slot, one whose thread has gone, or the next unused one. */
static struct slot *claim(u32 tid)
{
	struct slot *found = NULL;

	lock(&slots_lock);
	for (u32 tries = 0; tries < 8 && tries < slots_used && !found; tries++) {
		struct slot *slot = SLOT(next_look++ % slots_used);
		if (!slot->tid || slot->tid == tid || is_gone(slot->tid))
			found = slot;
	}
	for (u32 i = 0; i < slots_used && !found && slots_used == STUB_MAP_SLOT_COUNT; i++)
		if (!SLOT(i)->tid || is_gone(SLOT(i)->tid))
			found = SLOT(i);
	if (!found) {
		if (slots_used == STUB_MAP_SLOT_COUNT)
			die("more threads than the stub has room for");
		found = SLOT(slots_used);
		/* Nothing is reserved beforehand: that would count against a limit of address space. */
		if (sys(__NR_mmap, found, STUB_MAP_SLOT_SIZE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0) != (i64)found)
			die("no memory for another thread's signal stack");
		found->index = slots_used++;
	}
	/* What was sent to the process, and waits here, any thread may still take. */
	u64 kept = found->tid ? found->waiting & found->shared : 0;
	u32 index = found->index;
	memset(found, 0, __builtin_offsetof(struct slot, sent));
	found->index = index;
	found->tid = tid;
	found->waiting = found->shared = kept;
	found->altstack.flags = SS_DISABLE;
	unlock(&slots_lock);
	return found;
}

static struct slot *slot_at(u64 address)
{
	u64 index = (address - STUB_MAP_SLOTS) / STUB_MAP_SLOT_SIZE;

	return index < STUB_MAP_SLOT_COUNT ? SLOT(index) : NULL;
}

/* The kernel knows: by a thread's id one could find the slot of another that had the same. */
struct slot *running_slot(void)
{
	struct altstack stack = { 0 };

	sys(__NR_sigaltstack, 0, &stack);
	return slot_at(stack.sp);
}

static void use_stack(struct slot *slot, struct altstack *stack)
{
	*stack = (struct altstack){ stack_of(slot), 0, 0, STUB_MAP_SLOT_SIZE - 1024 };
}

/* The main thread, before any handler can run. */
struct slot *first_slot(void)
{
	struct slot *slot = claim((u32)sys(__NR_gettid));
	struct altstack stack;

	use_stack(slot, &stack);
	sys(__NR_sigaltstack, &stack, 0);
	return slot;
}

/* A fork child: nothing shared is its own. `mine`: the only thread's slot, a copy of the parent's, if it has one. */
static void adopt_process(struct slot *mine)
{
	process->parent = own_pid;
	process->pid = own_pid = (u32)sys(__NR_getpid);
	slots_lock = actions_lock = 0; /* other threads of the parent may have held them */
	next_look = 0;
	for (u32 i = 0; i < slots_used; i++)
		SLOT(i)->tid = 0;
	enclaves_forget();
	if (!mine)
		return;
	mine->tid = (u32)sys(__NR_gettid);
	mine->vfork_tid = 0;
	mine->lent = false;
	mine->waiting = 0;
	mine->dispatching = false; /* the kernel does not hand it on */
}

struct slot *slot_of_handler(ucontext_t *uc)
{
	struct slot *slot = slot_at((u64)uc);
	u64 all = ~0UL, mask;

	if (!process->pid)
		adopt_process(slot);
	if (slot)
		return slot;
	/* A thread's first trap: it has no alternate stack yet. The frame we return through gives it ours. */
	sys(__NR_rt_sigprocmask, SIG_SETMASK, &all, &mask, 8);
	slot = claim((u32)sys(__NR_gettid));
	use_stack(slot, (struct altstack *)&uc->uc_stack);
	/* At once, too: what comes while this handler runs must find it. */
	sys(__NR_sigaltstack, &uc->uc_stack, 0);
	sys(__NR_rt_sigprocmask, SIG_SETMASK, &mask, 0, 8);
	return slot;
}
