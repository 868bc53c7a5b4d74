/*
 * A program that reports how it was started: everything a program can see of it, as relations rather than addresses,
 * so that the report is the same with and without the loader.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
extern char _start[], __ehdr_start[];
static char zeros[3 << 20];
static int initialised = 1234567;
#ifdef ALIGNED
static char aligned[4096] __attribute__((aligned(ALIGNED))) = { 1 };
#endif

static unsigned long sum(const char *data, size_t size)
{
	unsigned long hash = 5381;

	for (size_t i = 0; i < size; i++)
		hash = hash * 33 + (unsigned char)data[i];
	return hash;
}

static void report_file(const char *path)
{
	static char text[8 << 20];
	FILE *file = fopen(path, "r");
	size_t size = fread(text, 1, sizeof(text), file);

	fclose(file);
	printf("%s: %zu bytes, sum %lx\n", path, size, sum(text, size));
}

static void report_auxv(void)
{
	const Elf64_Ehdr *header = (void *)__ehdr_start;

	for (unsigned long type = 3; type < 64; type++) {
		unsigned long value = getauxval(type);

		switch (type) {
		case AT_PHDR:
			printf("AT_PHDR at %ld\n", (long)(value - (unsigned long)header));
			break;
		case AT_ENTRY:
			printf("AT_ENTRY is _start: %d\n", value == (unsigned long)_start);
			break;
		case AT_EXECFN:
			printf("AT_EXECFN %s\n", (char *)value);
			break;
		case AT_PLATFORM:
			printf("AT_PLATFORM %s\n", (char *)value);
			break;
		case AT_BASE:
			printf("AT_BASE is an ELF file: %d\n", value && !memcmp((void *)value, ELFMAG, SELFMAG));
			break;
		case AT_SYSINFO_EHDR:
			printf("AT_SYSINFO_EHDR is an ELF file: %d\n", value && !memcmp((void *)value, ELFMAG, SELFMAG));
			break;
		case AT_RANDOM:
			printf("AT_RANDOM there: %d\n", value != 0);
			break;
		default:
			printf("AT_%lu %lx\n", type, value);
		}
	}
	printf("%d program headers\n", header->e_phnum);
}

static void report_heap(void)
{
	char *start = sbrk(0), *at = sbrk(256 << 20);

	printf("heap grows: %d\n", at == start);
	if (at == start)
		memset(at, 1, 64 << 20);
}

/* Protections of the program's own segments and of the stack. */
static void report_maps(const char *self)
{
	char line[4096], permissions[8];
	unsigned long start, end;
	FILE *file = fopen("/proc/self/maps", "r");

	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%lx-%lx %7s", &start, &end, permissions) != 3)
			continue;
		if (strstr(line, self))
			printf("segment at %lx: %lx %s\n", start - (unsigned long)__ehdr_start, end - start, permissions);
		else if (strstr(line, "[stack]"))
			printf("stack %s\n", permissions);
	}
	fclose(file);
}

/* With clock_gettime forbidden, only the vDSO can tell the time. */
static void report_clock(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clock_gettime, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { 4, code };
	struct timespec now;

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
	printf("clock without a system call: %d\n", clock_gettime(CLOCK_MONOTONIC, &now));
}

int main(int argc, char **argv)
{
	char name[16];
	size_t bytes = 0, i;

	printf("argc %d at aligned stack: %d\n", argc, ((uintptr_t)argv - 8) % 16 == 0);
	for (i = 0; argv[i]; i++)
		bytes += sum(argv[i], strlen(argv[i]));
	printf("argv %zu, sum %zx\n", i, bytes);
	for (bytes = i = 0; environ[i]; i++)
		bytes += sum(environ[i], strlen(environ[i]));
	printf("environ %zu, sum %zx\n", i, bytes);
	prctl(PR_GET_NAME, name);
	printf("name %s\n", name);
	report_file("/proc/self/cmdline");
	report_file("/proc/self/environ");
	for (i = 0; i < sizeof(zeros) && !zeros[i]; i++)
		;
	printf("bss is zero: %d, data %d\n", i == sizeof(zeros), initialised);
#ifdef ALIGNED
	printf("aligned data at %lx\n", (unsigned long)aligned % ALIGNED);
#endif
	report_auxv();
	report_maps(argv[0]);
	report_heap();
	report_clock();
	return 7;
}
