/*
 * The stub: what must happen inside the target. One header for all of it; each group names its file.
 *
 * A target process starts as the loader (loader.c): it installs handlers, filters and CPUID faulting (start.c), maps
 * the program (elf.c) beside itself and jumps. From then on the stub only runs when the kernel hands it a signal:
 * SIGSYS for a trapped system call (trap.c), SIGILL for ENCLU (enclave.c), SIGSEGV and SIGBUS for enclave pages
 * and CPUID (fault.c), and every signal the program itself handles (signals.c, masks.c).
 *
 * Memory: everything static here is private to the process and copied by fork. `process` lies in a page that fork
 * wipes, so a child sees zero there and adopts itself. The session area is shared with the host.
 * Handlers run on the thread's slot (slots.c) with all signals blocked but the synchronous ones.
 */
#ifndef VITRINE_STUB_H
#define VITRINE_STUB_H

#include "sys.h"
#include <asm/sigcontext.h>
#include <asm/signal.h>
#include <asm/siginfo.h>
#include <asm/ucontext.h>
#include <asm/unistd.h>
#include <asm-generic/errno.h>
#include <linux/signal.h>
#include "../include/layout.h"

typedef struct ucontext ucontext_t;

/* ---- loader.c, elf.c, vdso.c, exec.c ------------------------------------------------------------------------- */

/*
 * How the loader is called: NAME GATE STATE EXECUTABLE ARGV0 [ARG...]
 *   NAME        [.../]vitrine-stub; or inside a target what execve was given: AT_EXECFN, and the command name of scripts
 *   GATE        number of the descriptor on which the way to the host comes (channel.c); every image has it as
 *               STUB_FD_GATE from then on; "no-host": there is none, which only tests want
 *   STATE       FLAGS[:MASK:FD], hexadecimal. FLAGS: bit s-1 = the program inherited signal s as ignored, where that is one
 *               the kernel must not see ignored; bit 63 = the first filter stands already; bit 62 = the second, too.
 *               After an exec inside a target also its signal mask, and a descriptor on which the program is open
 *   EXECUTABLE  path of the program, absolute; what /proc/self/exe answers
 *   ARGV0...    what the program gets
 */
#define STATE_FILTERED (1UL << 63)
#define STATE_FILTERED_TWICE (1UL << 62)

struct launch {
	const char *gate;
	u64 state;
	const char *executable;
	int argc;
	char **argv, **envp;
	u64 *auxv;
};
extern struct launch launch;

/* Maps the program and its interpreter; a result is where to start. Errors as execve would give. */
struct image {
	u64 entry;              /* where to jump: the interpreter's entry or the program's */
	u64 program_entry;      /* AT_ENTRY */
	u64 program_headers;    /* AT_PHDR */
	u64 program_header_count;
	u64 interpreter_base;   /* AT_BASE */
	u64 end;                /* highest byte of the program: where the heap may begin */
	u64 code_start, code_end, data_start, data_end;
	bool executable_stack;
};
i64 map_program(int fd, struct image *image);

/* Builds the substitute vDSO from the real one (0 = none) and returns its address. */
u64 build_vdso(u64 real);

/* execve and execveat: all checks the kernel makes before the point of no return, #! lines, then the loader again. */
i64 do_exec(int directory, const char *path, char *const *argv, char *const *envp, int flags);

/* Copies a string of the program: its length, -EFAULT, or -ENAMETOOLONG when `size` bytes hold no NUL. */
i64 copy_string(char *to, size_t size, const char *from);

/* Whether (directory, path) names /proc/self/exe or its other spellings. */
bool names_own_executable(int directory, const char *path);
/* Which device node (index into the node table of layout.h) it names, or -1. `directory` may be AT_FDCWD. */
int names_device(int directory, const char *path);
/* ... it is a link to, as /proc/self/fd/3 may be. Opening that opens the device anew. */
int names_device_link(int directory, const char *path);
extern const char *const device_nodes[];

