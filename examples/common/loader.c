/* From an ELF file and its signature to an enclave that can be entered: the same steps as on real hardware. */
#define _GNU_SOURCE
#include "loader.h"

#include <elf.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096UL
#define SIGSTRUCT_BYTES 1808
#define SECINFO_R 0x001UL
#define SECINFO_W 0x002UL
#define SECINFO_X 0x004UL
#define SECINFO_TCS 0x100UL
#define TCS_FLAGS_AEXNOTIFY 2UL
#define SECINFO_REG 0x200UL

/* The part of the SECS that the creator of an enclave fills in (SDM "SGX Enclave Control Structure (SECS)"). */
struct secs {
	uint64_t size, base;
	uint32_t ssa_frame_size, misc_select;
	uint8_t reserved1[24];
	uint64_t attributes, xfrm;
	uint8_t reserved2[4096 - 64];
};

/* And of a TCS (SDM "Thread Control Structure (TCS)"). */
struct tcs {
	uint64_t state, flags, ossa;
	uint32_t cssa, nssa;
	uint64_t oentry, aep, ofs_base, ogs_base;
	uint32_t fs_limit, gs_limit;
	uint8_t reserved[4096 - 72];
};

struct file {
	const char *path;
	char *bytes;
	size_t length;
};

static size_t round_up(size_t value)
{
	return (value + PAGE - 1) & ~(PAGE - 1);
}

static struct file read_file(const char *path)
{
	struct stat status;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &status) < 0)
		err(1, "%s (build it with make)", path);
	struct file file = { path, NULL, (size_t)status.st_size };
	file.bytes = mmap(NULL, file.length, PROT_READ, MAP_PRIVATE, fd, 0);
	if (file.bytes == MAP_FAILED)
		err(1, "%s", path);
	close(fd);
	return file;
}

/* Zeroed pages to add from: ADD_PAGES copies whole pages. */
static char *zero_pages(size_t length)
{
	char *pages = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (pages == MAP_FAILED)
		err(1, "no memory for %zu bytes", length);
	return pages;
}

/* The file was made by our own Makefile and checked by `vitrine sign`, so its offsets are believed here. */
static struct vitrine_enclave_layout find_layout(const struct file *elf)
{
	const Elf64_Ehdr *header = (const Elf64_Ehdr *)elf->bytes;
	const Elf64_Phdr *segment = (const Elf64_Phdr *)(elf->bytes + header->e_phoff);
	const Elf64_Phdr *end = segment + header->e_phnum;

	for (; segment < end; segment++) {
		size_t length = segment->p_type == PT_NOTE ? segment->p_filesz : 0;

		for (size_t at = 0; at + sizeof(struct vitrine_enclave_note) <= length;) {
			const struct vitrine_enclave_note *note = (const void *)(elf->bytes + segment->p_offset + at);

			if (note->type == VITRINE_NOTE_TYPE && !memcmp(note->owner, VITRINE_NOTE_OWNER, sizeof(note->owner)))
				return note->layout;
			at += 12 + ((note->owner_length + 3) & ~3UL) + ((note->content_length + 3) & ~3UL);
		}
	}
	errx(1, "%s: no note describes the enclave", elf->path);
}

struct enclave_image enclave_read(const char *elf_path, const char *sigstruct_path)
{
	struct file elf = read_file(elf_path), sigstruct = read_file(sigstruct_path);
	struct enclave_image image = { elf.bytes, find_layout(&elf), sigstruct_path, sigstruct.bytes };

	if (sigstruct.length != SIGSTRUCT_BYTES)
		errx(1, "%s: %zu bytes, a SIGSTRUCT has %d", sigstruct_path, sigstruct.length, SIGSTRUCT_BYTES);
	if (image.layout.elrange_size == 0)
		errx(1, "%s: this loader wants the size of ELRANGE in the note", elf_path);
	return image;
}

