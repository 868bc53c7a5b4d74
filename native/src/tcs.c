/*
 * What the host has checked about each TCS, kept so that an entry need not ask; it holds for one generation of the
 * enclave. And the stub's own mapping of each enclave, the alias, through which it reaches TCS, SSA and code.
 */
#include "enclave.h"
#include <linux/mman.h>

_Static_assert(__builtin_offsetof(struct tcs_record, enclave) == sizeof(struct tcs_record) - 8, "copied from `out`");

#define BUCKETS 1024
static struct entry *buckets[BUCKETS];
static u32 entries_lock;
/* By the enclave's index in the session. */
static struct alias { u64 at, base, size, id; bool stands_in; } aliases[SESSION_ENCLAVES];

void enclaves_forget(void)
{
	entries_lock = 0;
	memset(buckets, 0, sizeof buckets);
	memset(aliases, 0, sizeof aliases);
}

struct entry *find_entry(u64 tcs)
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
	u64 id = session->enclaves[enclave].id;

	bool known = alias->at && alias->id == id;
	if (known && !alias->stands_in)
		return alias->at;
	/* Of an enclave that is gone: the next one may have its index and its place. */
	if (alias->at && !known)
		sys(__NR_munmap, alias->at, alias->size);
	i64 fd = ask_for_descriptor(slot, OP_ALIAS, enclave, 0, true);
	if (is_error(fd))
		die("the host did not give the enclave's memory");
	open_userfault();
	i64 at = sys(__NR_mmap, known ? alias->at : 0, size, PROT_NONE, MAP_SHARED | MAP_NORESERVE | (known ? MAP_FIXED : 0),
		     fd, base);
	sys(__NR_close, fd);
	if (is_error(at) || protect(at, size, PROT_READ | PROT_WRITE) || register_range(at, size))
		die("cannot map an enclave for the stub's own use; is the address space limited (ulimit -v)?");
	sys(__NR_madvise, at, size, MADV_DONTFORK);
	*alias = (struct alias){ at, base, size, id, false };
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

static u64 bit_of_frame(u32 frame)
{
	return frame < 64 ? 1UL << frame : 0;
}

/* Has the host check the TCS. NULL: a fault, described in the thread's record. */
struct entry *check_with_host(struct slot *slot, u64 tcs, u64 aep, u32 leaf)
{
	volatile struct thread_record *record = RECORD(slot->index);
	u32 mappings = mapping_changes;
	i64 verdict = ask(slot, OP_ENTER, tcs, aep, leaf, 0, 0);
	struct tcs_record checked;

	if (verdict != VERDICT_RETRY)
		return NULL;
	for (u32 i = 0; i < sizeof checked / 8; i++)
		((u64 *)&checked)[i] = record->out[i];
	lock(&entries_lock);
	u64 alias = map_alias(slot, (u32)checked.enclave % SESSION_ENCLAVES);
	struct entry *entry = find_entry(tcs), *fresh = entry ? entry : new_entry();
	u32 index = (u32)checked.enclave % SESSION_ENCLAVES, generation = (u32)(checked.enclave >> 32);
	u64 frames = bit_of_frame((u32)checked.frames) | bit_of_frame((u32)(checked.frames >> 32));
	if (entry && entry->enclave == index && entry->generation == generation && entry->mappings == mappings)
		frames |= entry->checked_frames;
	fresh->checked_frames = frames;
	fresh->tcs = tcs;
	fresh->record = checked;
	fresh->alias = alias;
	fresh->enclave = index;
	fresh->mappings = mappings;
	/* Last: who finds it current believes the rest. */
	__atomic_store_n(&fresh->generation, generation, __ATOMIC_RELEASE);
	if (!entry) {
		fresh->next = buckets[tcs / PAGE % BUCKETS];
		__atomic_store_n(&buckets[tcs / PAGE % BUCKETS], fresh, __ATOMIC_RELEASE);
	}
	unlock(&entries_lock);
	return fresh;
}

/*
 * The TCS or the save area was taken away while this thread is inside: the kernel lets that happen. What it leaves
 * there, nobody will read.
 *
 * Model: the thread goes on until it leaves by itself. Hardware interrupts it at once, and its ERESUME faults.
 */
static void stand_in(struct alias *alias, u64 page)
{
	i64 r = sys(__NR_mmap, page, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	if (is_error(r) || protect(page, PAGE, PROT_READ | PROT_WRITE))
		die("out of memory");
	alias->stands_in = true;
}

bool has_stand_ins(const struct entry *entry)
{
	return aliases[entry->enclave].stands_in;
}

bool in_elrange(struct slot *slot, u64 address)
{
	return slot->inside && address - slot->entry->record.base < slot->entry->record.size;
}

/* Enclave code may be execute-only: it is read through the alias. */
bool code_is(struct slot *slot, u64 rip, const u8 *wanted, u64 size)
{
	u8 code[4];

	if (in_elrange(slot, rip))
		rip = alias_of(slot->entry, rip);
	return !copy_user(code, (void *)rip, size) && !memcmp(code, wanted, size);
}

/* The stub touched enclave memory through its own mapping and the page is away: have it brought back, try again. */
bool alias_fault(struct slot *slot, ucontext_t *uc, u64 address)
{
	struct sigcontext_64 *regs = registers(uc);

	if (regs->ip < STUB_MAP_IMAGE || regs->ip >= STUB_MAP_IMAGE + STUB_MAP_IMAGE_SIZE)
		return false;
	for (u32 i = 0; i < ARRAY_LENGTH(aliases); i++) {
		struct alias *alias = &aliases[i];
		if (!alias->at || address - alias->at >= alias->size)
			continue;
		if (ask(slot, OP_LOAD, alias->base + (address - alias->at), 0, 0, 0, 0) != VERDICT_RETRY) {
			/* A look at code that is not there. */
			if (regs->ip >= (u64)copy_user_start && regs->ip < (u64)copy_user_end)
				return false;
			stand_in(alias, ALIGN_DOWN(address, PAGE));
		}
		count_retry(slot, address);
		let_defaults_through(slot);
		return true;
	}
	return false;
}
