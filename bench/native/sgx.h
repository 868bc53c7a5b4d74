// As much of Linux's SGX interface as the bench uses; written out, since not every distribution installs asm/sgx.h.
#pragma once

#include <elf.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE_BYTES = 4096, EREPORT = 0, EGETKEY = 1, EENTER = 2, EEXIT = 4, SGX_PAGE_MEASURE = 1 };
enum { SECINFO_R = 1, SECINFO_W = 2, SECINFO_X = 4, SECINFO_TCS = 1 << 8, SECINFO_REG = 2 << 8 };

struct enclave_create { uint64_t src; };
struct enclave_add_pages { uint64_t src, offset, length, secinfo, flags, count; };
struct enclave_init { uint64_t sigstruct; };
struct enclave_run {
	uint64_t tcs;
	uint32_t function;
	uint16_t exception_vector, exception_error_code;
	uint64_t exception_addr, user_handler, user_data;
	uint8_t reserved[216];
};

#define SGX_IOC_ENCLAVE_CREATE _IOW(0xa4, 0, struct enclave_create)
#define SGX_IOC_ENCLAVE_ADD_PAGES _IOWR(0xa4, 1, struct enclave_add_pages)
#define SGX_IOC_ENCLAVE_INIT _IOW(0xa4, 2, struct enclave_init)

typedef int (*enter_enclave_t)(unsigned long rdi, unsigned long rsi, unsigned long rdx, unsigned function,
			       unsigned long r8, unsigned long r9, struct enclave_run *run);

// The vDSO's symbols by its SysV hash table, the way the kernel's selftest and most runtimes look them up.
static inline void *vdso_symbol(const char *wanted)
{
	uintptr_t base = getauxval(AT_SYSINFO_EHDR);
	const Elf64_Ehdr *header = (void *)base;
	const Elf64_Phdr *segment = (void *)(base + header->e_phoff);
	const Elf64_Dyn *dynamic = NULL;
	const Elf64_Sym *symbols = NULL;
	const char *names = NULL;
	const uint32_t *hash = NULL;

	for (int i = 0; i < header->e_phnum; i++)
		if (segment[i].p_type == PT_DYNAMIC)
			dynamic = (void *)(base + segment[i].p_offset);
	for (; dynamic && dynamic->d_tag != DT_NULL; dynamic++) {
		void *table = (void *)(base + dynamic->d_un.d_ptr);

		if (dynamic->d_tag == DT_SYMTAB)
			symbols = table;
		else if (dynamic->d_tag == DT_STRTAB)
			names = table;
		else if (dynamic->d_tag == DT_HASH)
			hash = table;
	}
	if (!symbols || !names || !hash)
		return NULL;
	for (uint32_t i = 0; i < hash[1]; i++)
		if (symbols[i].st_shndx != SHN_UNDEF && !strcmp(names + symbols[i].st_name, wanted))
			return (void *)(base + symbols[i].st_value);
	return NULL;
}

// Reserves twice the size and keeps the aligned half: ELRANGE is naturally aligned.
static inline char *reserve(size_t size)
{
	char *area = mmap(NULL, 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *base = (char *)(((uintptr_t)area + size - 1) & ~(size - 1));

	if (area == MAP_FAILED)
		return NULL;
	munmap(area, base - area);
	munmap(base + size, area + size - base);
	return base;
}

static inline int create_enclave(int fd, char *base, uint64_t size)
{
	static char secs[PAGE_BYTES] __attribute__((aligned(PAGE_BYTES)));
	struct enclave_create create = { .src = (uintptr_t)secs };

	memset(secs, 0, sizeof secs);
	*(uint64_t *)(secs + 0) = size;
	*(uint64_t *)(secs + 8) = (uintptr_t)base;
	*(uint32_t *)(secs + 16) = 1; // SSAFRAMESIZE
	*(uint64_t *)(secs + 48) = 4; // ATTRIBUTES: MODE64BIT
	*(uint64_t *)(secs + 56) = 3; // XFRM: x87 and SSE
	return ioctl(fd, SGX_IOC_ENCLAVE_CREATE, &create);
}

static inline int add_pages(int fd, const void *source, uint64_t offset, uint64_t length, uint64_t secinfo_flags,
			    uint64_t flags)
{
	static uint64_t secinfo[8] __attribute__((aligned(64)));
	struct enclave_add_pages add = {
		.src = (uintptr_t)source, .offset = offset, .length = length,
		.secinfo = (uintptr_t)secinfo, .flags = flags,
	};

	secinfo[0] = secinfo_flags;
	return ioctl(fd, SGX_IOC_ENCLAVE_ADD_PAGES, &add);
}
