/*
 * Device descriptors. A device descriptor is a memfd that the host handed out; it is known by its inode. Offset
 * equals linear address in it, so a mapping lies right whatever offset the program passed (the driver ignores it).
 */
#include "stub.h"
#include <asm/stat.h>
#include <linux/fcntl.h>
#include <linux/mman.h>
#include "../include/traps.h"

#define MODE(index, path, mode) [index] = mode,
static const u32 node_modes[] = { DEVICE_NODES(MODE) };

/* The host's answer for an inode that is no device of ours. */
#define NOT_A_DEVICE (-(i64)STUB_NOT_A_DEVICE)
/* ... for an ioctl that gives a descriptor, which has then to be fetched. */
#define NEW_DESCRIPTOR (-(i64)STUB_NEW_DESCRIPTOR)

/* A device of ours is a memfd of that size. */
static u64 device_inode(struct slot *slot, const struct stat *stat)
{
	if (stat->st_size != STUB_DEVICE_FILE_BYTES || !session_open(slot) || stat->st_dev != session->memfd_device)
		return 0;
	return stat->st_ino;
}

/* The inode behind a descriptor if it may be a device of ours, else 0. By its seals first: no other question is as quick. */
static u64 inode_of(struct slot *slot, u64 fd)
{
	i64 seals = sys(__NR_fcntl, (i32)fd, F_GET_SEALS);
	struct stat stat;

	if (is_error(seals) || (seals & STUB_DEVICE_SEALS) != STUB_DEVICE_SEALS || sys(__NR_fstat, (i32)fd, &stat))
		return 0;
	return device_inode(slot, &stat);
}

bool is_absent_node(struct slot *slot, i64 node)
{
	return node >= 0 && session_open(slot) && !(session->nodes >> node & 1);
}

i64 open_device(struct trap *trap, u32 node, u64 flags)
{
	/* The host says ENOENT, and why to whoever listens. */
	if (is_absent_node(trap->slot, node))
		return ask(trap->slot, OP_OPEN, node, flags, 0, 0, 0);
	if (node == UNNAMED_NODE)
		return -ENXIO;
	if (flags & O_DIRECTORY)
		return -ENOTDIR;
	if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL))
		return -EEXIST;
	if (flags & O_DIRECT)
		return -EINVAL;
	if (session_open(trap->slot))
		second_filter();
	return ask_for_descriptor(trap->slot, OP_OPEN, node, flags, flags & O_CLOEXEC);
}

i64 trap_ioctl(struct trap *trap)
{
	struct slot *slot = trap->slot;
	u64 inode = inode_of(slot, trap->args[0]);

	if (!inode) {
		/* Somebody may want to know: of another interface it would be one. */
		if (process->connected && !process->ended)
			ask(slot, OP_STRAY, (u32)trap->args[1], 0, 0, 0, 0);
		return pass(trap);
	}
	i64 r = ask(slot, OP_IOCTL, inode, (u32)trap->args[1], trap->args[2], 0, 0);
	if (r == NOT_A_DEVICE)
		return pass(trap);
	/* A descriptor that another process has opened. */
	second_filter();
	if (r == NEW_DESCRIPTOR)
		return ask_for_descriptor(slot, OP_RECEIVE, RECORD(slot->index)->out[0], 0, true);
	if (r == -ERESTARTSYS) {
		trap->what = TRAP_RESTART;
		return 0;
	}
	return r;
}

/* ---- what a device looks like to stat ---- */

#define S_IFMT 0170000
#define S_IFCHR 0020000
#define MAKEDEV(major, minor) ((u64)(major) << 8 | (u64)(minor))

