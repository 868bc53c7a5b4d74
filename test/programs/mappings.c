/* Enclave memory mapped, unmapped, covered and protected in pieces; and bad pointers into every ioctl. */
#define _GNU_SOURCE
#include "odd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096UL
#define RW (PROT_READ | PROT_WRITE)

/*
 * Reads inside from a page that is not accessible, mends that, and resumes. Both from one frame: after EEXIT the
 * enclave returns to the stack of its EENTER.
 */
static int faults_until(uint64_t address, void (*mend)(void))
{
	struct work work = { .function = WORK_READ, .number = address };
	struct sgx_enclave_run run = { .tcs = enclave.tcs + WORKER_TCS_STRIDE };
	vdso_sgx_enter_enclave_t enter = find_enter_enclave();
	int faulted = enter_worker(enter, &work, &run, 2 /* EENTER */) == 0 && run.function == 3 && run.exception_vector == 14 &&
		      run.exception_addr == (address & ~(PAGE - 1));

	mend();
	return enter_worker(enter, &work, &run, 3 /* ERESUME */) == 0 && run.function == 4 && faulted;
}

static void fill(void)
{
	struct work work = { .function = WORK_FILL, .number = 3, .other = 64 };
	check(run_work(&work, 0).function == 4);
}

static int intact(void)
{
	struct work work = { .function = WORK_CHECK, .number = 3, .other = 64 };
	return run_work(&work, 0).function == 4 && work.answer == 0;
}

static void *map_device(uint64_t at, size_t size)
{
	return mmap((void *)at, size, RW, MAP_SHARED | MAP_FIXED, device, 0);
}

static void covered(void)
{
	uint64_t at = heap + 4 * PAGE;

	fill();
	for (int i = 0; i < 50; i++) {
		void *cover = mmap((void *)at, 3 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		check(cover == (void *)at);
		memset(cover, i + 1, 3 * PAGE); /* ordinary memory now */
		check(*(unsigned char *)cover == i + 1);
		check(map_device(at, 3 * PAGE) == (void *)at);
	}
	check(intact());
	/* An ordinary mapping that is moved there. */
	void *ordinary = mmap(NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(ordinary, 9, PAGE);
	check(mremap(ordinary, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)at) == (void *)at);
	check(*(unsigned char *)at == 9);
	check(map_device(at, PAGE) == (void *)at);
	check(intact());
}

static void map_again(void)
{
	for (uint64_t page = 1; page < 64; page += 2)
		check(map_device(heap + page * PAGE, PAGE) != MAP_FAILED);
}

static void unmapped(void)
{
	fill();
	for (uint64_t page = 1; page < 64; page += 2)
		check(munmap((void *)(heap + page * PAGE), PAGE) == 0);
	check(faults_until(heap + 5 * PAGE, map_again));
	check(intact());
	/* More than was mapped, around both ends. */
	check(munmap((void *)heap, 64 * PAGE) == 0 && munmap((void *)heap, 64 * PAGE) == 0);
	check(map_device(heap, 64 * PAGE) == (void *)heap);
	check(intact());
}

static void permit(void)
{
	check(mprotect((void *)(heap + 7 * PAGE), PAGE, RW) == 0);
}

static void protected(void)
{
	fill();
	for (int i = 0; i < 50; i++) {
		check(mprotect((void *)heap, 64 * PAGE, PROT_NONE) == 0);
		check(mprotect((void *)(heap + PAGE), 3 * PAGE, PROT_READ) == 0);
		check(mprotect((void *)heap, 64 * PAGE, RW) == 0);
	}
	check(mprotect((void *)(heap + 7 * PAGE), PAGE, PROT_NONE) == 0);
	check(faults_until(heap + 7 * PAGE, permit));
	check(mprotect((void *)heap, PAGE, RW | PROT_EXEC) == -1 && errno == EACCES);
	check(intact());
}

static uint64_t interesting(uint64_t hole, uint64_t read_only)
{
	const uint64_t values[] = { 0, 1, 8, PAGE, hole, hole - 1, hole - 8, hole - 256, read_only, read_only + 4, enclave.tcs & ~4095UL,
		heap, heap + 1, (uint64_t)enclave.base, enclave.size_bytes, 1UL << 47, (1UL << 47) - 1, (1UL << 47) - PAGE, 1UL << 52,
		1UL << 63, ~0UL, ~0UL - 4095, 0xffffffffff600000, 0x500000000000, 0x500001000000, 0x7fffffff, 0xffffffff, (uint64_t)device,
		(uint64_t)values & ~4095UL };
	return values[(size_t)rand() % (sizeof values / sizeof *values)];
}

static void pointers(void)
{
	static const unsigned long commands[] = { SGX_IOC_ENCLAVE_CREATE, SGX_IOC_ENCLAVE_ADD_PAGES, SGX_IOC_ENCLAVE_INIT,
		SGX_IOC_ENCLAVE_PROVISION, SGX_IOC_VEPC_REMOVE_ALL, SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS,
		SGX_IOC_ENCLAVE_MODIFY_TYPES, SGX_IOC_ENCLAVE_REMOVE_PAGES };
	char *pages = mmap(NULL, 3 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t hole = (uint64_t)pages + PAGE, read_only = hole + PAGE;
	int done = 0;

	munmap((void *)hole, PAGE);
	mprotect((void *)read_only, PAGE, PROT_READ);
	srand(1);
	for (int i = 0; i < 20000; i++) {
		/* A file that has no enclave, or the one that lives; never its heap, which other scenarios need. */
		int fresh = i % 8 ? -1 : open("/dev/sgx_enclave", O_RDWR | O_CLOEXEC);
		unsigned long command = commands[(size_t)rand() % 8] ^ (rand() % 16 ? 0 : 1UL << rand() % 32);
		uint64_t *argument = (uint64_t *)(pages + 8 * (size_t)(rand() % 64));

		for (int word = 0; word < 8; word++)
			argument[word] = interesting(hole, read_only);
		int fd = fresh >= 0 ? fresh : rand() % 4 ? device : rand() % 3000 - 10;
		if (fd != fresh && fd != device && fd >= 0 && fd < 3)
			fd = 999;
		void *pointer = rand() % 3 ? argument : (void *)interesting(hole, read_only);
		if (fd == device && pointer == argument && (command == SGX_IOC_ENCLAVE_REMOVE_PAGES ||
		    command == SGX_IOC_ENCLAVE_MODIFY_TYPES || command == SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS))
			argument[0] |= 1; /* not aligned: refused whatever else it says */
		done += ioctl(fd, command, pointer) == 0;
		if (fresh >= 0)
			close(fresh);
	}
	check(done < 20000);
	munmap(pages, PAGE);
	munmap((void *)read_only, PAGE);
}

int main(int count, char **names)
{
	static const struct scenario scenarios[] = {
		{ "covered", covered }, { "unmapped", unmapped }, { "protected", protected }, { "pointers", pointers },
	};
	(void)count;
	return run_scenarios(scenarios, sizeof scenarios / sizeof *scenarios, names);
}