/* The interrupted registers, by their kernel names. */
static inline struct sigcontext_64 *registers(ucontext_t *uc) { return (struct sigcontext_64 *)&uc->uc_mcontext; }

/* ---- start.c: what every image needs before the program runs -------------------------------------------------- */

void stub_start(void);                          /* before the program is mapped */
#define NO_DESCRIPTORS "needs descriptors 1020 to 1023: raise the limit of open files (ulimit -n)"
i64 keep_descriptor(i64 fd, i32 as, u32 flags); /* as one of ours; closes fd */
void second_filter(void);                       /* at the first open or mapping of a device, when there is a session */
extern bool second_filter_on;
void __attribute__((noreturn)) die(const char *reason);  /* "vitrine: REASON" on standard error, then SIGKILL */
void complain(const char *text);                /* "vitrine: TEXT" on standard error */

/* The one protection key of enclave memory; key_on is false where the processor has none. */
extern bool key_on;
extern u32 key, key_denied;                     /* its number; PKRU as the kernel starts a handler with */
i64 protect(u64 start, u64 size, u64 prot);     /* mprotect of enclave memory, keeping its key */

/*
 * Opens enclave memory to this thread: in a handler until it returns (the frame says what holds then), in an entry
 * that does not trap until the enclave is left.
 */
static inline u32 rdpkru(void)
{
	u32 value, unused;
	asm volatile("rdpkru" : "=a"(value), "=d"(unused) : "c"(0));
	return value;
}
static inline void wrpkru(u32 value) { asm volatile("wrpkru" ::"a"(value), "c"(0), "d"(0) : "memory"); }
static inline void open_memory(void)
{
	if (key_on)
		wrpkru(rdpkru() & ~(3u << 2 * key));
}
static inline void close_memory(void)
{
	if (key_on)
		wrpkru(rdpkru() | 1u << 2 * key);
}

/* Where XSAVE keeps component i in the standard format; from CPUID.D. */
extern struct xsave_component { u32 offset, size; } xsave_components[64];
extern u64 xsave_supported;

/* ---- slots.c: a thread's place ------------------------------------------------------------------------------- */

struct altstack { u64 sp; i32 flags; u32 pad; u64 size; };

/* The head of a slot; the rest of its 64 KiB is the alternate stack that the kernel uses for this thread. */
struct slot {
	u32 tid;                        /* 0 = free */
	u32 index;                      /* of this slot, and of its record in the session area */
	u64 blocked;                    /* signals of ours that the program believes blocked (entry.S looks here) */
	u64 waiting;                    /* and those that were sent and wait (pending.c; entry.S, too) */
	u64 inside;                     /* linear address of the TCS while inside an enclave, else 0 */
	struct entry *entry;            /* what was checked about that TCS */
	struct tcs *tcs;                /* the TCS through the stub's own mapping; set when STATE was taken */
	u64 host_fs, host_gs;           /* while inside: the bases to return to */
	u64 aep, outside_sp, outside_bp; /* ... where an exit goes, with which stack unless the save area says so */
	struct entry_frame *entry_frame; /* registers saved by an entry that did not trap (entry.S) */
	u64 mask;                       /* the program's signal mask, of the frame being handled */
	struct altstack altstack;       /* what the program set with sigaltstack */
	u8 dispatch;                    /* Syscall User Dispatch selector: 1 while inside */
	bool dispatching;               /* ... is on for this thread */
	u32 retries;                    /* faults in a row that were "mended" at the same place */
	u64 retry_at;
	u64 shared;                     /* signals that wait, and that any thread may take (pending.c) */
	u64 awaited;                    /* signals of ours that a sigtimedwait waits for */
	u64 restart_at;                 /* a trapped call that must run again after the pending signal; 0 = none */
	u32 vfork_tid;                  /* a vfork child of this thread changed handlers; they are in overlay */
	struct action *overlay;
	bool lent;                      /* a vfork child of this thread has changed what was: */
	u64 lent_blocked;
	struct altstack lent_altstack;
	struct {
		u64 page;               /* two private pages of 0xff */
		u64 mask, delta[2], value[2];
		u8 moved, reg[2];       /* how many registers stand elsewhere for one step */
		bool string, traced;
	} step;                         /* abort-page.c */
	u64 scratch[4];                 /* a mask handed to the kernel by a call that goes on in the program */
	/* Last, and kept when another thread gets the slot: the beginnings of siginfo of the waiting signals. */
	struct { u64 info[4]; } sent[7];
};

