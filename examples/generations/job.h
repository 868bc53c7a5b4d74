/*
 * What every program here does with its enclave, and what has nothing to do with the interface: the pages that were
 * signed, a place for them, entering. The interface itself is in each program's own file.
 */
#ifndef JOB_H
#define JOB_H

#include "calls.h"

#include <stdint.h>

#define PAGE 4096UL

/* A page to be added, in the order that was signed. */
struct page {
	uint64_t offset;      /* from the enclave's base */
	const char *bytes;    /* 4096, page-aligned */
	uint64_t secinfo[8];
};

struct job {
	const char *program;
	uint64_t size_bytes;
	void *secs;           /* 4096 bytes, all but the base */
	const void *sigstruct;
	const struct page *pages;
	int page_count;
	uint64_t tcs_offset, data_offset;
};

/* Reads enclave.elf and enclave.sigstruct beside the program. */
struct job job_read(const char *argv0);
/* Addresses for the enclave that nothing else has, and the base in the SECS. */
char *job_reserve(const struct job *job);
void job_set_base(const struct job *job, const char *base);

/* How a call ended: vector 0, or an exception inside. */
struct outcome {
	uint64_t answer;
	unsigned vector, error_code;
};
/* EENTER, or with `resume` ERESUME after an exception: the instruction that faulted is tried again. */
struct outcome job_enter(const struct job *job, const char *base, struct call *call, int resume);
/* The job: 30 and 4 and what the enclave has of its own. Ends the program when the answer is wrong. */
void job_do(const struct job *job, const char *base);

/* As in the kernel: what must not be. Says which step failed and how, and ends the program. */
#define BUG_ON(failed) bug_on(failed, #failed)
void bug_on(int failed, const char *condition);
/* For ioctls: nothing but 0 is good; above 0 is an SGX code. */
void must_be_zero(long result, const char *what);

#endif
