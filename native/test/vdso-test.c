/*
 * Looks the substitute vDSO up in every way that runtimes do. Run through the loader with the stand-ins, whose
 * __vdso_sgx_enter_enclave returns 4242.
 */
#define _GNU_SOURCE
#include "check.h"
#include <dlfcn.h>
#include <elf.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>

#define NAME "__vdso_sgx_enter_enclave"

typedef int (*function)(void);

/* Fortanix's way: DT_NEEDED linux-vdso.so.1 and a weak symbol that ld.so binds. */
extern int __vdso_sgx_enter_enclave(void) __attribute__((weak));

static char *image;

static void *dynamic(int64_t tag)
{
	const Elf64_Ehdr *header = (void *)image;
	const Elf64_Phdr *p = (void *)(image + header->e_phoff);

	for (int i = 0; i < header->e_phnum; i++) {
		if (p[i].p_type != PT_DYNAMIC)
			continue;
		for (const Elf64_Dyn *d = (void *)(image + p[i].p_vaddr); d->d_tag != DT_NULL; d++)
			if (d->d_tag == tag)
				return image + d->d_un.d_ptr;
	}
	return NULL;
}

static function value(const Elf64_Sym *symbol)
{
	return (function)(image + symbol->st_value);
}

static unsigned elf_hash(const char *name)
{
	unsigned h = 0, g;

	while (*name) {
		h = (h << 4) + (unsigned char)*name++;
		if ((g = h & 0xf0000000))
			h ^= g >> 24;
		h &= ~g;
	}
	return h;
}

static unsigned gnu_hash(const char *name)
{
	unsigned h = 5381;

	while (*name)
		h = h * 33 + (unsigned char)*name++;
	return h;
}

static function by_hash(const char *name)
{
	const unsigned *table = dynamic(DT_HASH), *chain = table + 2 + table[0];
	const Elf64_Sym *symbols = dynamic(DT_SYMTAB);

	for (unsigned i = table[2 + elf_hash(name) % table[0]]; i; i = chain[i])
		if (!strcmp((char *)dynamic(DT_STRTAB) + symbols[i].st_name, name))
			return value(&symbols[i]);
	return NULL;
}

static function by_gnu_hash(const char *name)
{
	const unsigned *table = dynamic(DT_GNU_HASH), hash = gnu_hash(name);
	const uint64_t *bloom = (void *)(table + 4);
	const unsigned *buckets = (void *)(bloom + table[2]), *chain = buckets + table[0];
	const Elf64_Sym *symbols = dynamic(DT_SYMTAB);
	uint64_t word = bloom[hash / 64 % table[2]];

	if (!(word >> hash % 64 & word >> (hash >> table[3]) % 64 & 1))
		return NULL;
	for (unsigned i = buckets[hash % table[0]]; i; i++) {
		unsigned entry = chain[i - table[1]];

		if ((entry | 1) == (hash | 1) && !strcmp((char *)dynamic(DT_STRTAB) + symbols[i].st_name, name))
			return value(&symbols[i]);
		if (entry & 1)
			break;
	}
	return NULL;
}

/* Intel's way. */
static function by_sections(const char *name)
{
	const Elf64_Ehdr *header = (void *)image;
	const Elf64_Shdr *sections = (void *)(image + header->e_shoff), *symbols = NULL, *strings = NULL;
	const char *names = image + sections[header->e_shstrndx].sh_offset;

	for (int i = 0; i < header->e_shnum; i++) {
		if (!strcmp(names + sections[i].sh_name, ".dynsym"))
			symbols = &sections[i];
		else if (!strcmp(names + sections[i].sh_name, ".dynstr"))
			strings = &sections[i];
	}
	if (!symbols || !strings)
		return NULL;
	for (uint64_t i = 0; i < symbols->sh_size / symbols->sh_entsize; i++) {
		const Elf64_Sym *s = (Elf64_Sym *)(image + symbols->sh_offset) + i;

		if (!strcmp(image + strings->sh_offset + s->st_name, name))
			return value(s);
	}
	return NULL;
}

/* Go's and musl's way: all symbols, with their version checked. */
static function by_version(const char *name)
{
	const unsigned count = ((unsigned *)dynamic(DT_HASH))[1];
	const Elf64_Sym *symbols = dynamic(DT_SYMTAB);
	const Elf64_Versym *versions = dynamic(DT_VERSYM);
	const char *strings = dynamic(DT_STRTAB);

	for (unsigned i = 0; i < count; i++) {
		const Elf64_Verdef *def = dynamic(DT_VERDEF);

		if (strcmp(strings + symbols[i].st_name, name) || ELF64_ST_TYPE(symbols[i].st_info) != STT_FUNC ||
		    symbols[i].st_shndx == SHN_UNDEF)
			continue;
		while (def->vd_ndx != versions[i] && def->vd_next)
			def = (void *)((char *)def + def->vd_next);
		const Elf64_Verdaux *aux = (void *)((char *)def + def->vd_aux);

		if (!(def->vd_flags & VER_FLG_BASE) && def->vd_hash == elf_hash("LINUX_2.6") &&
		    !strcmp(strings + aux->vda_name, "LINUX_2.6"))
			return value(&symbols[i]);
	}
	return NULL;
}

/* Where the kernel mapped its own. */
static uintptr_t real_start, real_end;

static void find_real(void)
{
	char line[512];
	FILE *maps = fopen("/proc/self/maps", "r");

	while (fgets(line, sizeof(line), maps))
		if (strstr(line, "[vdso]"))
			sscanf(line, "%lx-%lx", &real_start, &real_end);
	fclose(maps);
}

int main(void)
{
	static const struct { const char *name; function (*look_up)(const char *); } ways[] = {
		{ "DT_HASH", by_hash }, { "DT_GNU_HASH", by_gnu_hash }, { "section headers", by_sections }, { "versions", by_version },
	};
	void *handle = dlopen("linux-vdso.so.1", RTLD_LAZY | RTLD_NOLOAD);

	image = (char *)getauxval(AT_SYSINFO_EHDR);
	find_real();
	check((uintptr_t)image != real_start, "AT_SYSINFO_EHDR is the kernel's");
	for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		function enter = ways[i].look_up(NAME);
		uintptr_t clock = (uintptr_t)ways[i].look_up("__vdso_clock_gettime");

		check(enter && enter() == 4242, "%s: %p", ways[i].name, (void *)enter);
		check(clock >= real_start && clock < real_end, "%s: clock_gettime at %lx", ways[i].name, clock);
		check(!ways[i].look_up("__vdso_no_such_function"), "%s", ways[i].name);
	}
	check(__vdso_sgx_enter_enclave && __vdso_sgx_enter_enclave() == 4242, "bound by ld.so");
	check(handle, "%s", dlerror());
	function versioned = handle ? (function)dlvsym(handle, NAME, "LINUX_2.6") : NULL;

	check(versioned && versioned() == 4242, "dlvsym");
	/* What the kernel has, and no more than one of ours. */
	check(((unsigned *)dynamic(DT_HASH))[1] >= 6, "symbols: %u", ((unsigned *)dynamic(DT_HASH))[1]);
	return finish("the substitute vDSO is found in every way");
}
