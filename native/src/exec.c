/*
 * execve and execveat. The kernel would start the program alone; we make every check it makes before its point of no
 * return, follow #! lines, and then execute the loader again with the program in its arguments.
 *
 * A vfork child runs this in its parent's memory: nothing static is written, and what is left behind by a successful
 * exec (at most one mapping for huge argument lists) is at a place that the next one uses again.
 *
 * Source: fs/exec.c, fs/binfmt_script.c
 */
#include "loader.h"
#include <linux/fcntl.h>
#include <linux/limits.h>
#include <linux/mman.h>
#include <linux/prctl.h>
#include <asm/stat.h>
#include <linux/stat.h>
#include <linux/unistd.h>

#define SCRIPT_LINE 256                 /* BINPRM_BUF_SIZE */
#define SCRIPT_DEPTH 5
#define SMALL_ARGV 1024
#define HUGE_ARGV (1UL << 20)           /* more than the kernel takes */
#define HUGE_ARGV_AT 0x500100000000UL   /* one area for each slot */
#define X_OK 1

/* A program after its #! lines are followed. */
struct program {
	int fd;                         /* readable, close-on-exec */
	u32 script_args;                /* how many of these come before the script's own name... */
	const char *args[2 * SCRIPT_DEPTH + 1];
	char lines[SCRIPT_DEPTH][SCRIPT_LINE];
};

struct arguments {
	char **all;
	u64 count, capacity;
	char *small[SMALL_ARGV];
};

static void fd_link(char *to, int fd)
{
	append_number(append(to, "/proc/self/fd/"), (u32)fd, 10);
}

/* Opens by name without following what an open would set off: FIFOs do not block, devices do not act. */
static i64 open_path(int directory, const char *path, int flags)
{
	if (names_own_executable(directory, path)) {
		directory = AT_FDCWD;
		path = launch.executable;
	}
	return sys(__NR_openat, directory, path,
		   O_PATH | O_CLOEXEC | (flags & AT_SYMLINK_NOFOLLOW ? O_NOFOLLOW : 0));
}

static i64 check_executable(int fd)
{
	struct stat st;
	i64 r = sys(__NR_newfstatat, fd, "", &st, AT_EMPTY_PATH);

	if (is_error(r))
		return r;
	if (S_ISLNK(st.st_mode))
		return -ELOOP;
	if (!S_ISREG(st.st_mode))
		return -EACCES;
	/* Execute permission for the effective user, and a mount without noexec. */
	r = sys(__NR_faccessat2, fd, "", X_OK, AT_EMPTY_PATH | AT_EACCESS);
	return is_error(r) ? -EACCES : 0;
}

