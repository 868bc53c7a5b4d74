/* Building an enclave with Linux's own interface, <asm/sgx.h>. */
#ifndef LOADER_H
#define LOADER_H

#include <asm/sgx.h>
#include <stddef.h>
#include <stdint.h>

struct enclave {
	char *base;
	size_t size_bytes;
	uint64_t tcs; /* address of the first thread's TCS */
};

/*
 * Builds, measures, initialises and maps the enclave in `elf_path`, signed by `sigstruct_path`.
 * With `tamper`, one bit of one page is flipped on the way in, as an attacker would.
 * Prints one line per step; ends the program with a sentence when a step fails.
 */
struct enclave enclave_load(const char *elf_path, const char *sigstruct_path, int tamper);

/* Linux's function for entering enclaves, or NULL when this kernel offers none. */
vdso_sgx_enter_enclave_t find_enter_enclave(void);

#endif
