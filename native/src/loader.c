/*
 * From the kernel's first instruction to the program's: reads its own arguments, has the stub set up, maps the
 * program, makes the start-up block say what the program would have found without us, and jumps.
 *
 * The block is edited where the kernel put it. Dropping our four arguments moves it by 32 bytes, so it stays aligned
 * and nothing has to be copied.
 */
#include "loader.h"
#include <linux/auxvec.h>
#include <linux/fcntl.h>
#include <linux/limits.h>
#include <linux/mman.h>
#include <linux/prctl.h>

#define OWN_ARGUMENTS 4

struct launch launch;
static int program_fd = -1;             /* opened and checked before the exec, or -1 */

_Static_assert(OWN_ARGUMENTS * sizeof(u64) % 16 == 0, "the program's stack stays aligned");

/* Reads a hexadecimal number up to a colon or the end; a result is where the next begins, NULL at the end. */
static const char *parse_hex(const char *text, u64 *value)
{
	for (*value = 0; *text && *text != ':'; text++)
		*value = *value << 4 | (*text <= '9' ? *text - '0' : *text - 'a' + 10);
	return *text ? text + 1 : NULL;
}

static void parse_state(const char *text)
{
	u64 mask, fd;

	text = parse_hex(text, &launch.state);
	if (!text)
		return;
	/* The exec was made in a handler, with all signals blocked. */
	text = parse_hex(text, &mask);
	sys(__NR_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof(mask));
	if (text) {
		parse_hex(text, &fd);
		program_fd = fd;
	}
}

static void parse_arguments(u64 *stack)
{
	char **argv = (char **)(stack + 1), **end;

	if (*stack <= OWN_ARGUMENTS) {
		complain("the loader is started by \"vitrine run\"");
		sys(__NR_exit_group, 126);
	}
	launch.gate = argv[1];
	parse_state(argv[2]);
	launch.executable = argv[3];
	launch.argv = argv + OWN_ARGUMENTS;
	launch.argc = *stack - OWN_ARGUMENTS;
	launch.envp = end = launch.argv + launch.argc + 1;
	while (*end)
		end++;
	launch.auxv = (u64 *)(end + 1);
}

static const char *error_text(i64 error)
{
	switch (error) {
	case -ENOENT: return "no such file, or no such interpreter";
	case -EACCES: return "permission denied";
	case -ENOEXEC: return "not a program that can be started";
	case -EEXIST: return "its addresses are taken";
	case -ENOMEM: return "not enough memory";
	default: return "cannot be started";
	}
}

/* Ends as a shell would that cannot find or start a command. */
static void __attribute__((noreturn)) give_up(i64 error)
{
	char text[PATH_MAX + 64];
	const char *name = strlen(launch.executable) < PATH_MAX ? launch.executable : "the program";

	append(append(append(text, name), ": "), error_text(error));
	complain(text);
	sys(__NR_exit_group, error == -ENOENT ? 127 : 126);
	__builtin_unreachable();
}

static void open_program(const char *name)
{
	static char path[PATH_MAX];
	char start[2];

	if (program_fd >= 0)
		return;
	program_fd = open_executable(AT_FDCWD, launch.executable, 0);
	if (is_error(program_fd))
		give_up(program_fd);
	absolute_path(program_fd, launch.executable, path);
	launch.executable = path;
	/* A script goes the way of every exec. */
	if (sys(__NR_pread64, program_fd, start, 2, 0) == 2 && start[0] == '#' && start[1] == '!')
		give_up(do_exec(AT_FDCWD, name, launch.argv, launch.envp, 0));
}

static void map(struct image *image)
{
	i64 r = map_program(program_fd, image);

	if (is_error(r))
		give_up(r);
	sys(__NR_close, program_fd);
}

static u64 *auxv_entry(u64 type)
{
	u64 *entry = launch.auxv;

	while (entry[0] != AT_NULL && entry[0] != type)
		entry += 2;
	return entry[0] == type ? entry : NULL;
}

static void set_auxv(u64 type, u64 value)
{
	u64 *entry = auxv_entry(type);

	if (entry)
		entry[1] = value;
}

/* Returns the program's stack pointer: where argc is. */
static u64 *edit_block(u64 *stack, const struct image *image, const char *name)
{
	u64 *block = stack + OWN_ARGUMENTS, *vdso = auxv_entry(AT_SYSINFO_EHDR);

	block[0] = launch.argc;
	if (!vdso) {
		/* No vDSO (vdso=0): room for the entry comes from what our arguments leave. */
		for (u64 *from = block; from < launch.auxv; from++)
			from[-2] = *from;
		block -= 2;
		launch.argv -= 2;
		launch.envp -= 2;
		launch.auxv -= 2;
		vdso = launch.auxv;
		vdso[0] = AT_SYSINFO_EHDR;
		vdso[1] = 0;
	}
	vdso[1] = build_vdso(vdso[1]);
	set_auxv(AT_PHDR, image->program_headers);
	set_auxv(AT_PHNUM, image->program_header_count);
	set_auxv(AT_BASE, image->interpreter_base);
	set_auxv(AT_ENTRY, image->program_entry);
	set_auxv(AT_EXECFN, (u64)name);
	return block;
}

static u64 end_of_strings(char **strings, u64 start)
{
	u64 end = start;

	for (; *strings; strings++)
		end = (u64)*strings + strlen(*strings) + 1;
	return end;
}

/* What /proc/self shows, and where brk begins. Best effort: it needs CONFIG_CHECKPOINT_RESTORE. */
static void describe_process(u64 *stack, const struct image *image, const char *name)
{
	u64 heap = ALIGN_UP(image->end, PAGE) + random_below(HEAP_RANDOM_PAGES) * PAGE;
	u64 arguments = (u64)launch.argv[0], environment = end_of_strings(launch.argv, arguments);
	const u64 *end = launch.auxv;

	while (*end != AT_NULL)
		end += 2;
	struct prctl_mm_map map = {
		.start_code = image->code_start, .end_code = image->code_end,
		.start_data = image->data_start, .end_data = image->data_end,
		.start_brk = heap, .brk = heap, .start_stack = (u64)stack,
		.arg_start = arguments, .arg_end = environment,
		.env_start = environment, .env_end = end_of_strings(launch.envp, environment),
		.auxv = (void *)launch.auxv, .auxv_size = (u64)(end + 2) - (u64)launch.auxv, .exe_fd = -1,
	};
	sys(__NR_prctl, PR_SET_MM, PR_SET_MM_MAP, &map, sizeof(map), 0);

	sys(__NR_prctl, PR_SET_NAME, last_component(name), 0, 0, 0);
}

void __attribute__((noreturn)) loader_main(u64 *stack)
{
	/* The name the program was executed by; the host, which starts us first, gives none. */
	const char *name = (const char *)stack[1];
	struct image image;
	u64 *block;

	parse_arguments(stack);
	if (!strcmp(last_component(name), "vitrine-stub"))
		name = launch.executable;
	stub_start();
	open_program(name);
	map(&image);
	block = edit_block(stack, &image, name);
	describe_process(block, &image, name);
	if (image.executable_stack)
		sys(__NR_mprotect, ALIGN_DOWN(block, PAGE), PAGE, PROT_READ | PROT_WRITE | PROT_EXEC | PROT_GROWSDOWN);
	enter_program(block, image.entry);
}
