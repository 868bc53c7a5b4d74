/*
 * Which ranges of this process are enclave mappings. The host has the authoritative list; this copy tells the stub
 * whether a call or a fault concerns it, and a fork child what it inherited. Sorted, never merged (the driver's
 * VMAs are not either).
 *
 * Another thread may fork at any instruction: there are two tables, a change is made in the one that is not in use, and
 * one store then makes it the one in use. A range is in it only while its mapping is there, so that no child takes other
 * memory for an enclave's: entered after it is mapped, taken out before it is unmapped.
 */
#include "stub.h"
#include <linux/mman.h>
#include <linux/ioctl.h>
#include <linux/userfaultfd.h>
#include <linux/fcntl.h>

#define MAX_VMAS 4096

static struct table {
	u32 count;
	struct vma_record vmas[MAX_VMAS];
} tables[2], *volatile in_use = tables;
/* Around everything in the table, for who looks without the lock. */
static volatile u64 lowest = ~0UL, highest;
volatile u32 mapping_changes;
#define vma_lock process->vma_lock

bool is_enclave_range(u64 start, u64 size)
{
	u64 end = start + size;
	bool found = false;

	if (start >= highest || end <= lowest)
		return false;
	lock(&vma_lock);
	for (u32 i = 0; i < in_use->count && !found; i++)
		found = in_use->vmas[i].start < end && start < in_use->vmas[i].end;
	unlock(&vma_lock);
	return found;
}

bool has_enclave_ranges(void)
{
	return highest;
}

bool vma_find(u64 address, struct vma_record *found)
{
	bool is_there = false;

	lock(&vma_lock);
	for (u32 i = 0; i < in_use->count && !is_there; i++)
		if (in_use->vmas[i].start <= address && address < in_use->vmas[i].end) {
			*found = in_use->vmas[i];
			is_there = true;
		}
	unlock(&vma_lock);
	return is_there;
}

/* ---- changes ---- */

/*
 * The table to make a change in. A fork that is under way may be copying either; it holds the kernel's lock of our
 * mappings, for which munmap waits, so it sees one change at most, and that one not at all or whole.
 */
static struct table *begin(void)
{
	struct table *next = in_use == tables ? tables + 1 : tables;

	sys(__NR_munmap, STUB_MAP_PROCESS + PAGE, PAGE); /* where nothing is */
	next->count = 0;
	return next;
}

static void use(struct table *next)
{
	u64 first = next->count ? next->vmas[0].start : ~0UL, end = next->count ? next->vmas[next->count - 1].end : 0;

	if (first < lowest)
		lowest = first;
	if (end > highest)
		highest = end;
	__atomic_store_n(&in_use, next, __ATOMIC_SEQ_CST);
	lowest = first;
	highest = end;
	__atomic_add_fetch(&mapping_changes, 1, __ATOMIC_SEQ_CST);
}

static void append_vma(struct table *to, struct vma_record vma)
{
	if (to->count == MAX_VMAS)
		die("more enclave mappings than the stub has room for");
	to->vmas[to->count++] = vma;
}

/* What now lies in [start, end). */
static void append_parts(struct table *to, u64 start, u64 end)
{
	for (u32 i = 0; i < in_use->count; i++) {
		struct vma_record vma = in_use->vmas[i];

		if (vma.start < start)
			vma.start = start;
		if (vma.end > end)
			vma.end = end;
		if (vma.start < vma.end)
			append_vma(to, vma);
	}
}

i64 vma_unmap(u64 start, u64 size, u64 nr, const u64 *args)
{
	lock(&vma_lock);
	struct table *before = in_use, *next = begin();
	append_parts(next, 0, start);
	append_parts(next, start + size, ~0UL);
	use(next);
	i64 r = sys(nr, args[0], args[1], args[2], args[3], args[4], args[5]);
	if (is_error(r))
		use(before);
	unlock(&vma_lock);
	return r;
}

void vma_add(u64 start, u64 size, u64 inode, u32 prot)
{
	lock(&vma_lock);
	struct table *next = begin();
	append_parts(next, 0, start);
	append_vma(next, (struct vma_record){ start, start + size, inode, prot, { 0 } });
	append_parts(next, start + size, ~0UL);
	use(next);
	unlock(&vma_lock);
}

void vma_protect(u64 start, u64 size, u32 prot)
{
	lock(&vma_lock);
	struct table *next = begin();
	append_parts(next, 0, start);
	u32 first = next->count;
	append_parts(next, start, start + size);
	for (u32 i = first; i < next->count; i++)
		next->vmas[i].prot = prot;
	append_parts(next, start + size, ~0UL);
	use(next);
	unlock(&vma_lock);
}

i64 vma_pieces(u64 start, u64 size, i64 (*each)(u64, u64, bool, u64), u64 argument)
{
	u64 end = start + size;

	while (start < end) {
		u64 to = end;
		bool enclave = false;

		lock(&vma_lock);
		for (u32 i = 0; i < in_use->count; i++) {
			const struct vma_record *vma = &in_use->vmas[i];
			if (vma->end <= start)
				continue;
			enclave = vma->start <= start;
			to = enclave ? vma->end : vma->start;
			break;
		}
		unlock(&vma_lock);
		if (to > end)
			to = end;
		i64 r = each(start, to - start, enclave, argument);
		if (r)
			return r;
		start = to;
	}
	return 0;
}

/* ---- holes under userfaultfd: a touch of one is SIGBUS, there are no events to read ---- */

/* Before the first mapping of a process, and before an answer waits to be settled: it takes the channel's lock. */
void open_userfault(void)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_SIGBUS | UFFD_FEATURE_MISSING_SHMEM };

	lock(&process->lock);
	if (!process->userfault) {
		i64 fd = sys(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
		if (is_error(fd) || sys(__NR_ioctl, fd, UFFDIO_API, &api))
			die("userfaultfd is not available; a container profile or an old kernel (before 5.11) forbids it");
		if (is_error(keep_descriptor(fd, STUB_FD_UFFD, O_CLOEXEC)))
			die(NO_DESCRIPTORS);
		/* The host keeps one, too: closing the last would unregister everything. */
		send_descriptor(STUB_FD_UFFD);
		process->userfault = 1;
	}
	unlock(&process->lock);
}

i64 register_range(u64 start, u64 size)
{
	struct uffdio_register range = { .range = { start, size }, .mode = UFFDIO_REGISTER_MODE_MISSING };

	return sys(__NR_ioctl, STUB_FD_UFFD, UFFDIO_REGISTER, &range);
}

/* A fork child tells the host what it inherited, and registers it: fork copies mappings but not registrations. */
void vmas_introduce(struct slot *slot)
{
	struct table *inherited = in_use;

	ask(slot, OP_ADOPT, (u64)inherited->vmas, inherited->count, 0, 0, 0);
	if (inherited->count)
		open_userfault();
	for (u32 i = 0; i < inherited->count; i++)
		register_range(inherited->vmas[i].start, inherited->vmas[i].end - inherited->vmas[i].start);
}
