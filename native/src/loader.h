/* What loader.c, elf.c, exec.c and paths.c share among themselves. */
#ifndef VITRINE_LOADER_H
#define VITRINE_LOADER_H

#include "stub.h"

void __attribute__((noreturn)) enter_program(u64 *stack, u64 entry);    /* start.S */

#define HEAP_RANDOM_PAGES 0x2000UL          /* the heap begins up to 32 MiB behind the program */

/* A number below `limit`, or 0 when the process asked for addresses that do not vary. */
u64 random_below(u64 limit);

/* What follows the last slash. */
const char *last_component(const char *path);

/* Whether map_program would take this file and its interpreter: 0 or the error of execve. */
i64 check_program(int fd);

/* Opens a file for execution with the kernel's checks; a result is a descriptor, close-on-exec. */
i64 open_executable(int directory, const char *path, int flags);

/* What /proc/self/exe shall say: the file's path without symbolic links, in PATH_MAX bytes; `name` without /proc. */
void absolute_path(int fd, const char *name, char *to);

#endif
