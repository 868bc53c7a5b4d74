/*
 * Which ranges of this process are enclave mappings. The host has the authoritative list; this copy tells the stub
 * whether a call or a fault concerns it, and a fork child what it inherited. Sorted, never merged (the driver's
 * VMAs are not either).
 */
#include "stub.h"
#include <linux/mman.h>
#include <linux/ioctl.h>
#include <linux/userfaultfd.h>
#include <linux/fcntl.h>

#define MAX_VMAS 4096

static struct vma_record vmas[MAX_VMAS];
static volatile u32 vma_count;
static volatile u64 lowest = ~0UL, highest;
volatile u32 mapping_changes;
#define vma_lock process->vma_lock

bool is_enclave_range(u64 start, u64 size)
{
	u64 end = start + size;
	bool found = false;

	if (!vma_count || start >= highest || end <= lowest)
		return false;
	lock(&vma_lock);
	for (u32 i = 0; i < vma_count && !found; i++)
		found = vmas[i].start < end && start < vmas[i].end;
	unlock(&vma_lock);
	return found;
}

bool has_enclave_ranges(void)
{
	return vma_count;
}

bool vma_find(u64 address, struct vma_record *found)
{
	bool is_there = false;

	lock(&vma_lock);
	for (u32 i = 0; i < vma_count && !is_there; i++)
		if (vmas[i].start <= address && address < vmas[i].end) {
			*found = vmas[i];
			is_there = true;
		}
	unlock(&vma_lock);
	return is_there;
}

static void insert(u32 at, struct vma_record vma)
{
	if (vma_count == MAX_VMAS)
		die("more enclave mappings than the stub has room for");
	for (u32 i = vma_count; i > at; i--)
		vmas[i] = vmas[i - 1];
	vmas[at] = vma;
	vma_count++;
}

/* Makes `at` a border between records. */
static void split(u64 at)
{
	for (u32 i = 0; i < vma_count; i++)
		if (vmas[i].start < at && at < vmas[i].end) {
			struct vma_record tail = vmas[i];
			tail.start = at;
			vmas[i].end = at;
			insert(i + 1, tail);
			return;
		}
}

static void remember_borders(void)
{
	lowest = vma_count ? vmas[0].start : ~0UL;
	highest = 0;
	for (u32 i = 0; i < vma_count; i++)
		if (vmas[i].end > highest)
			highest = vmas[i].end;
}

static void remove(u64 start, u64 end)
{
	u32 kept = 0;

	split(start);
	split(end);
	for (u32 i = 0; i < vma_count; i++)
		if (vmas[i].start < start || vmas[i].start >= end)
			vmas[kept++] = vmas[i];
	vma_count = kept;
}

void vma_remove(u64 start, u64 size)
{
	lock(&vma_lock);
	remove(start, start + size);
	remember_borders();
	mapping_changes++;
	unlock(&vma_lock);
}

void vma_add(u64 start, u64 size, u64 inode, u32 prot)
{
	u32 at = 0;

	lock(&vma_lock);
	remove(start, start + size);
	while (at < vma_count && vmas[at].start < start)
		at++;
	insert(at, (struct vma_record){ start, start + size, inode, prot, { 0 } });
	remember_borders();
	mapping_changes++;
	unlock(&vma_lock);
}

void vma_protect(u64 start, u64 size, u32 prot)
{
	lock(&vma_lock);
	split(start);
	split(start + size);
	for (u32 i = 0; i < vma_count; i++)
		if (vmas[i].start >= start && vmas[i].end <= start + size)
			vmas[i].prot = prot;
	mapping_changes++;
	unlock(&vma_lock);
}

i64 vma_pieces(u64 start, u64 size, i64 (*each)(u64, u64, bool, u64), u64 argument)
{
	u64 end = start + size;

	while (start < end) {
		u64 to = end;
		bool enclave = false;

		lock(&vma_lock);
		for (u32 i = 0; i < vma_count; i++) {
			if (vmas[i].end <= start)
				continue;
			enclave = vmas[i].start <= start;
			to = enclave ? vmas[i].end : vmas[i].start;
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
	ask(slot, OP_ADOPT, (u64)vmas, vma_count, 0, 0, 0);
	if (vma_count)
		open_userfault();
	for (u32 i = 0; i < vma_count; i++)
		register_range(vmas[i].start, vmas[i].end - vmas[i].start);
}
