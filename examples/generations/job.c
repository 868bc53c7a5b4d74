/* The pages of the enclave as they were signed (src/formats/README.md has the rules), and how it is entered. */
#define _GNU_SOURCE
#include "job.h"

#include "loader.h"

#include <elf.h>
#include <err.h>
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MAX_PAGES 32
#define SECINFO_R 0x001UL
#define SECINFO_W 0x002UL
#define SECINFO_X 0x004UL
#define SECINFO_TCS 0x100UL
#define SECINFO_REG 0x200UL
#define EENTER 2
#define ERESUME 3
#define EEXIT 4

static struct page pages[MAX_PAGES];
static int page_count;

static char *zero_pages(size_t length)
{
	char *bytes = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (bytes == MAP_FAILED)
		err(1, "no memory");
	return bytes;
}

static void list(uint64_t offset, const char *bytes, uint64_t secinfo_flags, int count)
{
	for (int i = 0; i < count; i++) {
		if (page_count == MAX_PAGES)
			errx(1, "more pages than this example has room for");
		pages[page_count++] = (struct page){ offset + (uint64_t)i * PAGE, bytes + i * PAGE, { secinfo_flags } };
	}
}

/* PT_LOAD segments; the offset behind them. */
static uint64_t list_segments(const struct enclave_image *image)
{
	const Elf64_Ehdr *header = (const Elf64_Ehdr *)image->bytes;
	const Elf64_Phdr *segment = (const Elf64_Phdr *)(image->bytes + header->e_phoff), *last = segment + header->e_phnum;
	uint64_t end = 0;

	for (; segment < last; segment++) {
		if (segment->p_type != PT_LOAD || segment->p_memsz == 0)
			continue;
		uint64_t start = segment->p_vaddr & ~(PAGE - 1);
		end = (segment->p_vaddr + segment->p_memsz + PAGE - 1) & ~(PAGE - 1);
		char *bytes = zero_pages(end - start);
		memcpy(bytes + (segment->p_vaddr - start), image->bytes + segment->p_offset, segment->p_filesz);
		list(start, bytes,
		     SECINFO_REG | (segment->p_flags & PF_R ? SECINFO_R : 0) | (segment->p_flags & PF_W ? SECINFO_W : 0) |
			     (segment->p_flags & PF_X ? SECINFO_X : 0),
		     (int)((end - start) / PAGE));
	}
	return end;
}

/* Behind a guard page: stack, TCS, save area. Returns the TCS's offset. */
static uint64_t list_thread(const struct enclave_image *image, uint64_t guard)
{
	const struct vitrine_enclave_layout *layout = &image->layout;
	uint64_t stack = guard + PAGE, tcs = stack + layout->stack_pages * PAGE;
	/* STATE, FLAGS, OSSA, CSSA and NSSA, OENTRY, AEP, OFSBASE, OGSBASE, FSLIMIT and GSLIMIT. */
	uint64_t *fields = (uint64_t *)zero_pages(PAGE);

	fields[2] = tcs + PAGE;
	fields[3] = (uint64_t)layout->nssa << 32;
	fields[4] = ((const Elf64_Ehdr *)image->bytes)->e_entry;
	fields[8] = ~0UL;
	list(stack, zero_pages(layout->stack_pages * PAGE), SECINFO_REG | SECINFO_R | SECINFO_W, (int)layout->stack_pages);
	list(tcs, (const char *)fields, SECINFO_TCS, 1);
	list(tcs + PAGE, zero_pages(layout->nssa * PAGE), SECINFO_REG | SECINFO_R | SECINFO_W, (int)layout->nssa);
	return tcs;
}

struct job job_read(const char *argv0)
{
	static char program[PATH_MAX];
	char elf[PATH_MAX], sigstruct[PATH_MAX], *path = strdup(argv0);
	const char *folder = dirname(path);

	snprintf(elf, sizeof(elf), "%s/enclave.elf", folder);
	snprintf(sigstruct, sizeof(sigstruct), "%s/enclave.sigstruct", folder);
	snprintf(program, sizeof(program), "%s", argv0);
	free(path);
	struct enclave_image image = enclave_read(elf, sigstruct);
	/* SIZE, BASEADDR, SSAFRAMESIZE and MISCSELECT; ATTRIBUTES and XFRM are at 48. */
	uint64_t *secs = (uint64_t *)zero_pages(PAGE);
	secs[0] = image.layout.elrange_size;
	secs[2] = image.layout.ssa_frame_size;
	secs[6] = image.layout.attributes;
	secs[7] = image.layout.xfrm;
	uint64_t tcs_offset = list_thread(&image, list_segments(&image));
	setvbuf(stdout, NULL, _IOLBF, 0);
	return (struct job){ basename(program), image.layout.elrange_size, secs, image.sigstruct, pages, page_count, tcs_offset, 0 };
}

char *job_reserve(const struct job *job)
{
	char *whole = mmap(NULL, 2 * job->size_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (whole == MAP_FAILED)
		err(1, "no address space");
	char *base = (char *)(((uintptr_t)whole + job->size_bytes - 1) & ~(job->size_bytes - 1));
	job_set_base(job, base);
	return base;
}

void job_set_base(const struct job *job, const char *base)
{
	((uint64_t *)job->secs)[1] = (uint64_t)base;
}

/* After an exception R12 to R15 are zero, and the vDSO does not give them back: whoever calls it has to. */
static __attribute__((noinline)) int enter_saving(vdso_sgx_enter_enclave_t enter, struct call *call, unsigned leaf,
						  struct sgx_enclave_run *run)
{
	int result = enter((unsigned long)call, 0, 0, leaf, 0, 0, run);

	__asm__ volatile("" ::: "rbx", "r12", "r13", "r14", "r15", "memory");
	return result;
}

struct outcome job_enter(const struct job *job, const char *base, struct call *call, int resume)
{
	static vdso_sgx_enter_enclave_t enter;
	struct sgx_enclave_run run = { .tcs = (uint64_t)base + job->tcs_offset };

	if (enter == NULL && (enter = find_enter_enclave()) == NULL)
		errx(1, "this kernel's vDSO has no __vdso_sgx_enter_enclave");
	if (enter_saving(enter, call, resume ? ERESUME : EENTER, &run) != 0)
		errx(1, "__vdso_sgx_enter_enclave refused its arguments");
	if (run.function != EEXIT)
		return (struct outcome){ 0, run.exception_vector, run.exception_error_code };
	return (struct outcome){ call->answer, 0, 0 };
}

void job_do(const struct job *job, const char *base)
{
	struct call call = { .function = CALL_ADD, .number = 34 };
	struct outcome outcome = job_enter(job, base, &call, 0);

	if (outcome.vector != 0) {
		printf("%s: EENTER: exception %u, error code 0x%x\n", job->program, outcome.vector, outcome.error_code);
		exit(1);
	}
	printf("%s: the enclave says %lu\n", job->program, (unsigned long)outcome.answer);
	if (outcome.answer != 42)
		exit(1);
}

void bug_on(int failed, const char *condition)
{
	if (!failed)
		return;
	printf("%s: BUG_ON(%s): %s\n", program_invocation_short_name, condition, strerrorname_np(errno));
	exit(1);
}

void must_be_zero(long result, const char *what)
{
	if (result == 0)
		return;
	if (result > 0)
		printf("%s: %s: %ld, an SGX code\n", program_invocation_short_name, what, result);
	else
		printf("%s: %s: %s\n", program_invocation_short_name, what, strerrorname_np(errno));
	exit(1);
}
