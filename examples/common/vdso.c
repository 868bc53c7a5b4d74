/* The vDSO is a small library that the kernel maps into every process; this looks a function up in it by name. */
#include "loader.h"

#include <elf.h>
#include <string.h>
#include <sys/auxv.h>

vdso_sgx_enter_enclave_t find_enter_enclave(void)
{
	const char *image = (const char *)getauxval(AT_SYSINFO_EHDR);
	const Elf64_Dyn *dynamic = NULL;
	const Elf64_Sym *symbols = NULL;
	const char *names = NULL;
	const uint32_t *hash = NULL;

	if (image == NULL)
		return NULL;
	const Elf64_Ehdr *header = (const Elf64_Ehdr *)image;
	const Elf64_Phdr *segments = (const Elf64_Phdr *)(image + header->e_phoff);
	for (int i = 0; i < header->e_phnum; i++)
		if (segments[i].p_type == PT_DYNAMIC)
			dynamic = (const Elf64_Dyn *)(image + segments[i].p_offset);
	for (; dynamic != NULL && dynamic->d_tag != DT_NULL; dynamic++) {
		const char *target = image + dynamic->d_un.d_ptr;

		if (dynamic->d_tag == DT_SYMTAB)
			symbols = (const Elf64_Sym *)target;
		else if (dynamic->d_tag == DT_STRTAB)
			names = target;
		else if (dynamic->d_tag == DT_HASH)
			hash = (const uint32_t *)target;
	}
	if (symbols == NULL || names == NULL || hash == NULL)
		return NULL;
	/* The second word of a DT_HASH table is the number of symbols. */
	for (uint32_t i = 0; i < hash[1]; i++)
		if (symbols[i].st_shndx != SHN_UNDEF && !strcmp(names + symbols[i].st_name, "__vdso_sgx_enter_enclave"))
			return (vdso_sgx_enter_enclave_t)(image + symbols[i].st_value);
	return NULL;
}