/* A readable descriptor for the file behind an O_PATH (or any) one; without /proc, by its name. */
static i64 open_again(int fd, int directory, const char *path)
{
	char link[32];
	i64 r;

	fd_link(link, fd);
	r = sys(__NR_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (r == -ENOENT)
		r = *path ? sys(__NR_openat, directory, path, O_RDONLY | O_CLOEXEC | O_NOCTTY)
			  : sys(__NR_fcntl, fd, F_DUPFD_CLOEXEC, 0);
	if (r == -EACCES)
		complain("a program that may be executed but not read cannot be started");
	return r;
}

i64 open_executable(int directory, const char *path, int flags)
{
	bool own = flags & AT_EMPTY_PATH && !*path;
	i64 fd, r;

	if (!*path && !own)
		return -ENOENT;
	fd = own ? directory : open_path(directory, path, flags);
	if (!own && is_error(fd))
		return fd;
	r = check_executable(fd);
	if (!r)
		r = open_again(fd, directory, path);
	if (!own)
		sys(__NR_close, fd);
	return r;
}

/* Privileges that the file would grant, and that a program started by the loader does not get. */
static void check_privileges(int fd)
{
	struct stat st;

	if (sys(__NR_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 || is_error(sys(__NR_fstat, fd, &st)))
		return;
	if ((st.st_mode & S_ISUID && st.st_uid != (u32)sys(__NR_geteuid)) ||
	    ((st.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && st.st_gid != (u32)sys(__NR_getegid)))
		complain("a set-user-ID or set-group-ID program runs without its privileges");
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Splits "#! interpreter [argument]" in place. */
static i64 split_script_line(char *line, i64 length, const char **interpreter, const char **argument)
{
	char *end = line, *at = line + 2;
	bool ends;

	while (end < line + length && *end && *end != '\n')
		end++;
	ends = end < line + length && *end == '\n';
	if (end == line + SCRIPT_LINE) {
		/* No end of line in sight: allowed when at least the interpreter's name is whole. */
		char *name = at;

		while (name < end && is_blank(*name))
			name++;
		while (name < end && !is_blank(*name))
			name++;
		if (name == end)
			return -ENOEXEC;
		end--;
	}
	while (end > at && is_blank(end[-1]))
		end--;
	*end = 0;
	while (is_blank(*at))
		at++;
	if (!*at)
		return ends ? -ENOEXEC : -EACCES; /* without a line's end the kernel opens "", a directory */
	*interpreter = at;
	*argument = NULL;
	while (*at && !is_blank(*at))
		at++;
	if (*at) {
		*at++ = 0;
		while (is_blank(*at))
			at++;
		*argument = at;
	}
	return 0;
}

/* Replaces a script by its interpreter until the program is none. `name` is what the script is to be called by. */
static i64 follow_scripts(struct program *p, const char *name, bool reachable)
{
	const char *interpreter, *argument;
	const char **first = p->args + ARRAY_LENGTH(p->args);

	for (u32 depth = 0;; depth++) {
		char line[SCRIPT_LINE], *kept;
		i64 length = sys(__NR_pread64, p->fd, line, SCRIPT_LINE, 0), r;

		if (length < 2 || line[0] != '#' || line[1] != '!')
			break;
		if (depth == SCRIPT_DEPTH)
			return -ELOOP;
		if (!reachable)
			return -ENOENT; /* the interpreter would find the descriptor closed */
		kept = p->lines[depth];
		memset(kept, 0, SCRIPT_LINE);
		memcpy(kept, line, length);
		r = split_script_line(kept, length, &interpreter, &argument);
		if (r)
			return r;
		*--first = name;
		if (argument)
			*--first = argument;
		name = interpreter;
		sys(__NR_close, p->fd);
		r = p->fd = open_executable(AT_FDCWD, interpreter, 0);
		if (is_error(r))
			return r;
		reachable = true;
	}
	if (first < p->args + ARRAY_LENGTH(p->args))
		*--first = name;        /* the interpreter's argv[0] */
	p->script_args = p->args + ARRAY_LENGTH(p->args) - first;
	for (u32 i = 0; i < p->script_args; i++)
		p->args[i] = first[i];
	return 0;
}

void absolute_path(int fd, const char *name, char *to)
{
	char link[32];
	i64 length;

	fd_link(link, fd);
	length = sys(__NR_readlink, link, to, PATH_MAX - 1);
	if (is_error(length))
		append(to, name);
	else
		to[length] = 0;
}

/* A place for more pointers than the stack has room for. */
static u64 huge_argv_address(void)
{
	struct slot *slot = running_slot();

	return HUGE_ARGV_AT + (slot ? slot->index : 0) * HUGE_ARGV * sizeof(char *);
}

/* The mask that the program believes in: exec keeps it. The kernel's is that of our handler. */
static u64 program_mask(void)
{
	struct slot *slot = running_slot();
	u64 mask = 0;

	if (slot)
		return slot->mask | slot->blocked;
	sys(__NR_rt_sigprocmask, 0, NULL, &mask, sizeof(mask));
	return mask;
}

/* STATE, as documented at struct launch. */
static void describe_state(char *to, int fd)
{
	u64 state = ignored_state() | STATE_FILTERED | (second_filter_on ? STATE_FILTERED_TWICE : 0);

	to = append(append_number(to, state, 16), ":");
	to = append(append_number(to, program_mask(), 16), ":");
	append_number(to, fd, 16);
}

static i64 add_argument(struct arguments *a, const char *argument)
{
	if (a->count == a->capacity) {
		u64 at;

		if (a->all != a->small)
			return -E2BIG;
		at = sys(__NR_mmap, huge_argv_address(), HUGE_ARGV * sizeof(char *), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
		if (is_error(at))
			return at;
		memcpy((void *)at, a->small, sizeof(a->small));
		a->all = (char **)at;
		a->capacity = HUGE_ARGV;
	}
	a->all[a->count++] = (char *)argument;
	return 0;
}

/* Adds the program's arguments but the first `skipped`; a result is how many there were. */
static i64 add_program_arguments(struct arguments *a, char *const *argv, u64 skipped)
{
	char *chunk[64];
	u64 seen = 0;

	while (argv) {
		/* Not across a page's end: what follows it may be nobody's. */
		u64 count = (PAGE - (u64)argv % PAGE) / sizeof(*argv);

		if (count > ARRAY_LENGTH(chunk))
			count = ARRAY_LENGTH(chunk);
		if (!count)
			count = 1;
		if (copy_user(chunk, argv, count * sizeof(*argv)))
			return -EFAULT;
		for (u64 i = 0; i < count; i++, seen++) {
			i64 r = 0;

			if (!chunk[i])
				return seen;
			if (seen >= skipped)
				r = add_argument(a, chunk[i]);
			if (r)
				return r;
		}
		argv += count;
	}
	return 0;
}

/* The loader, by the descriptor kept for it when that is still it: this works in every chroot. */
static i64 execute_loader(char **argv, char *const *envp)
{
	struct stat kept, self;
	bool known = !is_error(sys(__NR_stat, "/proc/self/exe", &self));

	if (!is_error(sys(__NR_fstat, STUB_FD_LOADER, &kept)) &&
	    (!known || (kept.st_dev == self.st_dev && kept.st_ino == self.st_ino)))
		return sys(__NR_execveat, STUB_FD_LOADER, "", argv, envp, AT_EMPTY_PATH);
	return sys(__NR_execve, "/proc/self/exe", argv, envp);
}

static i64 start_program(const struct program *p, const char *name, char *const *argv, char *const *envp)
{
	char path[PATH_MAX], state[64];
	struct arguments a = { .all = a.small, .capacity = SMALL_ARGV };
	i64 r;

	absolute_path(p->fd, name, path);
	describe_state(state, p->fd);
	add_argument(&a, name);
	add_argument(&a, launch.gate);
	add_argument(&a, state);
	add_argument(&a, path);
	for (u32 i = 0; i < p->script_args; i++)
		add_argument(&a, p->args[i]);
	r = add_program_arguments(&a, argv, p->script_args ? 1 : 0);
	/* Since Linux 5.18 nobody starts without an argv[0]. */
	if (!r && !p->script_args)
		r = add_argument(&a, "");
	if (r >= 0)
		r = add_argument(&a, NULL);
	if (r >= 0) {
		sys(__NR_fcntl, p->fd, F_SETFD, 0);
		if (running_slot())
			hand_to_next_image(running_slot());
		r = execute_loader(a.all, envp);
	}
	if (a.all != a.small)
		sys(__NR_munmap, a.all, HUGE_ARGV * sizeof(char *));
	return r;
}

i64 do_exec(int directory, const char *path, char *const *argv, char *const *envp, int flags)
{
	char buffer[32 + PATH_MAX], prefix[32], *copy = buffer + 32, *name = copy;
	struct program p;
	bool reachable = true;
	i64 r;

	if (flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW))
		return -EINVAL;
	r = copy_string(copy, PATH_MAX, path);
	if (is_error(r))
		return r;
	r = p.fd = open_executable(directory, copy, flags);
	if (is_error(r))
		return r;
	if (directory != AT_FDCWD && *copy != '/') {
		/* The kernel's name for it: /dev/fd/N or /dev/fd/N/PATH. */
		u64 length = append(append_number(append(prefix, "/dev/fd/"), (u32)directory, 10), *copy ? "/" : "") - prefix;

		name = memcpy(copy - length, prefix, length);
		reachable = !(sys(__NR_fcntl, directory, F_GETFD) & FD_CLOEXEC);
	}
	r = follow_scripts(&p, name, reachable);
	if (!r)
		r = check_program(p.fd);
	if (!r) {
		check_privileges(p.fd);
		r = start_program(&p, name, argv, envp);
	}
	if (!is_error(p.fd))
		sys(__NR_close, p.fd);
	return r;
}
