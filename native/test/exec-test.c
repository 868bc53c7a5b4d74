/*
 * execve and execveat in many ways.
 * exec-test SELF SHOW LOADER   compares the kernel's answers with those of do_exec, which goes through the loader. Must
 *                              itself be run through the loader, so that /proc/self/exe is one.
 * exec-test SELF SHOW          prints the answers to its system calls.
 */
#define _GNU_SOURCE
#include "check.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

long do_exec(int directory, const char *path, char *const *argv, char *const *envp, int flags);
extern void pretend_executable(const char *path);

#define ANSWER (64 << 10)

struct call {
	int directory;
	const char *path;
	char *const *argv, *const *envp;
	int flags;
};

static void answer(const struct call *call, int ours, char *text)
{
	int ends[2];
	ssize_t got;
	size_t size = 0;

	if (pipe2(ends, O_CLOEXEC))
		abort();
	if (!fork()) {
		sigset_t mask;
		long r;

		dup2(ends[1], 1);
		sigemptyset(&mask);
		sigaddset(&mask, SIGUSR1);
		sigprocmask(SIG_SETMASK, &mask, NULL);
		r = ours ? do_exec(call->directory, call->path, call->argv, call->envp, call->flags)
			 : syscall(SYS_execveat, call->directory, call->path, call->argv, call->envp, call->flags);
		dprintf(1, "error %ld, descriptor %d is next\n", ours ? -r : (long)errno, open("/", O_PATH));
		_exit(1);
	}
	close(ends[1]);
	while ((got = read(ends[0], text + size, ANSWER - 1 - size)) > 0)
		size += got;
	text[size] = 0;
	close(ends[0]);
	wait(NULL);
}

static int printing;

static void compare(const char *what, struct call call)
{
	static char native[ANSWER], ours[ANSWER];

	answer(&call, 0, native);
	if (printing) {
		printf("%.40s: %s", (uintptr_t)what - 4096 < UINTPTR_MAX - 8192 ? what : "bad pointer", native);
		fflush(stdout);
		return;
	}
	answer(&call, 1, ours);
	check(*native && !strcmp(native, ours), "%s:\n--- the kernel\n%s--- do_exec\n%s", what, native, ours);
}

static char *const few[] = { "first", "second", "", "last", NULL }, *const none[] = { NULL }, *const variables[] = { "A=b", "C=", NULL };

static void plain(const char *path)
{
	compare(path, (struct call){ AT_FDCWD, path, few, variables, 0 });
}

static const char *script(const char *name, const char *text, size_t size)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0755);

	if (fd < 0 || write(fd, text, size) != (ssize_t)size)
		abort();
	close(fd);
	return name;
}

static void test_names(void)
{
	static char long_name[300], long_path[5000], *const odd[] = {
		"missing", "./missing/show", "directory", "directory/", "plain", "fifo", "/dev/null", "empty", "text", "loop", "show/below",
		"show/", "link", "./link", "directory/../show", "show", "./show", "", "/proc/self/status", "dangling", "no-interpreter",
	};
	char absolute[4096];

	memset(long_name, 'n', sizeof(long_name) - 1);
	for (size_t i = 0; i < sizeof(long_path) - 1; i++)
		long_path[i] = i % 2 ? '/' : '.';
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		plain(odd[i]);
	plain(long_name);
	plain(long_path);
	plain(strcat(getcwd(absolute, 4000), "/show"));
	plain(NULL);
	plain((char *)16);
	plain((char *)UINT64_MAX);
}

