/*
 * Trapped calls that name files: the device nodes, /proc/self/exe (which must be the program, not the loader), and
 * exec. And the calls on our own descriptors.
 */
#include "stub.h"
#include <asm/stat.h>
#include <linux/fcntl.h>
#include <linux/stat.h>

i64 open_device(struct trap *trap, u32 node, u64 flags);
i64 device_of_descriptor(struct trap *trap, u64 fd);
void fill_stat(struct stat *to, u32 node);
bool is_absent_node(struct slot *slot, i64 node);  /* of another interface than this machine's: ENOENT */

/* The node that a path of the program means, or -1. `directory`: AT_FDCWD or a descriptor. */
static i64 node_at(int directory, u64 path, bool follow)
{
	int node = names_device(directory, (const char *)path);

	return node < 0 && follow ? names_device_link(directory, (const char *)path) : node;
}

/* Lets the call go on, on the program's own file where it names /proc/self/exe. */
static i64 pass_path(struct trap *trap, int directory, u64 index)
{
	if (names_own_executable(directory, (const char *)trap->args[index]))
		return pass_edited(trap, index == 0 ? EDIT_RDI : EDIT_RSI, (u64)launch.executable);
	return pass(trap);
}

static i64 open_path(struct trap *trap, int directory, u64 index, u64 flags)
{
	i64 node = node_at(directory, trap->args[index], !(flags & O_NOFOLLOW));

	if (node < 0)
		return pass_path(trap, directory, index);
	return open_device(trap, (u32)node, flags);
}

i64 trap_open(struct trap *trap) { return open_path(trap, AT_FDCWD, 0, trap->args[1]); }
i64 trap_openat(struct trap *trap) { return open_path(trap, (int)trap->args[0], 1, trap->args[2]); }

i64 trap_openat2(struct trap *trap)
{
	u64 how[3];

	if (trap->args[3] < sizeof how || copy_user(how, (void *)trap->args[2], sizeof how))
		return pass(trap);
	return open_path(trap, (int)trap->args[0], 1, how[0]);
}

static i64 stat_path(struct trap *trap, int directory, u64 index, u64 buffer, bool follow)
{
	i64 node = node_at(directory, trap->args[index], follow);
	struct stat stat;

	if (node < 0)
		return follow ? pass_path(trap, directory, index) : pass(trap);
	if (is_absent_node(trap->slot, node))
		return -ENOENT;
	fill_stat(&stat, (u32)node);
	return copy_user((void *)buffer, &stat, sizeof stat);
}

i64 trap_stat(struct trap *trap) { return stat_path(trap, AT_FDCWD, 0, trap->args[1], true); }
i64 trap_lstat(struct trap *trap) { return stat_path(trap, AT_FDCWD, 0, trap->args[1], false); }

static bool is_empty(u64 path)
{
	char first = 1;
	return path && !copy_user(&first, (void *)path, 1) && !first;
}

i64 trap_newfstatat(struct trap *trap)
{
	u64 flags = trap->args[3];

	/* fstat by another name. */
	if ((flags & AT_EMPTY_PATH) && second_filter_on && is_empty(trap->args[1])) {
		struct stat stat;
		i64 node = device_of_descriptor(trap, trap->args[0]);
		if (node < 0)
			return pass(trap);
		fill_stat(&stat, (u32)node);
		return copy_user((void *)trap->args[2], &stat, sizeof stat);
	}
	return stat_path(trap, (int)trap->args[0], 1, trap->args[2], !(flags & AT_SYMLINK_NOFOLLOW));
}

i64 trap_statx(struct trap *trap)
{
	bool by_descriptor = (trap->args[2] & AT_EMPTY_PATH) && is_empty(trap->args[1]);
	i64 node = -1;
	struct stat stat;
	struct statx out;

	if (!by_descriptor)
		node = node_at((int)trap->args[0], trap->args[1], !(trap->args[2] & AT_SYMLINK_NOFOLLOW));
	else if (second_filter_on)
		node = device_of_descriptor(trap, trap->args[0]);
	if (node < 0)
		return by_descriptor || (trap->args[2] & AT_SYMLINK_NOFOLLOW) ? pass(trap)
									       : pass_path(trap, (int)trap->args[0], 1);
	if (is_absent_node(trap->slot, node))
		return -ENOENT;
	fill_stat(&stat, (u32)node);
	memset(&out, 0, sizeof out);
	out.stx_mask = STATX_BASIC_STATS;
	out.stx_blksize = 4096;
	out.stx_nlink = 1;
	out.stx_gid = stat.st_gid;
	out.stx_mode = (u16)stat.st_mode;
	out.stx_ino = stat.st_ino;
	out.stx_rdev_major = (u32)(stat.st_rdev >> 8);
	out.stx_rdev_minor = (u32)(stat.st_rdev & 0xff);
	out.stx_dev_major = (u32)(stat.st_dev >> 8);
	out.stx_dev_minor = (u32)(stat.st_dev & 0xff);
	out.stx_atime.tv_sec = out.stx_mtime.tv_sec = out.stx_ctime.tv_sec = (i64)stat.st_mtime;
	return copy_user((void *)trap->args[4], &out, sizeof out);
}

