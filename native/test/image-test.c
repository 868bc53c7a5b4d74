/* The stub's own file: where it lies, what it may contain. Usage: image-test STUB */
#include "check.h"
#include "../include/layout.h"
#include <elf.h>
#include <string.h>

int main(int argc, char **argv)
{
	static char file[4 << 20];
	FILE *stub = argc > 1 ? fopen(argv[1], "r") : NULL;
	size_t size = stub ? fread(file, 1, sizeof(file), stub) : 0;
	Elf64_Ehdr *header = (void *)file;
	Elf64_Phdr *p = (void *)(file + header->e_phoff);

	check(size > sizeof(*header) && size < sizeof(file), "%zu bytes", size);
	check(header->e_type == ET_EXEC, "type %d", header->e_type);
	for (int i = 0; i < header->e_phnum; i++, p++) {
		check(p->p_type == PT_LOAD || p->p_type == PT_GNU_STACK, "program header of type %x", p->p_type);
		check((p->p_flags & (PF_W | PF_X)) != (PF_W | PF_X), "writable and executable");
		if (p->p_type != PT_LOAD)
			continue;
		check(p->p_vaddr >= STUB_MAP_IMAGE, "%lx", p->p_vaddr);
		check(p->p_vaddr + p->p_memsz <= STUB_MAP_IMAGE + STUB_MAP_IMAGE_SIZE, "ends at %lx", p->p_vaddr + p->p_memsz);
	}
	return finish("the stub is a static image at its fixed address");
}
