/*
 * Starts each program given natively and through the loader, and compares what it reports about its start.
 * Usage: loader-test LOADER PROGRAM...
 */
#define _GNU_SOURCE
#include "check.h"
#include <string.h>
#include <sys/personality.h>
#include <sys/wait.h>
#include <unistd.h>

#define REPORT_SIZE (1 << 20)

static int run(const char *file, char **argv, char **envp, char *report)
{
	int ends[2], status;
	ssize_t got;
	size_t size = 0;

	if (pipe(ends))
		abort();
	if (!fork()) {
		dup2(ends[1], 1);
		execve(file, argv, envp);
		_exit(111);
	}
	close(ends[1]);
	while ((got = read(ends[0], report + size, REPORT_SIZE - 1 - size)) > 0)
		size += got;
	report[size] = 0;
	close(ends[0]);
	wait(&status);
	return status;
}

static void compare(const char *loader, char *program, char **arguments, int count, char **envp)
{
	static char native[REPORT_SIZE], loaded[REPORT_SIZE];
	char **argv = calloc(count + 6, sizeof(char *));
	const char *a = native, *b = loaded;
	int expected, status;

	argv[0] = "vitrine-stub";
	argv[1] = "no-host";
	argv[2] = "0";
	argv[3] = argv[4] = program;
	memcpy(argv + 5, arguments, count * sizeof(char *));
	expected = run(program, argv + 4, envp, native);
	status = run(loader, argv, envp, loaded);
	check(status == expected, "%s: %x natively, %x through the loader", program, expected, status);
	check(WIFEXITED(expected) && WEXITSTATUS(expected) == 7, "%s: %x", program, expected);
	while (*a && *a == *b)
		a++, b++;
	while (a > native && a[-1] != '\n')
		a--, b--;
	check(!strcmp(native, loaded), "%s differs:\nnatively: %.*s\n  loaded: %.*s", program, (int)strcspn(a, "\n"), a,
	      (int)strcspn(b, "\n"), b);
	free(argv);
}

int main(int argc, char **argv)
{
	static char *many[15000], *environment[5001];
	static char big[100 << 10];
	char *few[] = { "one", "", "three words here" }, *plain[] = { "A=1", "EMPTY=", NULL }, *none[] = { NULL };

	memset(big, 'x', sizeof(big) - 1);
	for (int i = 0; i < 15000; i++)
		many[i] = i % 2000 ? "argument" : big;
	for (int i = 0; i < 5000; i++)
		environment[i] = i % 1000 ? "NAME=value" : big;
	for (int i = 2; i < argc; i++) {
		compare(argv[1], argv[i], few, 3, plain);
		compare(argv[1], argv[i], few, 0, none);
		compare(argv[1], argv[i], many, 15000, environment);
	}
	personality(ADDR_NO_RANDOMIZE);
	for (int i = 2; i < argc; i++)
		compare(argv[1], argv[i], few, 3, plain);
	return finish("programs start as the kernel would start them");
}