static i64 access_path(struct trap *trap, int directory, u64 index, u64 mode)
{
	i64 node = node_at(directory, trap->args[index], true);

	if (node < 0)
		return pass_path(trap, directory, index);
	if (is_absent_node(trap->slot, node))
		return -ENOENT;
	return mode & 1 ? -EACCES : 0; /* a device is readable and writable, not executable */
}

i64 trap_access(struct trap *trap) { return access_path(trap, AT_FDCWD, 0, trap->args[1]); }
i64 trap_faccessat(struct trap *trap) { return access_path(trap, (int)trap->args[0], 1, trap->args[2]); }
i64 trap_faccessat2(struct trap *trap) { return access_path(trap, (int)trap->args[0], 1, trap->args[2]); }

static i64 read_link(struct trap *trap, int directory, u64 path, u64 buffer, u64 size)
{
	const char *target = launch.executable;
	u64 length;

	i64 named = node_at(directory, path, false);

	if (named >= 0)
		return is_absent_node(trap->slot, named) ? -ENOENT : -EINVAL;
	if (!names_own_executable(directory, (const char *)path)) {
		int node = names_device_link(directory, (const char *)path);
		if (node < 0)
			return pass(trap);
		target = device_nodes[node];
	}
	if ((i64)size <= 0)
		return -EINVAL;
	length = strlen(target);
	if (length > size)
		length = size;
	i64 r = copy_user((void *)buffer, target, length);
	return r ? r : (i64)length;
}

i64 trap_readlink(struct trap *trap)
{
	return read_link(trap, AT_FDCWD, trap->args[0], trap->args[1], trap->args[2]);
}

i64 trap_readlinkat(struct trap *trap)
{
	return read_link(trap, (int)trap->args[0], trap->args[1], trap->args[2], trap->args[3]);
}

/* A device node has no extended attributes; ls -l asks. */
static i64 attribute(struct trap *trap, i64 result)
{
	i64 node = node_at(AT_FDCWD, trap->args[0], true);

	if (node < 0)
		return pass_path(trap, AT_FDCWD, 0);
	return is_absent_node(trap->slot, node) ? -ENOENT : result;
}

i64 trap_getxattr(struct trap *trap) { return attribute(trap, -ENODATA); }
i64 trap_lgetxattr(struct trap *trap) { return attribute(trap, -ENODATA); }
i64 trap_listxattr(struct trap *trap) { return attribute(trap, 0); }
i64 trap_llistxattr(struct trap *trap) { return attribute(trap, 0); }

/* ---- exec ---- */

i64 trap_execve(struct trap *trap)
{
	return do_exec(AT_FDCWD, (const char *)trap->args[0], (char *const *)trap->args[1],
		       (char *const *)trap->args[2], 0);
}

i64 trap_execveat(struct trap *trap)
{
	return do_exec((int)trap->args[0], (const char *)trap->args[1], (char *const *)trap->args[2],
		       (char *const *)trap->args[3], (int)trap->args[4]);
}

/* ---- our own descriptors: not there, as far as the program can tell ---- */

/* close, dup2 and dup3: files.c. */
i64 trap_close_range(struct trap *trap)
{
	u32 first = (u32)trap->args[0], last = (u32)trap->args[1];
	u64 flags = trap->args[2];
	i64 r = 0;

	if (first > last || last < STUB_FD_GATE || first > STUB_FD_UFFD)
		return pass(trap);
	if (first < STUB_FD_GATE)
		r = sys(__NR_close_range, first, STUB_FD_GATE - 1, flags);
	if (!r && last > STUB_FD_UFFD)
		r = sys(__NR_close_range, STUB_FD_UFFD + 1, last, flags);
	return r;
}

/* CPUID faulting belongs to the stub; to the program CPUID works. */
i64 trap_arch_prctl(struct trap *trap)
{
	if ((u32)trap->args[0] == 0x1011 /* ARCH_GET_CPUID */)
		return 1;
	return trap->args[1] ? 0 : -ENODEV;
}

/* Model: a process that says it is not dumpable stays so in truth: without privileges the host could not read it. */
i64 trap_prctl(struct trap *trap)
{
	static u32 dumpable = 1;

	if ((u32)trap->args[0] == 3 /* PR_GET_DUMPABLE */)
		return dumpable;
	if (trap->args[1] > 1)
		return -EINVAL;
	dumpable = (u32)trap->args[1];
	return 0;
}