void fill_stat(struct stat *to, u32 node)
{
	struct stat directory = { 0 };

	sys(__NR_stat, "/dev", &directory);
	memset(to, 0, sizeof *to);
	to->st_dev = directory.st_dev;
	to->st_ino = 0x5600 + node;
	to->st_mode = node_modes[node];
	to->st_nlink = 1;
	/* As udev has it: root's, for a group that the caller belongs to. */
	to->st_gid = (u32)sys(__NR_getegid);
	if ((to->st_mode & S_IFMT) == S_IFCHR)
		to->st_rdev = MAKEDEV(STUB_DEVICE_MAJOR, STUB_DEVICE_FIRST_MINOR + node);
	to->st_blksize = 4096;
	to->st_ctime = to->st_mtime = to->st_atime = directory.st_mtime;
}

static i64 identify(struct slot *slot, u64 inode)
{
	i64 node = inode ? ask(slot, OP_IDENTIFY, inode, 0, 0, 0, 0) : -1;

	if (node >= 0)
		second_filter();
	return node;
}

i64 device_of_descriptor(struct trap *trap, u64 fd)
{
	return identify(trap->slot, inode_of(trap->slot, fd));
}

i64 trap_fstat(struct trap *trap)
{
	struct stat stat;
	i64 r = sys(__NR_fstat, (i32)trap->args[0], &stat);

	if (r)
		return r;
	i64 node = identify(trap->slot, device_inode(trap->slot, &stat));
	if (node >= 0)
		fill_stat(&stat, (u32)node);
	return copy_user((void *)trap->args[1], &stat, sizeof stat);
}

/* ---- mappings ---- */

/* Makes a call after which something else has taken the place of enclave mappings, or nothing has. */
static i64 replace(struct slot *slot, u64 start, u64 size, u64 nr, const u64 *args)
{
	i64 r = vma_unmap(start, size, nr, args);

	if (!is_error(r)) {
		ask(slot, OP_MUNMAP, start, size, 0, 0, 0);
		/* An entry may have been checked before the host knew. */
		__atomic_add_fetch(&mapping_changes, 1, __ATOMIC_SEQ_CST);
	}
	return r;
}

/* Of twice `size` bytes at `start`, keeps those at the multiple of it. */
static i64 keep_aligned(u64 start, u64 size)
{
	u64 at = ALIGN_UP(start, size);

	if (at > start)
		sys(__NR_munmap, start, at - start);
	if (start + size > at)
		sys(__NR_munmap, at + size, start + size - at);
	return (i64)at;
}

static i64 map_device(struct trap *trap, u64 inode, i64 node)
{
	u64 at = trap->args[0], size = ALIGN_UP(trap->args[1], PAGE), prot = trap->args[2], flags = trap->args[3];
	bool fixed = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE);
	struct slot *slot = trap->slot;
	i64 r;

	bool aligned = !fixed && (session->aligned_nodes >> node & 1);

	if (!trap->args[1] || (trap->args[5] & (PAGE - 1)) || (fixed && (at & (PAGE - 1))))
		return -EINVAL;
	/* Before anything is said about the address. What cannot be mapped has no such rule: the host will say ENODEV. */
	if ((flags & MAP_TYPE) == MAP_PRIVATE && (session->shared_nodes >> node & 1))
		return -EINVAL;
	if (aligned && (size < 2 * PAGE || (size & (size - 1))))
		return -EINVAL;
	if (!size || size > STUB_USER_ADDRESS_END || (fixed && at > STUB_USER_ADDRESS_END - size))
		return -ENOMEM;
	if (!fixed || (flags & MAP_FIXED_NOREPLACE)) {
		/* The kernel chooses, or checks, the address; what it gave is held while the host decides. */
		u64 hold = flags & MAP_FIXED_NOREPLACE ? MAP_FIXED_NOREPLACE : 0;
		r = sys(__NR_mmap, at, aligned ? 2 * size : size, PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | hold, -1, 0);
		if (is_error(r))
			return r;
		if (aligned)
			r = keep_aligned((u64)r, size);
		at = (u64)r;
	}
	/* The protections that come with the answer are for the mapping that is made next. */
	open_userfault();
	r = ask_unsettled(slot, OP_MMAP, inode, at, size, prot, flags);
	if (!r) {
		u64 call[6] = { at, size, PROT_NONE, MAP_SHARED | MAP_FIXED, trap->args[4], at };
		r = vma_unmap(at, size, __NR_mmap, call);
		if (!is_error(r) && !(r = protect(at, size, prot)))
			r = register_range(at, size);
		if (r) {
			discard(slot);
			ask(slot, OP_MUNMAP, at, size, 0, 0, 0);
		} else {
			vma_add(at, size, inode, (u32)prot);
			settle(slot);
			return (i64)at;
		}
	}
	if (!fixed || (flags & MAP_FIXED_NOREPLACE))
		sys(__NR_munmap, at, size);
	return r;
}

