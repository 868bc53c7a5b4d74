/*
 * CPUID, answered as the machine has it. Where the processor can let it fault (arch_prctl, ARCH_SET_CPUID), it faults
 * everywhere. Elsewhere (AMD, much hosted CI) the instructions are found in the code that ELF files bring into the process,
 * and replaced by two bytes of the same length that no processor executes.
 *
 * Model: there, CPUID in code that a program makes at run time shows the real processor, and in an enclave it does, too,
 * where hardware raises #UD; a program that reads its own code sees the replacement.
 *
 * Spec: SDM "CPUID", leaf 12H "Intel SGX Capability Enumeration".
 */
#include "stub.h"
#include <asm/prctl.h>
#include <linux/elf.h>
#include <linux/mman.h>

#define SGX_LEAF 0x12
/* How far before a place decoding starts, and from how many bytes there: after so many, wrong starts have met right ones. */
#define RUN_UP 128
#define STARTS 16

bool replaces_cpuid;

static const u8 cpuid[2] = { 0x0f, 0xa2 };
/* An opcode without a meaning: #UD. Not UD2, which programs use. */
static const u8 replacement[2] = { 0x0f, 0x04 };

void cpuid_start(void)
{
	replaces_cpuid = is_error(sys(__NR_arch_prctl, ARCH_SET_CPUID, 0));
}

static void native_cpuid(u32 leaf, u32 subleaf, u32 r[4])
{
	if (!replaces_cpuid)
		sys(__NR_arch_prctl, ARCH_SET_CPUID, 1);
	asm volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(subleaf));
	if (!replaces_cpuid)
		sys(__NR_arch_prctl, ARCH_SET_CPUID, 0);
}

static void emulate(struct slot *slot, struct sigcontext_64 *regs)
{
	u32 leaf = (u32)regs->ax, subleaf = (u32)regs->cx, r[4];
	bool sgx = session_open(slot);

	native_cpuid(leaf, subleaf, r);
	if (sgx && leaf == 0 && r[0] < SGX_LEAF)
		r[0] = SGX_LEAF;
	if (sgx && leaf == 7 && subleaf == 0) {
		r[1] |= session->cpuid7_ebx;
		r[2] |= session->cpuid7_ecx;
	}
	if (sgx && leaf == SGX_LEAF) {
		memset(r, 0, sizeof r);
		if (subleaf < CPUID_SGX_SUBLEAVES) {
			r[0] = session->cpuid_sgx[subleaf].eax;
			r[1] = session->cpuid_sgx[subleaf].ebx;
			r[2] = session->cpuid_sgx[subleaf].ecx;
			r[3] = session->cpuid_sgx[subleaf].edx;
		}
	}
	regs->ax = r[0];
	regs->bx = r[1];
	regs->cx = r[2];
	regs->dx = r[3];
	regs->ip += sizeof cpuid;
}

bool on_cpuid(struct slot *slot, ucontext_t *uc)
{
	struct sigcontext_64 *regs = registers(uc);

	if (!code_is(slot, regs->ip, regs->trapno == VECTOR_UD ? replacement : cpuid, sizeof cpuid))
		return false;
	if (slot->inside)
		leave_by_exception(slot, uc, VECTOR_UD, 0, 0);
	else
		emulate(slot, regs);
	return true;
}

/* ---- finding and replacing ---- */

/* Whether an instruction begins at code[at]: decoding from most places before it arrives there. */
static bool is_instruction(const u8 *code, u32 first, u32 at)
{
	if (at - first > RUN_UP)
		first = at - RUN_UP;
	u32 arrived = 0, starts = at - first < STARTS ? at - first : STARTS;

	for (u32 start = first; start < first + starts; start++) {
		u32 i = start;
		while (i < at) {
			u32 length = instruction_length(code + i);
			i += length ? length : 1;
		}
		arrived += i == at;
	}
	return arrived * 4 >= starts * 3;
}

static bool has_byte(u64 word, u8 byte)
{
	u64 zero_where_equal = word ^ 0x0101010101010101 * byte;

	return (zero_where_equal - 0x0101010101010101) & ~zero_where_equal & 0x8080808080808080;
}

static void replace(u64 address, u64 prot)
{
	u64 page = ALIGN_DOWN(address, PAGE), size = ALIGN_UP(address + sizeof cpuid, PAGE) - page;

	if (sys(__NR_mprotect, page, size, PROT_READ | PROT_WRITE))
		return;
	memcpy((void *)address, replacement, sizeof replacement);
	sys(__NR_mprotect, page, size, prot);
}

static void replace_in(u64 start, u64 end, u64 prot)
{
	/* The end of the chunk before, a chunk, and zeros for the decoder to run into. */
	u8 code[RUN_UP + PAGE + DECODE_BYTES] __attribute__((aligned(8)));
	u32 first = RUN_UP; /* where there is code */

	for (u64 at = start; at < end; at += PAGE) {
		u64 size = end - at < PAGE ? end - at : PAGE;

		memset(code + RUN_UP + size, 0, DECODE_BYTES);
		/* A mapping may be longer than its file. */
		if (copy_user(code + RUN_UP, (void *)at, size))
			return;
		for (u32 i = RUN_UP; i < RUN_UP + size; i++) {
			if (i % 8 == 0 && !has_byte(*(u64 *)(code + i), cpuid[1])) {
				i += 7;
				continue;
			}
			if (code[i] == cpuid[1] && i > first && code[i - 1] == cpuid[0] && is_instruction(code, first, i - 1))
				replace(at + i - 1 - RUN_UP, prot);
		}
		memcpy(code, code + PAGE, RUN_UP);
		first = 0;
	}
}

/* Code is what the section headers call so: old linkers put data into the same segment, where all kinds of bytes are. */
void replace_cpuids(int fd, u64 offset, u64 start, u64 size, u64 prot)
{
	Elf64_Ehdr elf;
	Elf64_Shdr section;

	if (!replaces_cpuid || sys(__NR_pread64, fd, &elf, sizeof elf, 0) != sizeof elf || memcmp(elf.e_ident, ELFMAG, SELFMAG) ||
	    elf.e_ident[EI_CLASS] != ELFCLASS64 || elf.e_machine != EM_X86_64 || elf.e_shentsize != sizeof section)
		return;
	for (u32 i = 0; i < elf.e_shnum; i++) {
		if (sys(__NR_pread64, fd, &section, sizeof section, elf.e_shoff + i * sizeof section) != sizeof section)
			return;
		u64 from = section.sh_offset, to = from + section.sh_size;
		if (section.sh_type != SHT_PROGBITS || !(section.sh_flags & SHF_EXECINSTR) || to < from)
			continue;
		if (from < offset)
			from = offset;
		if (to > offset + size)
			to = offset + size;
		if (from < to)
			replace_in(start + from - offset, start + to - offset, prot);
	}
}
