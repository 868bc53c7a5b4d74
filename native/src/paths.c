/*
 * Recognises the few paths that mean something else in a target: the device nodes and the program's own
 * executable. Every open and stat of the program comes by here, so the common answer "none of them" costs one copy of
 * the path. Names are compared lexically: a symbolic link to a device node is not seen (Model: nothing is at its end).
 */
#include "loader.h"
#include "../include/traps.h"
#include <linux/fcntl.h>
#include <linux/limits.h>

#define PIECE 64

#define PATH_ORDINARY -1
#define PATH_OWN_EXECUTABLE -2

/* In the order of the node numbers that Op.OPEN takes. */
#define PATH(index, path, mode) [index] = path,
const char *const device_nodes[] = { DEVICE_NODES(PATH) };
#define NODE_COUNT ARRAY_LENGTH(device_nodes)

i64 copy_string(char *to, size_t size, const char *from)
{
	size_t done = 0;

	while (done < size) {
		/* Aligned pieces never touch a page that the string does not reach. */
		size_t piece = PIECE - (u64)(from + done) % PIECE;

		if (piece > size - done)
			piece = size - done;
		if (copy_user(to + done, from + done, piece))
			return -EFAULT;
		for (; piece; piece--, done++)
			if (!to[done])
				return done;
	}
	return -ENAMETOOLONG;
}

const char *last_component(const char *path)
{
	const char *last = path;

	for (; *path; path++)
		if (*path == '/')
			last = path + 1;
	return last;
}

/* Takes "//", "/." and "/.." out of an absolute path, in place. */
static void normalise(char *path)
{
	char *to = path, *from = path;

	while (*from) {
		char *end = ++from;

		while (*end && *end != '/')
			end++;
		if (end - from == 2 && from[0] == '.' && from[1] == '.') {
			while (to > path && *--to != '/')
				;
		} else if (end != from && !(end - from == 1 && *from == '.')) {
			*to++ = '/';
			while (from < end)
				*to++ = *from++;
		}
		from = end;
	}
	*to = 0;
}

static const char *skip(const char *path, const char *prefix)
{
	size_t length = strlen(prefix);

	return path && !strncmp(path, prefix, length) ? path + length : NULL;
}

static const char *skip_number(const char *path, u64 number)
{
	char digits[24];

	append_number(digits, number, 10);
	return skip(path, digits);
}

/* /proc/self/exe, /proc/thread-self/exe, /proc/PID/exe, each also with /task/TID. */
static bool is_own_executable(const char *path)
{
	const char *in_proc = skip(path, "/proc/"), *rest, *task;
	u64 pid, tid;

	if (!in_proc)
		return false;
	pid = sys(__NR_getpid);
	tid = sys(__NR_gettid);
	if ((rest = skip(in_proc, "self/")) || (rest = skip(in_proc, "thread-self/")))
		rest--;
	else if (!(rest = skip_number(in_proc, pid)))
		rest = skip_number(in_proc, tid);
	if ((task = skip(rest, "/task/")) && !(rest = skip_number(task, tid)))
		rest = skip_number(task, pid);
	return rest && !strcmp(rest, "/exe");
}

/* A link in /proc to an open device, by the name of its memfd: /proc/self/fd/3. */
static int linked_device(int directory, const char *path)
{
	char target[64], wanted[64];
	i64 length;

	if (*last_component(path) < '0' || *last_component(path) > '9')
		return -1;
	length = sys(__NR_readlinkat, directory, path, target, sizeof target - 1);
	if (length <= 0)
		return -1;
	target[length] = 0;
	for (u32 i = 0; i < NODE_COUNT; i++) {
		append(append(append(wanted, "/memfd:"), device_nodes[i]), " (deleted)");
		if (!strcmp(target, wanted))
			return (int)i;
	}
	return -1;
}

int names_device_link(int directory, const char *path)
{
	char copy[PATH_MAX];

	return copy_string(copy, PATH_MAX, path) > 0 ? linked_device(directory, copy) : -1;
}

static bool worth_a_look(const char *name)
{
	if (!strcmp(name, "exe"))
		return true;
	for (u32 i = 0; i < NODE_COUNT; i++)
		if (!strcmp(name, last_component(device_nodes[i])))
			return true;
	return false;
}

/* A node's index, or one of PATH_*. A bad pointer is ordinary: the kernel will refuse it. */
static int special_path(int directory, const char *path)
{
	/* The path as given in the upper half; the directory before it when it is relative. */
	char buffer[2 * PATH_MAX], *name = buffer + PATH_MAX, link[32];
	i64 length = copy_string(name, PATH_MAX, path);

	if (length <= 0 || !worth_a_look(last_component(name)))
		return PATH_ORDINARY;
	if (*name != '/') {
		if (directory == AT_FDCWD)
			append(link, "/proc/self/cwd");
		else
			append_number(append(link, "/proc/self/fd/"), (u32)directory, 10);
		length = sys(__NR_readlink, link, buffer, PATH_MAX - 1);
		if (length <= 0 || *buffer != '/')
			return PATH_ORDINARY;
		buffer[length++] = '/';
		for (char *to = buffer + length; (*to++ = *name++);)
			;
		name = buffer;
	}
	normalise(name);
	if (is_own_executable(name))
		return PATH_OWN_EXECUTABLE;
	for (u32 i = 0; i < NODE_COUNT; i++)
		if (!strcmp(name, device_nodes[i]))
			return i;
	return PATH_ORDINARY;
}

bool names_own_executable(int directory, const char *path)
{
	return special_path(directory, path) == PATH_OWN_EXECUTABLE;
}

int names_device(int directory, const char *path)
{
	int special = special_path(directory, path);

	return special >= 0 ? special : -1;
}