#define SLOT(i) ((struct slot *)(STUB_MAP_SLOTS + (u64)(i) * STUB_MAP_SLOT_SIZE))

extern u32 slots_used;
void slots_start(void);
struct slot *first_slot(void);                  /* the main thread's */
struct slot *slot_of_handler(ucontext_t *uc);   /* first thing in a handler; adopts threads and fork children */
struct slot *running_slot(void);                /* of the calling thread; NULL: none yet */

/* ---- channel.c: the host -------------------------------------------------------------------------------------- */

/* Wiped by fork: a child finds zeros. */
struct process {
	u32 pid, parent;                /* parent: whose copy this is, 0 after exec */
	bool connected, ended;          /* ended: there is no host, or it has gone in good order */
	bool refused;                   /* it had no descriptors left; asked again at the next need */
	u32 lock;                       /* descriptors in flight, connecting */
	u32 vma_lock;                   /* vmas.c */
	u32 userfault;                  /* 1: this process has its userfaultfd */
	u32 runs_applied;               /* answers with protections that have been applied (settle) */
};
#define process ((struct process *)STUB_MAP_PROCESS)
#define session ((volatile struct session_header *)STUB_MAP_SESSION)
#define RECORD(i) ((volatile struct thread_record *)(STUB_MAP_SESSION + SESSION_RECORDS_OFFSET) + (i))

bool has_gate(void);
bool session_open(struct slot *slot);           /* connects if need be; false: there is no host, or it refuses */
/* The host looks at no record beyond `records_used`: raised before a thread's first request or entry. */
static inline void show_record(struct slot *slot)
{
	u32 used = session->records_used;

	while (used <= slot->index &&
	       !__atomic_compare_exchange_n(&session->records_used, &used, slot->index + 1, false, __ATOMIC_SEQ_CST,
					    __ATOMIC_SEQ_CST))
		;
}
i64 ask(struct slot *slot, u32 op, u64 a, u64 b, u64 c, u64 d, u64 e);
/* The same, but the protections that came with the answer are for what the caller does first; then it ... */
i64 ask_unsettled(struct slot *slot, u32 op, u64 a, u64 b, u64 c, u64 d, u64 e);
void settle(struct slot *slot);                 /* ... applies them */
void discard(struct slot *slot);                /* ... or forgets them: the mapping did not come about */
i64 ask_for_descriptor(struct slot *slot, u32 op, u64 a, u64 b, bool cloexec);
i64 send_descriptor(i32 fd);
void host_signal(void);                         /* the kick signal may mean that the host is gone */
bool is_gone(u32 tid);                          /* no such thread shares our memory */
u32 lock(u32 *word);                            /* a result is the caller's thread id */
void unlock(u32 *word);
bool signal_waits(u64 mask);                    /* a signal is pending that a thread with this mask would take */

/* ---- vmas.c: which ranges are enclave mappings ------------------------------------------------------------------ */

bool is_enclave_range(u64 start, u64 size);     /* any byte of it */
bool has_enclave_ranges(void);
bool vma_find(u64 address, struct vma_record *found);
void vma_add(u64 start, u64 size, u64 inode, u32 prot);
/* Makes the call by which the range stops to be an enclave's; if it fails, that stays one. */
i64 vma_unmap(u64 start, u64 size, u64 nr, const u64 *args);
void vma_protect(u64 start, u64 size, u32 prot);
/* Counts all three: what was checked of a TCS and its save area holds for the mappings of then. */
extern volatile u32 mapping_changes;
/* Calls `each` for the pieces of a range, enclave or not, in order; stops at the first error. */
i64 vma_pieces(u64 start, u64 size, i64 (*each)(u64 start, u64 size, bool enclave, u64 argument), u64 argument);
void open_userfault(void);
i64 register_range(u64 start, u64 size);        /* holes there shall be SIGBUS */
void vmas_introduce(struct slot *slot);         /* Op.ADOPT, in a fork child */