i64 trap_mmap(struct trap *trap)
{
	u64 flags = trap->args[3], size = ALIGN_UP(trap->args[1], PAGE);

	if (!(flags & MAP_ANONYMOUS)) {
		u64 inode = inode_of(trap->slot, trap->args[4]);
		i64 node = identify(trap->slot, inode);
		if (node >= 0)
			return map_device(trap, inode, node);
	}
	if ((flags & MAP_FIXED) && is_enclave_range(trap->args[0], size))
		return replace(trap->slot, trap->args[0], size, trap->nr, trap->args);
	if ((trap->args[2] & PROT_EXEC) && (flags & (MAP_TYPE | MAP_ANONYMOUS)) == MAP_PRIVATE && replaces_cpuid) {
		i64 r = sys(__NR_mmap, trap->args[0], trap->args[1], trap->args[2], flags, trap->args[4], trap->args[5]);
		if (!is_error(r))
			replace_cpuids((int)trap->args[4], trap->args[5], (u64)r, size, trap->args[2]);
		return r;
	}
	return pass(trap);
}

i64 trap_munmap(struct trap *trap)
{
	u64 start = trap->args[0], size = ALIGN_UP(trap->args[1], PAGE);

	if ((start & (PAGE - 1)) || !size || !is_enclave_range(start, size))
		return pass(trap);
	return replace(trap->slot, start, size, trap->nr, trap->args);
}

struct protecting { struct slot *slot; u64 prot; };

static i64 protect_piece(u64 start, u64 size, bool enclave, u64 argument)
{
	const struct protecting *call = (const struct protecting *)argument;

	if (!enclave)
		return sys(__NR_mprotect, start, size, call->prot);
	i64 r = ask_unsettled(call->slot, OP_MPROTECT, start, size, call->prot, 0, 0);
	if (!r && !(r = protect(start, size, call->prot)))
		vma_protect(start, size, (u32)call->prot);
	settle(call->slot);
	return r;
}

/* As the kernel goes: VMA by VMA, up to the first that refuses or a hole. */
i64 trap_mprotect(struct trap *trap)
{
	u64 start = trap->args[0], size = ALIGN_UP(trap->args[1], PAGE);

	if ((start & (PAGE - 1)) || !size || !is_enclave_range(start, size))
		return pass(trap);
	struct protecting call = { trap->slot, trap->args[2] };
	return vma_pieces(start, size, protect_piece, (u64)&call);
}

i64 trap_pkey_mprotect(struct trap *trap)
{
	u64 start = trap->args[0], size = ALIGN_UP(trap->args[1], PAGE);

	/* Model: enclave mappings carry the stub's own key; a program's key on them is ignored. */
	if ((start & (PAGE - 1)) || !size || !is_enclave_range(start, size))
		return pass(trap);
	return trap_mprotect(trap);
}

/*
 * Moves the pages of one VMA. Its file may be closed and its offsets must follow the address: remap_file_pages changes
 * them without a descriptor. It wants one VMA of the kernel's, which PROT_NONE makes of what page rights have split.
 */