/* An enclave must lie at a multiple of its size: reserve twice as much and give back what is too much. */
char *enclave_reserve(const struct enclave_image *image)
{
	size_t size = image->layout.elrange_size;
	char *whole = mmap(NULL, 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (whole == MAP_FAILED)
		err(1, "no address space for an enclave of %zu bytes", size);
	char *base = (char *)(((uintptr_t)whole + size - 1) & ~(size - 1));
	if (base > whole)
		munmap(whole, (size_t)(base - whole));
	munmap(base + size, (size_t)(whole + size - base));
	return base;
}

void enclave_reserve_at(const struct enclave_image *image, char *base)
{
	size_t size = image->layout.elrange_size;

	if (mmap(base, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != base)
		err(1, "the enclave's addresses, %p and %zu bytes on, are taken in this process", (void *)base, size);
}

static void add_pages(int fd, uint64_t offset, const char *source, size_t length, uint64_t secinfo_flags, int measure)
{
	uint64_t secinfo[8] __attribute__((aligned(64))) = { secinfo_flags };
	struct sgx_enclave_add_pages request = {
		.src = (uint64_t)source,
		.offset = offset,
		.length = length,
		.secinfo = (uint64_t)secinfo,
		.flags = measure ? SGX_PAGE_MEASURE : 0,
	};

	printf("  add  +0x%05lx  %3zu pages  %s%s%s%s\n", (unsigned long)offset, length / PAGE,
	       secinfo_flags & SECINFO_TCS ? "TCS" : "", secinfo_flags & SECINFO_R ? "R" : "",
	       secinfo_flags & SECINFO_W ? "W" : "", secinfo_flags & SECINFO_X ? "X" : "");
	/* A signal may end the call early: `count` says how far it came. */
	while (request.length > 0) {
		if (ioctl(fd, SGX_IOC_ENCLAVE_ADD_PAGES, &request) < 0 && errno != EINTR)
			err(1, "SGX_IOC_ENCLAVE_ADD_PAGES at +0x%lx", (unsigned long)request.offset);
		request.src += request.count;
		request.offset += request.count;
		request.length -= request.count;
		request.count = 0;
	}
}

/* Enclave pages become visible by mapping the device over the reservation; the file offset does not matter. */
static void map_pages(int fd, char *address, size_t length, int protection)
{
	if (mmap(address, length, protection, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
		err(1, "mmap of enclave pages at %p", (void *)address);
}

static void add_segments(int fd, const struct enclave_image *image, int tamper)
{
	const Elf64_Ehdr *header = (const Elf64_Ehdr *)image->bytes;
	const Elf64_Phdr *segments = (const Elf64_Phdr *)(image->bytes + header->e_phoff);

	for (int i = 0; i < header->e_phnum; i++) {
		const Elf64_Phdr *segment = &segments[i];

		if (segment->p_type != PT_LOAD || segment->p_memsz == 0)
			continue;
		size_t start = segment->p_vaddr & ~(PAGE - 1);
		size_t length = round_up(segment->p_vaddr + segment->p_memsz) - start;
		uint64_t secinfo = SECINFO_REG | (segment->p_flags & PF_R ? SECINFO_R : 0) |
				   (segment->p_flags & PF_W ? SECINFO_W : 0) | (segment->p_flags & PF_X ? SECINFO_X : 0);
		char *pages = zero_pages(length);

		memcpy(pages + (segment->p_vaddr - start), image->bytes + segment->p_offset, segment->p_filesz);
		if (tamper && segment->p_flags & PF_X)
			pages[length - 1] ^= 1;
		add_pages(fd, start, pages, length, secinfo, 1);
		munmap(pages, length);
	}
}

/* The page after the last PT_LOAD segment. */
static size_t end_of_segments(const struct enclave_image *image)
{
	const Elf64_Ehdr *header = (const Elf64_Ehdr *)image->bytes;
	const Elf64_Phdr *segments = (const Elf64_Phdr *)(image->bytes + header->e_phoff);
	size_t end = 0;

	for (int i = 0; i < header->e_phnum; i++)
		if (segments[i].p_type == PT_LOAD && segments[i].p_memsz != 0)
			end = round_up(segments[i].p_vaddr + segments[i].p_memsz);
	return end;
}

/* The heap is added but not measured: it is zero anyway. */
static void add_heap(int fd, size_t start, size_t length)
{
	if (length == 0)
		return;
	char *zeroes = zero_pages(length);
	add_pages(fd, start, zeroes, length, SECINFO_REG | SECINFO_R | SECINFO_W, 0);
	munmap(zeroes, length);
}

/* A thread's stack, TCS and save area, from `start` on. */
static void add_thread(int fd, size_t start, const struct enclave_image *image)
{
	const struct vitrine_enclave_layout *layout = &image->layout;
	size_t stack_bytes = layout->stack_pages * PAGE;
	size_t ssa_bytes = (size_t)layout->nssa * layout->ssa_frame_size * PAGE;
	char *zeroes = zero_pages(stack_bytes + ssa_bytes);
	struct tcs *tcs = (struct tcs *)zero_pages(PAGE);

	tcs->flags = layout->attributes & SGX_ATTR_AEXNOTIFY ? TCS_FLAGS_AEXNOTIFY : 0;
	tcs->ossa = start + stack_bytes + PAGE;
	tcs->nssa = layout->nssa;
	tcs->oentry = ((const Elf64_Ehdr *)image->bytes)->e_entry;
	tcs->fs_limit = tcs->gs_limit = 0xffffffff;
	add_pages(fd, start, zeroes, stack_bytes, SECINFO_REG | SECINFO_R | SECINFO_W, 1);
	add_pages(fd, start + stack_bytes, (const char *)tcs, PAGE, SECINFO_TCS, 1);
	add_pages(fd, start + stack_bytes + PAGE, zeroes, ssa_bytes, SECINFO_REG | SECINFO_R | SECINFO_W, 1);
	munmap(tcs, PAGE);
	munmap(zeroes, stack_bytes + ssa_bytes);
}

static void map_segments(int fd, const struct enclave_image *image, char *base)
{
	const Elf64_Ehdr *header = (const Elf64_Ehdr *)image->bytes;
	const Elf64_Phdr *segments = (const Elf64_Phdr *)(image->bytes + header->e_phoff);

	for (int i = 0; i < header->e_phnum; i++) {
		const Elf64_Phdr *segment = &segments[i];

		if (segment->p_type != PT_LOAD || segment->p_memsz == 0)
			continue;
		size_t start = segment->p_vaddr & ~(PAGE - 1);
		map_pages(fd, base + start, round_up(segment->p_vaddr + segment->p_memsz) - start,
			  (segment->p_flags & PF_R ? PROT_READ : 0) | (segment->p_flags & PF_W ? PROT_WRITE : 0) |
				  (segment->p_flags & PF_X ? PROT_EXEC : 0));
	}
}

/* Where things lie: the heap after the segments, then for each thread a guard page, stack, TCS, save area. */
struct places {
	size_t heap, threads, stack_bytes, thread_bytes;
};

static struct places places_of(const struct enclave_image *image)
{
	const struct vitrine_enclave_layout *layout = &image->layout;
	size_t heap = end_of_segments(image), stack_bytes = layout->stack_pages * PAGE;

	return (struct places){ heap, heap + layout->heap_pages * PAGE, stack_bytes,
				PAGE + stack_bytes + PAGE + (size_t)layout->nssa * layout->ssa_frame_size * PAGE };
}

int enclave_open_device(void)
{
	int fd = open("/dev/sgx_enclave", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		err(1, "/dev/sgx_enclave (without SGX, start me with: vitrine run -- build/host)");
	return fd;
}

void enclave_create(int fd, const struct enclave_image *image, char *base)
{
	const struct vitrine_enclave_layout *layout = &image->layout;
	struct secs *secs = (struct secs *)zero_pages(sizeof(struct secs));

	secs->size = layout->elrange_size;
	secs->base = (uint64_t)base;
	secs->ssa_frame_size = layout->ssa_frame_size;
	secs->misc_select = layout->misc_select;
	secs->attributes = layout->attributes;
	secs->xfrm = layout->xfrm;
	printf("  create  %lu KiB at 0x%lx\n", (unsigned long)secs->size / 1024, (unsigned long)secs->base);
	struct sgx_enclave_create create = { .src = (uint64_t)secs };
	if (ioctl(fd, SGX_IOC_ENCLAVE_CREATE, &create) < 0)
		err(1, "SGX_IOC_ENCLAVE_CREATE");
	munmap(secs, sizeof(struct secs));
}

void enclave_add_pages(int fd, const struct enclave_image *image, int tamper)
{
	struct places at = places_of(image);

	add_segments(fd, image, tamper);
	add_heap(fd, at.heap, at.threads - at.heap);
	for (uint32_t i = 0; i < image->layout.thread_count; i++)
		add_thread(fd, at.threads + i * at.thread_bytes + PAGE, image);
}

void enclave_init(int fd, const struct enclave_image *image)
{
	struct sgx_enclave_init init = { .sigstruct = (uint64_t)image->sigstruct };

	printf("  init    with the signature in %s\n", image->sigstruct_path);
	if (ioctl(fd, SGX_IOC_ENCLAVE_INIT, &init) < 0)
		err(1, "SGX_IOC_ENCLAVE_INIT");
}

struct enclave enclave_map(int fd, const struct enclave_image *image, char *base)
{
	struct places at = places_of(image);
	uint32_t threads = image->layout.thread_count;

	map_segments(fd, image, base);
	if (at.threads > at.heap)
		map_pages(fd, base + at.heap, at.threads - at.heap, PROT_READ | PROT_WRITE);
	for (uint32_t i = 0; i < threads; i++)
		map_pages(fd, base + at.threads + i * at.thread_bytes + PAGE, at.thread_bytes - PAGE, PROT_READ | PROT_WRITE);
	return (struct enclave){ base, image->layout.elrange_size, (uint64_t)(base + at.threads + PAGE + at.stack_bytes),
				 at.thread_bytes, threads };
}

struct enclave enclave_load(const char *elf_path, const char *sigstruct_path, int tamper)
{
	struct enclave_image image = enclave_read(elf_path, sigstruct_path);
	char *base = enclave_reserve(&image);
	int fd = enclave_open_device();

	enclave_create(fd, &image, base);
	enclave_add_pages(fd, &image, tamper);
	enclave_init(fd, &image);
	struct enclave enclave = enclave_map(fd, &image, base);
	close(fd);
	return enclave;
}
