/*
 * Usage: cpuid-test FILE: maps what an ELF file has to run, lets the stub replace its CPUID instructions, and prints the
 * addresses at which bytes have changed, to be compared with what a disassembler says.
 */
#include "check.h"
#include <elf.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>

extern bool replaces_cpuid;
void replace_cpuids(int fd, unsigned long offset, unsigned long start, unsigned long size, unsigned long prot);

enum { PAGE = 4096 };

int main(int argc, char **argv)
{
	int fd = argc > 1 ? open(argv[1], O_RDONLY) : -1;
	struct stat stat;

	if (fd < 0 || fstat(fd, &stat))
		return 2;
	char *file = mmap(NULL, stat.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	Elf64_Ehdr *header = (void *)file;
	Elf64_Phdr *p = (void *)(file + header->e_phoff);
	replaces_cpuid = true;
	for (int i = 0; i < header->e_phnum; i++, p++) {
		if (p->p_type != PT_LOAD || !(p->p_flags & PF_X))
			continue;
		size_t before = p->p_offset % PAGE, size = (before + p->p_filesz + PAGE - 1) & -PAGE;
		unsigned char *code = mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, p->p_offset - before);
		replace_cpuids(fd, p->p_offset - before, (unsigned long)code, size, PROT_READ | PROT_EXEC);
		for (size_t at = before; at < before + p->p_filesz; at++)
			if (code[at] != (unsigned char)file[p->p_offset - before + at])
				printf("%lx\n", p->p_vaddr - before + at - 1);
	}
	return 0;
}