/* ---- trap.c, calls.c, files.c: trapped system calls -------------------------------------------------------------- */

/* What a trap handler sees and decides. */
struct trap {
	struct slot *slot;
	ucontext_t *uc;
	u64 nr, args[6];
	enum { TRAP_RESULT, TRAP_PASS, TRAP_RESTART } what;
	u64 edited, edited_value;       /* TRAP_PASS: the argument (EDIT_*) that is replaced for the kernel */
};
#define EDIT_NONE 0
#define EDIT_RDI 1
#define EDIT_RSI 2
#define EDIT_R8 3
#define EDIT_R9 4
#define EDIT_R10 5
#define EDIT_FORK 6                     /* nothing: the child traps before it goes on */

i64 pass(struct trap *trap);                            /* the kernel shall do it, in the program's own context */
i64 pass_edited(struct trap *trap, u64 which, u64 value);
void on_sigsys(struct slot *slot, siginfo_t *info, ucontext_t *uc);
/* A signal hit a passed call: show the program its own code. True in a fork child that has not come that far yet. */
bool leave_trampoline(ucontext_t *uc);

/* ---- signals.c, masks.c ------------------------------------------------------------------------------------------ */

struct action { u64 handler, flags, restorer, mask; };
#define SIGNAL_BIT(s) (1UL << ((s) - 1))
/* Signals whose kernel handler is always ours and that are never blocked. */
#define RESERVED_SIGNALS (SIGNAL_BIT(4) | SIGNAL_BIT(5) | SIGNAL_BIT(7) | SIGNAL_BIT(8) | SIGNAL_BIT(11) | \
			  SIGNAL_BIT(31) | SIGNAL_BIT(KICK_SIGNAL))

extern u32 actions_lock;
void signals_start(struct slot *slot, u64 inherited_ignored);
u64 ignored_state(void);
void let_defaults_through(struct slot *slot);
/* Makes the return from our handler enter the program's; or does what the default is. */
void deliver(struct slot *slot, int signal, siginfo_t *info, ucontext_t *uc);
void send_again(int signal, siginfo_t *info);           /* taken when our handler returns */
u64 *mask_of(ucontext_t *uc);
void block(struct slot *slot, ucontext_t *uc, u64 mask);  /* from our return on, as the program asks for it */
void take_back(struct slot *slot);                      /* what a vfork child of this thread has changed */
extern const struct altstack no_stack;
bool lies_on(const struct altstack *stack, u64 sp);
bool on_altstack(const struct altstack *stack, u64 sp); /* ... and the kernel would count it as in use */
i64 set_altstack(struct slot *slot, struct altstack wanted, u64 sp);
u64 *frame_xstate(ucontext_t *uc, u64 *size);           /* the XSAVE image in our frame, NULL if none */
void frame_key(ucontext_t *uc, bool allow);              /* enclave memory after our return */

/* ---- pending.c ---- */

void keep_signal(struct slot *slot, int signal, const siginfo_t *info);     /* until the handler returns */
void wait_unblocked(struct slot *slot, int signal, const siginfo_t *info);  /* until the program unblocks it */
u64 waiting_signals(struct slot *slot);                                     /* for this thread */
int take_signal(struct slot *slot, u64 set, siginfo_t *info);               /* one of them; 0: none */

void hand_to_next_image(struct slot *slot);

/* ---- tcs.c, entry.c, enclave.c ------------------------------------------------------------------------------------------ */