static i64 move_range(struct slot *slot, u64 from, u64 to, u64 size)
{
	u64 call[6] = { from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to };
	struct vma_record vma;
	i64 r = ask_unsettled(slot, OP_MREMAP, from, size, to, size, 0);

	if (r)
		return r;
	if (!vma_find(from, &vma))
		die("the host knows an enclave mapping that the stub does not");
	if (protect(from, size, PROT_NONE) || is_error(vma_unmap(from, size, __NR_mremap, call)) ||
	    sys(__NR_remap_file_pages, to, size, 0, to / PAGE, 0) || protect(to, size, vma.prot) || register_range(to, size))
		die("cannot move an enclave mapping");
	vma_add(to, size, vma.inode, vma.prot);
	settle(slot);
	return (i64)to;
}

/* A piece at the end, or what lies where something is moved to. */
static i64 unmap_range(struct slot *slot, u64 start, u64 size)
{
	u64 call[6] = { start, size };

	return is_enclave_range(start, size) ? replace(slot, start, size, __NR_munmap, call)
					     : sys(__NR_munmap, start, size);
}

/* In the order of mremap, mremap_to and vma_to_resize in mm/mremap.c. */
static i64 remap_device(struct slot *slot, u64 old, u64 old_size, u64 size, u64 flags, u64 to)
{
	struct vma_record vma;
	i64 r = 0;

	if ((flags & ~(u64)(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP)) || !size || (old & (PAGE - 1)) ||
	    ((flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) && !(flags & MREMAP_MAYMOVE)) ||
	    ((flags & MREMAP_DONTUNMAP) && old_size != size))
		return -EINVAL;
	if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) {
		if ((to & (PAGE - 1)) || size > STUB_USER_ADDRESS_END || to > STUB_USER_ADDRESS_END - size ||
		    (old + old_size > to && to + size > old))
			return -EINVAL;
		if (flags & MREMAP_FIXED)
			r = unmap_range(slot, to, size);
	}
	if (!r && old_size > size) {
		r = unmap_range(slot, old + size, old_size - size);
		old_size = size;
	}
	if (r)
		return r;
	if (flags & MREMAP_DONTUNMAP)
		return -EINVAL;
	if (!(flags & MREMAP_FIXED) && old_size == size)
		return (i64)old;
	if (!vma_find(old, &vma) || old_size > vma.end - old || size > old_size)
		return -EFAULT;
	return move_range(slot, old, to, size);
}

i64 trap_mremap(struct trap *trap)
{
	u64 old = trap->args[0], size = ALIGN_UP(trap->args[2], PAGE), flags = trap->args[3], to = trap->args[4];

	if (is_enclave_range(old, 1))
		return remap_device(trap->slot, old, ALIGN_UP(trap->args[1], PAGE), size, flags, to);
	if (!(flags & MREMAP_FIXED) || !is_enclave_range(to, size))
		return pass(trap);
	return replace(trap->slot, to, size, trap->nr, trap->args);
}

struct advice { struct slot *slot; u64 number; bool hole; };

static i64 advise_piece(u64 start, u64 size, bool enclave, u64 argument)
{
	struct advice *advice = (struct advice *)argument;
	i64 r = enclave ? ask(advice->slot, OP_MADVISE, start, size, advice->number, 0, 0) :
			  sys(__NR_madvise, start, size, advice->number);

	/* The kernel goes on behind a hole, and says so in the end. */
	if (r != -ENOMEM)
		return r;
	advice->hole = true;
	return 0;
}

i64 trap_madvise(struct trap *trap)
{
	u64 start = trap->args[0], size = ALIGN_UP(trap->args[1], PAGE);
	struct advice advice = { trap->slot, trap->args[2], false };

	if ((start & (PAGE - 1)) || !size || !is_enclave_range(start, size))
		return pass(trap);
	i64 r = vma_pieces(start, size, advise_piece, (u64)&advice);
	return r ? r : advice.hole ? -ENOMEM : 0;
}

/* ---- SessionFlags.CLOSES: what ends with its last descriptor ---- */

static bool is_own(u64 fd) { return (u32)fd >= STUB_FD_GATE && (u32)fd <= STUB_FD_UFFD; }

