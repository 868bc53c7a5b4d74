/*
 * What every image needs before its program runs: descriptors, slots, handlers, the host, CPUID, filters.
 * The order matters: handlers before the filter that raises SIGSYS, CPUID before it faults.
 */
#define VITRINE_FILTERS
#include "stub.h"
#include <linux/fcntl.h>
#include <linux/mman.h>
#include <linux/prctl.h>
#include <linux/resource.h>
#include <linux/seccomp.h>
#include <linux/filter.h>
#include "../include/traps.h"

bool key_on;
u32 key, key_denied = 0x55555554;
struct xsave_component xsave_components[64];
u64 xsave_supported;
bool second_filter_on;

void complain(const char *text)
{
	char line[512], *end = line;

	end = append(end, "vitrine: ");
	for (const char *c = text; *c && end < line + sizeof line - 2; c++)
		*end++ = *c;
	*end++ = '\n';
	sys(__NR_write, 2, line, end - line);
}

void die(const char *reason)
{
	complain(reason);
	for (;;)
		sys(__NR_kill, sys(__NR_getpid), 9);
}

static void cpuid(u32 leaf, u32 subleaf, u32 out[4])
{
	asm volatile("cpuid" : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3]) : "a"(leaf), "c"(subleaf));
}

static void learn_xsave(void)
{
	u32 r[4];

	cpuid(0xd, 0, r);
	xsave_supported = r[0] | (u64)r[3] << 32;
	xsave_components[0] = (struct xsave_component){ 0, 160 };
	xsave_components[1] = (struct xsave_component){ 160, 256 };
	for (u32 i = 2; i < 63; i++)
		if (xsave_supported >> i & 1) {
			cpuid(0xd, i, r);
			xsave_components[i] = (struct xsave_component){ r[1], r[0] };
		}
}

/* Moves `fd` to one of our high numbers. A limit below them is lifted for that moment, the hard one if we may. */
i64 keep_descriptor(i64 fd, i32 as, u32 flags)
{
	struct rlimit old = { 0, 0 }, lifted;
	i64 r = sys(__NR_dup3, fd, as, flags);

	if (r == -EBADF) {
		sys(__NR_prlimit64, 0, RLIMIT_NOFILE, 0, &old);
		lifted.rlim_cur = STUB_FD_UFFD + 1;
		lifted.rlim_max = old.rlim_max > lifted.rlim_cur ? old.rlim_max : lifted.rlim_cur;
		sys(__NR_prlimit64, 0, RLIMIT_NOFILE, &lifted, 0);
		r = sys(__NR_dup3, fd, as, flags);
		sys(__NR_prlimit64, 0, RLIMIT_NOFILE, &old, 0);
	}
	sys(__NR_close, fd);
	return r;
}

/* What the first image hands on to all others. */
static void keep_inherited(void)
{
	if (launch.state & STATE_FILTERED)
		return;
	if (has_gate() && is_error(keep_descriptor(parse_number(launch.gate), STUB_FD_GATE, 0)))
		die(NO_DESCRIPTORS);
	i64 fd = sys(__NR_open, "/proc/self/exe", O_RDONLY | O_CLOEXEC, 0);
	if (is_error(fd))
		die("cannot open /proc/self/exe; is /proc mounted?");
	if (is_error(keep_descriptor(fd, STUB_FD_LOADER, 0)))
		die(NO_DESCRIPTORS);
}

static void filter(const struct sock_filter *code, u16 length, u32 flags)
{
	struct sock_fprog program = { length, (struct sock_filter *)code };
	i64 r = sys(__NR_seccomp, SECCOMP_SET_MODE_FILTER, flags | SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program);

	if (r == -EACCES) {
		/* An ordinary user may filter only after promising never to gain privileges by exec. */
		sys(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		r = sys(__NR_seccomp, SECCOMP_SET_MODE_FILTER, flags | SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program);
	}
	if (r)
		die("cannot install a seccomp filter; a container profile or an old kernel forbids it");
}

void second_filter(void)
{
	if (second_filter_on)
		return;
	/* A vfork child's filter is its own: its parent, whose memory this is, gets none by it. */
	if ((u32)sys(__NR_getpid) == process->pid && __atomic_exchange_n(&second_filter_on, true, __ATOMIC_SEQ_CST))
		return;
	filter(filter_2, ARRAY_LENGTH(filter_2), SECCOMP_FILTER_FLAG_TSYNC);
	if (session->flags & SESSION_FLAGS_CLOSES)
		filter(filter_closes, ARRAY_LENGTH(filter_closes), SECCOMP_FILTER_FLAG_TSYNC);
}

i64 protect(u64 start, u64 size, u64 prot)
{
	/* Always with the key: a plain mprotect to PROT_EXEC alone would take the kernel's own execute-only key. */
	return key_on ? sys(__NR_pkey_mprotect, start, size, prot, key) : sys(__NR_mprotect, start, size, prot);
}

static void allocate_key(void)
{
	i64 k = sys(__NR_pkey_alloc, 0, 1 /* PKEY_DISABLE_ACCESS */);

	if (is_error(k))
		return;
	key_on = true;
	key = (u32)k;
}

void stub_start(void)
{
	second_filter_on = launch.state & STATE_FILTERED_TWICE;
	keep_inherited();
	learn_xsave();
	slots_start();
	allocate_key();
	struct slot *slot = first_slot();
	signals_start(slot, launch.state & ~(STATE_FILTERED | STATE_FILTERED_TWICE));
	if (session_open(slot) || process->refused)
		cpuid_start();
	if (launch.state & STATE_FILTERED)
		return;
	filter(filter_1, ARRAY_LENGTH(filter_1), 0);
	if (replaces_cpuid)
		filter(filter_cpuid, ARRAY_LENGTH(filter_cpuid), 0);
}