static void test_scripts(void)
{
	static const char *const lines[] = {
		"#!", "#!\n", "#! \t \n", "#!./show", "#!./show\n", "#! \t./show \t \n", "#!./show one\n", "#!./show  one two\tthree  \nrest\n",
		"#!./missing\n", "#!directory\n", "#!plain\n", "#!empty\n", "#!text\n", "#!loop\n", "#!show\n", "#!/\n", "# !./show\n", "#!./link x\n",
		"#!  \t", "#!fifo\n", "#!./show\0 x\n", "#!./no-interpreter\n",
	};
	char text[1024];

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		size_t size = strlen(lines[i]);

		plain(script("./script", lines[i], size + (size == 8 ? 4 : 0)));
	}
	/* Lines about as long as what the kernel reads. */
	for (int length = 240; length < 270; length++) {
		memset(text, ' ', sizeof(text));
		memcpy(text, "#!./show ", 9);
		memset(text + 9, 'a', length);
		text[9 + length] = '\n';
		plain(script("./script", text, 9 + length + 1));
		memset(text, '/', sizeof(text));
		memcpy(text, "#!./////", 8);
		memcpy(text + length - 4, "show", 4);
		text[length] = length % 2 ? ' ' : '\n';
		plain(script("./script", text, 900));
	}
	/* Nesting: script-0 is run by the program, script-N by script-(N-1). */
	script("script-0", "#!./show deep\n", 14);
	for (int depth = 1; depth < 8; depth++) {
		char name[32];
		int size = sprintf(text, "#!./script-%d arg%d\n", depth - 1, depth);

		sprintf(name, "./script-%d", depth);
		plain(script(name, text, size));
	}
	compare("script without arguments", (struct call){ AT_FDCWD, "./script-1", none, variables, 0 });
	compare("script without argv", (struct call){ AT_FDCWD, "./script-1", NULL, variables, 0 });
}

static void test_arguments(void)
{
	static char *many[200001], big[200 << 10], *too_big[] = { "x", big, NULL };
	static char page[8192] __attribute__((aligned(4096)));
	char **at_end = (char **)(page + 4096) - 1;

	memset(big, 'x', sizeof(big) - 1);
	for (int i = 0; i < 200000; i++)
		many[i] = "a";
	compare("200,000 arguments", (struct call){ AT_FDCWD, "./show", many, many + 199999, 0 });
	compare("199,000 arguments, a script", (struct call){ AT_FDCWD, "./script-2", many + 1000, variables, 0 });
	many[1023] = NULL;
	for (int i = 1010; i < 1023; i++)
		compare("about as many as fit on the stack", (struct call){ AT_FDCWD, "./show", many + 1023 - i, variables, 0 });
	compare("argument too long", (struct call){ AT_FDCWD, "./show", too_big, variables, 0 });
	compare("no argv", (struct call){ AT_FDCWD, "./show", NULL, variables, 0 });
	compare("empty argv", (struct call){ AT_FDCWD, "./show", none, none, 0 });
	compare("no envp", (struct call){ AT_FDCWD, "./show", few, NULL, 0 });
	compare("bad argv", (struct call){ AT_FDCWD, "./show", (void *)8, variables, 0 });
	compare("bad envp", (struct call){ AT_FDCWD, "./show", few, (void *)8, 0 });
	*at_end = (char *)8;
	compare("bad argument", (struct call){ AT_FDCWD, "./show", at_end, variables, 0 });
	compare("argv not aligned", (struct call){ AT_FDCWD, "./show", (void *)(page + 4096 - 3), variables, 0 });
}