/* The call closes `fd`, or puts something else in its place. */
static i64 do_closing(struct trap *trap, u64 fd)
{
	if (is_own(fd))
		return -EBADF;
	if (!second_filter_on || !inode_of(trap->slot, fd))
		return pass(trap);
	i64 r = sys(trap->nr, trap->args[0], trap->args[1], trap->args[2]);
	ask(trap->slot, OP_CLOSED, 0, 0, 0, 0, 0);
	return r;
}

i64 trap_close(struct trap *trap) { return do_closing(trap, trap->args[0]); }
i64 trap_dup2(struct trap *trap) { return do_closing(trap, trap->args[1]); }
i64 trap_dup3(struct trap *trap) { return do_closing(trap, trap->args[1]); }

/* The driver ignores the offset that this changes. */
i64 trap_remap_file_pages(struct trap *trap)
{
	u64 start = ALIGN_DOWN(trap->args[0], PAGE), size = ALIGN_DOWN(trap->args[1], PAGE);
	struct vma_record vma;

	if (!size || !is_enclave_range(start, size))
		return pass(trap);
	return trap->args[2] || !vma_find(start, &vma) || size > vma.end - start ? -EINVAL : 0;
}

/* ---- what a device cannot do: the kernel would let it do that to the memfd ---- */

#define FOR_READING 1
#define FOR_WRITING 2

/* EBADF comes first where the call wants the file open `mode`. */
static i64 refuse_on(struct trap *trap, u32 argument, u64 mode, i64 error)
{
	if (device_of_descriptor(trap, trap->args[argument]) < 0)
		return pass(trap);
	return (RECORD(trap->slot->index)->out[0] & mode) == mode ? error : -EBADF;
}

static i64 refuse_on_either(struct trap *trap, u32 from, u32 to)
{
	i64 r = refuse_on(trap, from, FOR_READING, -EINVAL);

	if (!r && (r = refuse_on(trap, to, FOR_WRITING, -EINVAL)))
		trap->what = TRAP_RESULT;
	return r;
}

i64 trap_pread64(struct trap *trap) { return refuse_on(trap, 0, FOR_READING, -EINVAL); }
i64 trap_pwrite64(struct trap *trap) { return refuse_on(trap, 0, FOR_WRITING, -EINVAL); }
i64 trap_preadv(struct trap *trap) { return refuse_on(trap, 0, FOR_READING, -EINVAL); }
i64 trap_pwritev(struct trap *trap) { return refuse_on(trap, 0, FOR_WRITING, -EINVAL); }
i64 trap_preadv2(struct trap *trap) { return refuse_on(trap, 0, FOR_READING, -EINVAL); }
i64 trap_pwritev2(struct trap *trap) { return refuse_on(trap, 0, FOR_WRITING, -EINVAL); }
i64 trap_readahead(struct trap *trap) { return refuse_on(trap, 0, FOR_READING, -EINVAL); }
i64 trap_sendfile(struct trap *trap) { return refuse_on_either(trap, 1, 0); }
i64 trap_splice(struct trap *trap) { return refuse_on_either(trap, 0, 2); }
i64 trap_copy_file_range(struct trap *trap) { return refuse_on_either(trap, 0, 2); }
i64 trap_ftruncate(struct trap *trap) { return refuse_on(trap, 0, 0, -EINVAL); }
i64 trap_fallocate(struct trap *trap) { return refuse_on(trap, 0, FOR_WRITING, -ENODEV); }
i64 trap_fsync(struct trap *trap) { return refuse_on(trap, 0, 0, -EINVAL); }
i64 trap_fdatasync(struct trap *trap) { return refuse_on(trap, 0, 0, -EINVAL); }
i64 trap_sync_file_range(struct trap *trap) { return refuse_on(trap, 0, 0, -ESPIPE); }
i64 trap_lseek(struct trap *trap) { return refuse_on(trap, 0, 0, -ESPIPE); }

/* Model: a device is not locked: the host holds the lock of its file to learn when nobody has that any more. */
i64 trap_flock(struct trap *trap) { return refuse_on(trap, 0, 0, -ENOLCK); }
