/*
 * Maps the program and its interpreter beside the stub, as the kernel's ELF loader would.
 * Every number in the headers is checked before it is used: a file that lies gets ENOEXEC, and the caller of execve is
 * still there to hear it.
 *
 * Source: fs/binfmt_elf.c
 */
#include "stub.h"
#include <linux/elf.h>
#include <linux/fcntl.h>
#include <linux/limits.h>
#include <linux/mman.h>
#include <linux/personality.h>
#include <asm/stat.h>
#include "loader.h"

#define TASK_SIZE 0x7ffffffff000UL
#define ELF_ET_DYN_BASE 0x555555554000UL        /* two thirds of TASK_SIZE: where the kernel puts PIE programs */
#define PIE_RANDOM_PAGES (1UL << 28)            /* vm.mmap_rnd_bits by default */

/* What the first pass over the headers learns. */
struct elf {
	Elf64_Ehdr header;
	u64 start, end;                 /* page-aligned range of all segments, before the bias */
	u64 align;
	bool executable_stack;
	char interpreter[PATH_MAX];     /* empty: none */
};

static i64 read_exactly(int fd, void *to, u64 size, u64 offset)
{
	return offset <= TASK_SIZE && sys(__NR_pread64, fd, to, size, offset) == (i64)size ? 0 : -ENOEXEC;
}

static i64 read_program_header(int fd, const struct elf *elf, u32 index, Elf64_Phdr *to)
{
	return read_exactly(fd, to, sizeof(*to), elf->header.e_phoff + index * sizeof(*to));
}

static i64 check_segment(struct elf *elf, const Elf64_Phdr *p, u64 file_size)
{
	u64 start = ALIGN_DOWN(p->p_vaddr, PAGE);

	if (p->p_filesz > p->p_memsz || p->p_memsz > TASK_SIZE || p->p_vaddr > TASK_SIZE - p->p_memsz)
		return -ENOEXEC;
	if (p->p_offset > file_size || p->p_filesz > file_size - p->p_offset)
		return -ENOEXEC;
	if ((p->p_vaddr - p->p_offset) % PAGE)
		return -ENOEXEC;
	if (!p->p_memsz)
		return 0;
	if (start < elf->start)
		elf->start = start;
	if (ALIGN_UP(p->p_vaddr + p->p_memsz, PAGE) > elf->end)
		elf->end = ALIGN_UP(p->p_vaddr + p->p_memsz, PAGE);
	if (p->p_align > elf->align && !(p->p_align & (p->p_align - 1)))
		elf->align = p->p_align;
	return 0;
}

static i64 read_interpreter(int fd, struct elf *elf, const Elf64_Phdr *p)
{
	if (elf->interpreter[0])
		return 0;               /* the kernel takes the first */
	if (p->p_filesz < 2 || p->p_filesz > PATH_MAX || read_exactly(fd, elf->interpreter, p->p_filesz, p->p_offset))
		return -ENOEXEC;
	return elf->interpreter[p->p_filesz - 1] ? -ENOEXEC : 0;
}

/* Reads and checks all headers. */
static i64 read_elf(int fd, struct elf *elf)
{
	Elf64_Ehdr *h = &elf->header;
	Elf64_Phdr p;
	struct stat st;
	i64 r;

	if (read_exactly(fd, h, sizeof(*h), 0) || memcmp(h->e_ident, ELFMAG, SELFMAG))
		return -ENOEXEC;
	if (h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_machine != EM_X86_64) {
		complain("only x86-64 programs can be started");
		return -ENOEXEC;
	}
	if ((h->e_type != ET_EXEC && h->e_type != ET_DYN) || h->e_phentsize != sizeof(p) || !h->e_phnum ||
	    h->e_phnum > 65536 / sizeof(p) || h->e_phoff > TASK_SIZE)
		return -ENOEXEC;
	if (is_error(sys(__NR_fstat, fd, &st)))
		return -ENOEXEC;

	elf->start = TASK_SIZE;
	elf->end = 0;
	elf->align = PAGE;
	elf->executable_stack = false;
	elf->interpreter[0] = 0;
	for (u32 i = 0; i < h->e_phnum; i++) {
		r = read_program_header(fd, elf, i, &p);
		if (!r && p.p_type == PT_LOAD)
			r = check_segment(elf, &p, st.st_size);
		else if (!r && p.p_type == PT_INTERP)
			r = read_interpreter(fd, elf, &p);
		else if (!r && p.p_type == PT_GNU_STACK)
			elf->executable_stack = p.p_flags & PF_X;
		if (r)
			return r;
	}
	return elf->start < elf->end ? 0 : -ENOEXEC;
}

u64 random_below(u64 limit)
{
	u64 value = 0;

	if (sys(__NR_personality, 0xffffffff) & ADDR_NO_RANDOMIZE)
		return 0;
	sys(__NR_getrandom, &value, sizeof(value), 0);
	return value % limit;
}

/*
 * Finds room for the whole program and returns the bias, or an error. A PIE program goes where the kernel puts it, so that the
 * heap behind it can grow; an interpreter wherever mmap likes.
 */
