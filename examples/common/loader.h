/*
 * Building an enclave with Linux's own interface, <asm/sgx.h>, one function per step. Each ends the program with a
 * sentence when it fails.
 */
#ifndef LOADER_H
#define LOADER_H

#include "enclave-layout.h"

#include <asm/sgx.h>
#include <stddef.h>
#include <stdint.h>

/* An enclave as files: an ELF image, in its note what a loader must know besides, and who signed it. */
struct enclave_image {
	const char *bytes;
	struct vitrine_enclave_layout layout;
	const char *sigstruct_path, *sigstruct;
};

/* An enclave that can be entered. */
struct enclave {
	char *base;
	size_t size_bytes;
	uint64_t tcs; /* address of the first thread's TCS */
	size_t tcs_stride_bytes;
	uint32_t thread_count;
};

struct enclave_image enclave_read(const char *elf_path, const char *sigstruct_path);
/* Addresses for it that nothing else has. */
char *enclave_reserve(const struct enclave_image *image);
/* The same at `base`, where another process has the enclave already: it is nowhere else. */
void enclave_reserve_at(const struct enclave_image *image, char *base);

int enclave_open_device(void);
/* ECREATE: from now on `fd` is this enclave, for every process that gets it. */
void enclave_create(int fd, const struct enclave_image *image, char *base);
/* Everything that is signed, in that order. With `tamper`, one bit is flipped on the way in, as an attacker would. */
void enclave_add_pages(int fd, const struct enclave_image *image, int tamper);
void enclave_init(int fd, const struct enclave_image *image);
/* Over a reservation. The mappings keep the enclave alive, `fd` may be closed. */
struct enclave enclave_map(int fd, const struct enclave_image *image, char *base);

/* All of it, with one line per step on standard output. */
struct enclave enclave_load(const char *elf_path, const char *sigstruct_path, int tamper);

/* Linux's function for entering enclaves, or NULL when this kernel offers none. */
vdso_sgx_enter_enclave_t find_enter_enclave(void);

#endif
