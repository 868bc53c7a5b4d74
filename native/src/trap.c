/*
 * A trapped system call arrives as SIGSYS. Its handler gives a result, or lets the kernel do the call *in the
 * program's own context*: the frame returns to a trampoline, a system call instruction of the stub's (which the
 * filters exempt) that then returns to the program. So a call that blocks is interrupted, restarted and masked by
 * the kernel exactly as if it had never been trapped.
 */
#include "stub.h"
#include <linux/audit.h>
#include "../include/traps.h"

#define SYS_SECCOMP_CODE 1
#define SYS_USER_DISPATCH_CODE 2

#define DECLARE(nr, name) i64 trap_##name(struct trap *trap);
TRAPPED_CALLS(DECLARE)
#define ENTRY(nr, name) [nr] = trap_##name,
static i64 (*const handlers[])(struct trap *) = { TRAPPED_CALLS(ENTRY) };

static char *const trampolines[] = {
	[EDIT_NONE] = trampoline_none, [EDIT_RDI] = trampoline_rdi, [EDIT_RSI] = trampoline_rsi,
	[EDIT_R8] = trampoline_r8, [EDIT_R9] = trampoline_r9, [EDIT_R10] = trampoline_r10, [EDIT_FORK] = trampoline_fork,
};

i64 pass(struct trap *trap)
{
	trap->what = TRAP_PASS;
	trap->edited = EDIT_NONE;
	return 0;
}

i64 pass_edited(struct trap *trap, u64 which, u64 value)
{
	trap->what = TRAP_PASS;
	trap->edited = which;
	trap->edited_value = value;
	return 0;
}

static u64 *edited_register(struct sigcontext_64 *regs, u64 which)
{
	static const u8 numbers[] = {
		[EDIT_RDI] = REG_RDI, [EDIT_RSI] = REG_RSI, [EDIT_R8] = 8, [EDIT_R9] = 9, [EDIT_R10] = 10,
	};
	return general(regs, numbers[which]);
}

/* Lays the trampoline's frame below the program's red zone. */
static void go_on_in_program(struct trap *trap)
{
	struct sigcontext_64 *regs = registers(trap->uc);
	u64 frame[2] = { regs->ip, 0 };

	if (trap->edited && trap->edited != EDIT_FORK) {
		u64 *edited = edited_register(regs, trap->edited);
		frame[1] = *edited;
		*edited = trap->edited_value;
	}
	regs->ax = trap->nr;
	if (copy_user((void *)(regs->sp - TRAMPOLINE_FRAME), frame, sizeof frame)) {
		/* No room on its stack: do the call here. */
		if (trap->edited && trap->edited != EDIT_FORK)
			*edited_register(regs, trap->edited) = frame[1];
		regs->ax = sys(trap->nr, trap->args[0], trap->args[1], trap->args[2], trap->args[3], trap->args[4],
			       trap->args[5]);
		return;
	}
	regs->sp -= TRAMPOLINE_FRAME;
	regs->ip = (u64)trampolines[trap->edited];
}

bool leave_trampoline(ucontext_t *uc)
{
	struct sigcontext_64 *regs = registers(uc);
	u64 frame[2], which;

	if (regs->ip < (u64)trampoline_none || regs->ip >= (u64)trampolines_end)
		return false;
	which = (regs->ip - (u64)trampoline_none) / TRAMPOLINE_SIZE;
	if (copy_user(frame, (void *)regs->sp, sizeof frame))
		die("a stack that vanished under a system call");
	/* Before the system call (again): back to the program's own instruction, which traps anew. */
	bool before = regs->ip == (u64)trampolines[which];
	regs->ip = before ? frame[0] - 2 : frame[0];
	if (which && which != EDIT_FORK)
		*edited_register(regs, which) = frame[1];
	regs->sp += TRAMPOLINE_FRAME;
	return which == EDIT_FORK && !before && regs->ax == 0;
}

/* With a key the first touch traps by itself. */
static i64 pass_fork(struct trap *trap)
{
	pass(trap);
	if (!key_on && has_enclave_ranges())
		trap->edited = EDIT_FORK;
	return 0;
}

i64 trap_fork(struct trap *trap) { return pass_fork(trap); }
i64 trap_clone(struct trap *trap) { return pass_fork(trap); }

static void dispatch(struct slot *slot, siginfo_t *info, ucontext_t *uc)
{
	struct sigcontext_64 *regs = registers(uc);
	u32 nr = (u32)info->si_syscall;
	struct trap trap = { .slot = slot, .uc = uc, .nr = nr,
			     .args = { regs->di, regs->si, regs->dx, regs->r10, regs->r8, regs->r9 } };

	slot->restart_at = 0;
	slot->retries = 0;
	slot->awaited = 0;
	/* int 0x80 and x32 are no way around: the kernel has no such calls, as far as the program can tell. */
	if (info->si_arch != AUDIT_ARCH_X86_64 || nr >= ARRAY_LENGTH(handlers) || !handlers[nr]) {
		regs->ax = (u64)-ENOSYS;
		return;
	}
	i64 result = handlers[nr](&trap);
	switch (trap.what) {
	case TRAP_RESULT:
		regs->ax = (u64)result;
		break;
	case TRAP_PASS:
		go_on_in_program(&trap);
		break;
	case TRAP_RESTART:
		/* As ERESTARTSYS: the pending signal is taken first, then the call runs again or gives EINTR (deliver). */
		regs->ip -= 2;
		regs->ax = nr;
		slot->restart_at = regs->ip;
		break;
	}
}

void on_sigsys(struct slot *slot, siginfo_t *info, ucontext_t *uc)
{
	if (info->si_code == SYS_USER_DISPATCH_CODE) {
		struct sigcontext_64 *regs = registers(uc);
		regs->ip -= 2;
		if (slot->inside) {
			/* SYSCALL inside an enclave is #UD. */
			leave_by_exception(slot, uc, VECTOR_UD, 0, 0);
			return;
		}
		slot->dispatch = 0;
		regs->ax = (u32)info->si_syscall;
		return;
	}
	if (info->si_code != SYS_SECCOMP_CODE || info->si_errno != TRAP_MARK) {
		deliver(slot, 31, info, uc);
		return;
	}
	dispatch(slot, info, uc);
}