static i64 find_room(const struct elf *elf, bool interpreter, u64 *bias)
{
	u64 length = elf->end - elf->start, flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, wanted = elf->start, at;
	bool fixed = elf->header.e_type == ET_EXEC;

	if (fixed) {
		flags |= MAP_FIXED_NOREPLACE;
	} else {
		wanted = interpreter ? 0 : ELF_ET_DYN_BASE + random_below(PIE_RANDOM_PAGES) * PAGE;
		if (elf->align > TASK_SIZE - length)
			return -ENOEXEC;
		length += elf->align - PAGE;
	}
	at = sys(__NR_mmap, wanted, length, PROT_NONE, flags, -1, 0);
	if (is_error(at))
		return at;
	sys(__NR_munmap, at, length);
	if (fixed && at != wanted)
		return -EEXIST;         /* before Linux 4.17 the flag is only a hint */
	*bias = fixed ? 0 : ALIGN_UP(at - elf->start, elf->align);
	return 0;
}

static i64 map_segment(int fd, const Elf64_Phdr *p, u64 bias)
{
	u64 start = ALIGN_DOWN(p->p_vaddr + bias, PAGE), file_end = p->p_vaddr + p->p_filesz + bias;
	u64 end = ALIGN_UP(p->p_vaddr + p->p_memsz + bias, PAGE), zero_from = start;
	u64 prot = (p->p_flags & PF_R ? PROT_READ : 0) | (p->p_flags & PF_W ? PROT_WRITE : 0) |
		   (p->p_flags & PF_X ? PROT_EXEC : 0);
	i64 r;

	if (p->p_filesz) {
		zero_from = ALIGN_UP(file_end, PAGE);
		r = sys(__NR_mmap, start, zero_from - start, prot, MAP_PRIVATE | MAP_FIXED, fd,
			ALIGN_DOWN(p->p_offset, PAGE));
		if (is_error(r))
			return r;
		if (p->p_flags & PF_X)
			replace_cpuids(fd, ALIGN_DOWN(p->p_offset, PAGE), start, zero_from - start, prot);
		/* As in the kernel, the rest of the last page is zero only where the program could have made it so. */
		if (p->p_memsz > p->p_filesz && p->p_flags & PF_W)
			memset((void *)file_end, 0, zero_from - file_end);
	}
	if (end <= zero_from)
		return 0;
	r = sys(__NR_mmap, zero_from, end - zero_from, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	return is_error(r) ? r : 0;
}

static void note_segment(struct image *image, const struct elf *elf, const Elf64_Phdr *p, u64 bias)
{
	u64 start = p->p_vaddr + bias, file_end = start + p->p_filesz, end = start + p->p_memsz;

	if (elf->header.e_phoff >= p->p_offset && elf->header.e_phoff < p->p_offset + p->p_filesz)
		image->program_headers = elf->header.e_phoff - p->p_offset + start;
	if (p->p_flags & PF_X && (!image->code_start || start < image->code_start))
		image->code_start = start;
	if (p->p_flags & PF_X && file_end > image->code_end)
		image->code_end = file_end;
	if (start > image->data_start)
		image->data_start = start;
	if (file_end > image->data_end)
		image->data_end = file_end;
	if (end > image->end)
		image->end = end;
}

/* Maps one file; `image` gets everything but the entry when it is the program. */
static i64 map_elf(int fd, const struct elf *elf, struct image *image, u64 *bias)
{
	Elf64_Phdr p;
	i64 r = find_room(elf, !image, bias);

	for (u32 i = 0; !r && i < elf->header.e_phnum; i++) {
		r = read_program_header(fd, elf, i, &p);
		if (r || p.p_type != PT_LOAD || !p.p_memsz)
			continue;
		r = map_segment(fd, &p, *bias);
		if (image)
			note_segment(image, elf, &p, *bias);
	}
	return r;
}

/* Opens the interpreter and reads its headers over those of the program; a result is its descriptor. */
static i64 open_interpreter(struct elf *elf)
{
	i64 fd = open_executable(AT_FDCWD, elf->interpreter, 0), r;

	if (is_error(fd))
		return fd;
	r = read_elf(fd, elf);
	if (r) {
		sys(__NR_close, fd);
		return r == -ENOEXEC ? -ELIBBAD : r;
	}
	return fd;
}

i64 check_program(int fd)
{
	struct elf elf;
	i64 r = read_elf(fd, &elf);

	if (r || !elf.interpreter[0])
		return r;
	r = open_interpreter(&elf);
	if (is_error(r))
		return r;
	sys(__NR_close, r);
	return 0;
}

i64 map_program(int fd, struct image *image)
{
	struct elf elf;
	u64 bias;
	i64 r = read_elf(fd, &elf), interpreter;

	memset(image, 0, sizeof(*image));
	if (!r)
		r = map_elf(fd, &elf, image, &bias);
	if (r)
		return r;
	image->entry = image->program_entry = elf.header.e_entry + bias;
	image->program_header_count = elf.header.e_phnum;
	image->executable_stack = elf.executable_stack;
	if (!elf.interpreter[0])
		return 0;

	interpreter = open_interpreter(&elf);
	if (is_error(interpreter))
		return interpreter;
	r = map_elf(interpreter, &elf, NULL, &image->interpreter_base);
	image->entry = elf.header.e_entry + image->interpreter_base;
	sys(__NR_close, interpreter);
	return r;
}