static void test_descriptors(void)
{
	int here = open(".", O_PATH), script_here = open("script-1", O_RDONLY), closing = open("script-1", O_RDONLY | O_CLOEXEC);
	int show = open("show", O_PATH | O_CLOEXEC), plain_file = open("plain", O_RDONLY), link = open("link", O_PATH | O_NOFOLLOW);
	int here_closing = open(".", O_PATH | O_CLOEXEC);
	const struct { const char *what; struct call call; } cases[] = {
		{ "by directory", { here, "show", few, variables, 0 } },
		{ "script by directory", { here, "script-1", few, variables, 0 } },
		{ "by directory that closes", { here_closing, "show", few, variables, 0 } },
		{ "script by directory that closes", { here_closing, "script-1", few, variables, 0 } },
		{ "missing by directory", { here, "missing", few, variables, 0 } },
		{ "bad directory", { 999, "show", few, variables, 0 } },
		{ "not a directory", { plain_file, "show", few, variables, 0 } },
		{ "bad directory, absolute path", { 999, "/bin/true/x", few, variables, 0 } },
		{ "by descriptor", { show, "", few, variables, AT_EMPTY_PATH } },
		{ "by descriptor, flag missing", { show, "", few, variables, 0 } },
		{ "script by descriptor", { script_here, "", few, variables, AT_EMPTY_PATH } },
		{ "script by descriptor that closes", { closing, "", few, variables, AT_EMPTY_PATH } },
		{ "plain file by descriptor", { plain_file, "", few, variables, AT_EMPTY_PATH } },
		{ "directory by descriptor", { here, "", few, variables, AT_EMPTY_PATH } },
		{ "symbolic link by descriptor", { link, "", few, variables, AT_EMPTY_PATH } },
		{ "bad descriptor", { 999, "", few, variables, AT_EMPTY_PATH } },
		{ "working directory", { AT_FDCWD, "", few, variables, AT_EMPTY_PATH } },
		{ "symbolic link not followed", { AT_FDCWD, "link", few, variables, AT_SYMLINK_NOFOLLOW } },
		{ "file not followed", { AT_FDCWD, "./show", few, variables, AT_SYMLINK_NOFOLLOW } },
		{ "unknown flag", { AT_FDCWD, "./show", few, variables, 0x40 } },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		compare(cases[i].what, cases[i].call);
	/* A program that has no name any more. */
	unlink("show");
	compare("unlinked", (struct call){ show, "", few, variables, AT_EMPTY_PATH });
}

static int in_vfork_child(const char *path)
{
	int status = -1;
	pid_t child = vfork();

	if (!child) {
		do_exec(AT_FDCWD, path, few, none, 0);
		_exit(55);
	}
	waitpid(child, &status, 0);
	return status;
}

static void test_vfork(const char *loader)
{
	/* The child works in this memory. */
	for (int round = 0; round < 50; round++) {
		check(in_vfork_child("./missing") == 55 << 8, "round %d", round);
		check(in_vfork_child("./show-null") == 0, "round %d", round);
	}
	/* The kept descriptor is used when it is the loader, and only then. */
	for (int wrong = 0; wrong < 2; wrong++) {
		char text[ANSWER];

		dup2(open(wrong ? "/bin/true" : loader, O_RDONLY), 1021);
		answer(&(struct call){ AT_FDCWD, "./show-null", few, none, 0 }, 1, text);
		check(!*text, "descriptor 1021 %s: %s", wrong ? "wrong" : "right", text);
		close(1021);
	}
}

/* Makes files of every kind in a directory beside the test. */
static void prepare(const char *show, const char *self)
{
	static char file[4 << 20];
	char directory[4200], *interpreter;
	FILE *from = fopen(show, "r");
	size_t size = fread(file, 1, sizeof(file), from);

	fclose(from);
	snprintf(directory, sizeof(directory), "%s.files", self);
	if (mkdir(directory, 0755) || chdir(directory))
		abort();
	script("show", file, size);
	interpreter = memmem(file, size, "/lib64/ld-linux", 15);
	if (!interpreter)
		abort();
	interpreter[1] = 'L';
	script("no-interpreter", file, size);
	script("empty", "", 0);
	script("text", "echo hello\n", 11);
	script("plain", "#!./show\n", 9);
	script("show-null", "#!/bin/true\n", 12);
	if (chmod("plain", 0644) || mkdir("directory", 0755) || mkfifo("fifo", 0755) || symlink("show", "link") ||
	    symlink("loop", "loop") || symlink("missing", "dangling"))
		abort();
}

static void clean_up(void)
{
	char command[4200], here[4096];

	snprintf(command, sizeof(command), "rm -r '%s'", getcwd(here, sizeof(here)));
	if (system(command))
		abort();
}

int main(int argc, char **argv)
{
	char loader[4096], self[4096];

	printing = argc == 3;
	if (argc < 3 || !realpath(argv[1], self) || (!printing && !realpath(argv[3], loader)))
		return 2;
	prepare(argv[2], self);
	pretend_executable(self);
	test_names();
	test_scripts();
	test_arguments();
	if (!printing)
		test_vfork(loader);
	test_descriptors();
	clean_up();
	return printing ? 0 : finish("exec answers as the kernel does");
}
