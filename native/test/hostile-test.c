/*
 * ELF headers that lie. check_program may accept or refuse them, map_program may fail: neither may crash or touch what
 * is mapped already. Usage: hostile-test PROGRAM
 */
#define _GNU_SOURCE
#include "check.h"
#include <elf.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

long check_program(int fd);
long map_program(int fd, void *image);

static uint64_t state = 88172645463325252;

static uint64_t next(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

/* Numbers at which arithmetic goes wrong. */
static uint64_t nasty(void)
{
	static const uint64_t values[] = {
		0, 1, 2, 7, 0x38, 0xfff, 0x1000, 0x1001, 0x200000, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000,
		0x500000000000, 0x555555554000, 0x7ffffffff000, 0x7fffffffffff, 0x800000000000, 0x7fffffffffffffff,
		0x8000000000000000, 0xfffffffffffff000, 0xffffffffffffffff,
	};
	uint64_t value = values[next() % (sizeof(values) / sizeof(values[0]))];

	return next() % 4 ? value : value + (int64_t)(next() % 33) - 16;
}

/* Changes one field of the file's header or of a program header. */
static void mutate(unsigned char *file)
{
	static const unsigned char header_fields[][2] = { { 16, 2 }, { 18, 2 }, { 24, 8 }, { 32, 8 }, { 52, 2 }, { 54, 2 }, { 56, 2 } };
	static const unsigned char program_fields[][2] = { { 0, 4 }, { 4, 4 }, { 8, 8 }, { 16, 8 }, { 32, 8 }, { 40, 8 }, { 48, 8 } };
	Elf64_Ehdr original;
	uint64_t value = nasty();

	memcpy(&original, file, sizeof(original));
	if (next() % 8 == 0) {
		const unsigned char *field = header_fields[next() % 7];

		memcpy(file + field[0], &value, field[1]);
	} else {
		const unsigned char *field = program_fields[next() % 7];

		if (field[0] == 0)
			value = next() % 2 ? PT_LOAD : PT_INTERP;
		memcpy(file + 64 + next() % 12 * 56 + field[0], &value, field[1]);
	}
}

static long try(int fd, int mapping)
{
	uint64_t image[64];
	int status;
	pid_t child;

	if (!mapping)
		return check_program(fd);
	child = fork();
	if (!child) {
		long r = map_program(fd, image);

		_exit(r < 0 && r > -4096 ? -r : r ? 255 : 0);
	}
	waitpid(child, &status, 0);
	check(WIFEXITED(status) && WEXITSTATUS(status) != 255, "map_program: status %x", status);
	return 0;
}

int main(int argc, char **argv)
{
	static unsigned char original[4 << 20], file[sizeof(original)];
	FILE *program = argc > 1 ? fopen(argv[1], "r") : NULL;
	size_t size = program ? fread(original, 1, sizeof(original), program) : 0;
	int fd = memfd_create("hostile", 0), accepted = 0;

	if (!size || write(fd, original, size) != (ssize_t)size)
		return 1;
	check(check_program(fd) == 0, "untouched");
	for (int round = 0; round < 20000; round++) {
		long r;

		memcpy(file, original, 1024);
		for (uint64_t changes = 1 + next() % 3; changes; changes--)
			mutate(file);
		if (pwrite(fd, file, 1024, 0) != 1024)
			return 1;
		r = try(fd, 0);
		check(r <= 0 && r > -4096, "round %d: %ld", round, r);
		if (r == 0 && ++accepted <= 1500)
			try(fd, 1);
	}
	check(accepted > 500, "%d accepted: too few to tell", accepted);
	/* Every length that a file can be cut to within its headers. */
	for (int length = 0; length < 1024; length++) {
		check(!ftruncate(fd, 0) && pwrite(fd, original, length, 0) == length, "length %d", length);
		check(check_program(fd) == -ENOEXEC, "length %d", length);
	}
	return finish("ELF headers that lie");
}
