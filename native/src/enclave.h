/* Between tcs.c, entry.c, enclave.c and ssa.c. */
#ifndef VITRINE_ENCLAVE_H
#define VITRINE_ENCLAVE_H

#include "stub.h"

static inline u64 rdfsbase(void) { u64 v; asm volatile("rdfsbase %0" : "=r"(v)); return v; }
static inline u64 rdgsbase(void) { u64 v; asm volatile("rdgsbase %0" : "=r"(v)); return v; }
static inline void wrfsbase(u64 v) { asm volatile("wrfsbase %0" ::"r"(v) : "memory"); }
static inline void wrgsbase(u64 v) { asm volatile("wrgsbase %0" ::"r"(v) : "memory"); }

static inline u64 alias_of(const struct entry *entry, u64 address)
{
	return entry->alias + (address - entry->record.base);
}

static inline volatile u32 *generation_of(u32 enclave)
{
	return &session->enclaves[enclave].generation;
}

static inline bool is_current(const struct entry *entry)
{
	return entry && entry->mappings == mapping_changes &&
	       entry->generation == __atomic_load_n(generation_of(entry->enclave), __ATOMIC_SEQ_CST);
}

static inline bool frame_is_checked(const struct entry *entry, u32 frame)
{
	return (u32)entry->record.frames == frame || entry->record.frames >> 32 == frame ||
	       (frame < 64 && entry->checked_frames >> frame & 1);
}

/* ---- tcs.c ---- */

struct entry *find_entry(u64 tcs);
/* Has the host check the TCS. NULL: a fault, described in the thread's record. */
struct entry *check_with_host(struct slot *slot, u64 tcs, u64 aep, u32 leaf);

/* Some page of the enclave is gone for good, although a thread was in need of it: reads give zeros. */
bool has_stand_ins(const struct entry *entry);

/* ---- entry.c ---- */

bool take_state(struct slot *slot, struct entry *entry, u64 aep, bool *stale);
void leave_state(struct slot *slot);

/* ---- ssa.c ---- */

u32 exit_info_of(const struct entry *entry, u32 vector);
struct gprsgx *ssa_gpr(const struct entry *entry, u32 frame);
void save_to_ssa(struct slot *slot, ucontext_t *uc, u32 exit_info, u32 error, u64 address);
bool resume_from_ssa(const struct entry *entry, ucontext_t *uc, u32 frame);

#endif