/* A TCS that the host has checked; never moved or freed. */
struct entry {
	struct entry *next;
	u64 tcs;                        /* its linear address */
	struct tcs_record record;
	u64 alias;                      /* the stub's mapping: alias + linear address - base */
	u32 generation, enclave;        /* of the check; index into the session's enclaves */
	u32 mappings;                   /* `mapping_changes` when it was asked for */
	u64 checked_frames;             /* of the first 64 SSA frames, by all checks of this generation */
};

bool on_enclu(struct slot *slot, ucontext_t *uc);       /* false: no ENCLU there */
void leave_by_exception(struct slot *slot, ucontext_t *uc, u32 vector, u32 error, u64 address);
void leave_by_interrupt(struct slot *slot, ucontext_t *uc); /* AEX for an asynchronous signal */
void undo_entry(struct slot *slot, ucontext_t *uc);     /* a signal hit an entry before its jump */
bool in_entry(u64 rip);
bool rdtsc_is_illegal(void);                            /* inside an enclave, on this machine */
void raise_exception(struct slot *slot, ucontext_t *uc, u32 vector, u32 error, u64 address, int signal, int code);
i64 catch_up(struct slot *slot);                        /* the kick: protections of the current generation; not 0: leave */
void enclaves_forget(void);                             /* in a fork child: nothing cached is its own */
bool alias_fault(struct slot *slot, ucontext_t *uc, u64 address);
bool code_is(struct slot *slot, u64 rip, const u8 *wanted, u64 size); /* up to 4 bytes, in or outside */
bool in_elrange(struct slot *slot, u64 address);        /* of the enclave that the thread is in */
void bus_error(struct slot *slot, ucontext_t *uc, u32 error, u64 address); /* in or outside */

/* ---- abort-page.c --------------------------------------------------------------------------------------------------- */

/* Lets one instruction outside see all ones where it reads enclave memory; false: it cannot be done. */
bool abort_page(struct slot *slot, ucontext_t *uc, u64 address);
void abort_page_end(struct slot *slot, ucontext_t *uc);

/* A general register by its number in instructions. */
u64 *general(struct sigcontext_64 *regs, u32 number);
#define REG_RBX 3
#define REG_RSP 4
#define REG_RSI 6
#define REG_RDI 7

/* ---- fault.c ------------------------------------------------------------------------------------------------------ */

void count_retry(struct slot *slot, u64 address);       /* dies when a page faults again and again */
void on_memory_signal(struct slot *slot, int signal, siginfo_t *info, ucontext_t *uc);

/* ---- cpuid.c, decode.c ---------------------------------------------------------------------------------------------- */

extern bool replaces_cpuid;                             /* CPUID does not fault here: it is replaced in what files bring */
void cpuid_start(void);
void replace_cpuids(int fd, u64 offset, u64 start, u64 size, u64 prot); /* in a private mapping that nobody runs yet */
bool on_cpuid(struct slot *slot, ucontext_t *uc);       /* false: something else faulted */

#define MAX_INSTRUCTION 15
#define NO_INSTRUCTION 64
#define DECODE_BYTES 32                                 /* as much may be looked at */
u32 instruction_length(const u8 code[DECODE_BYTES]);    /* 0: there is no such instruction */
bool is_legacy_prefix(u8 byte);

/* ---- entry.S -------------------------------------------------------------------------------------------------------- */

i64 copy_user(void *to, const void *from, u64 size);    /* 0 or -EFAULT; faults on either side are caught */
extern char copy_user_start[], copy_user_end[], copy_user_fault[];
extern char vdso_sgx_enter_enclave[], vdso_enclu[], vdso_after_enclu[], vdso_exception[];
extern char signal_entry[], signal_restorer[], signal_return[], signal_return_end[];
extern char trampoline_none[], trampoline_rdi[], trampoline_rsi[], trampoline_r8[], trampoline_r9[], trampoline_r10[];
extern char trampoline_fork[];
extern char trampolines_end[];
#define TRAMPOLINE_SIZE 32
#define TRAMPOLINE_FRAME 160

#endif
