/* What the test programs and their enclave say to each other. */
#ifndef WORKER_H
#define WORKER_H

#include <stdint.h>

#ifndef WORKER_PAGES
#define WORKER_PAGES 16384
#endif
enum { WORKER_STACK_PAGES = 2, WORKER_NSSA = 2 };
/* From one thread's TCS to the next: guard, stack, TCS, save area (src/formats/README.md). */
#define WORKER_TCS_STRIDE ((1 + WORKER_STACK_PAGES + 1 + WORKER_NSSA) * 4096UL)

enum {
	WORK_COMPUTE = 1, /* answer = compute(number) */
	WORK_FILL = 2,    /* write every page of the heap, by seed `number` */
	WORK_CHECK = 3,   /* answer = words of the heap that are not what FILL wrote */
	WORK_SYSCALL = 4, /* a SYSCALL inside: never comes back by itself */
	WORK_CPUID = 5,   /* likewise */
	WORK_DIVIDE = 6,  /* division by zero */
	WORK_SPIN = 7,    /* until *(volatile uint64_t *)number is not 0 */
	WORK_READ = 8,    /* answer = *(uint64_t *)number, any address */
	WORK_WHERE = 9,   /* answer = address of the heap */
	WORK_VECTOR = 10, /* answer = AVX registers that did not keep what was put there, while `number` rounds went by */
	WORK_RDTSC = 12,  /* answer = the time-stamp counter */
	WORK_COUNT = 11,  /* ++*(uint64_t *)number until *(uint64_t *)other is not 0 */
};

struct work {
	uint64_t function, number, answer;
	uint64_t other; /* FILL, CHECK: how many pages, 0 = all */
};

struct sgx_enclave_run;
/* Enters with `leaf`, saving what the vDSO function does not (enter.S). */
int enter_worker(void *vdso_function, struct work *work, struct sgx_enclave_run *run, unsigned leaf);

/* The same in and outside: whole numbers, and floating point in several registers. */
static inline uint64_t compute(uint64_t number)
{
	uint64_t a = number * 0x9e3779b97f4a7c15u + 1, b = ~number;
	double x = (double)(number % 1000), y = 1.0, z = 0.5, w = 3.25;

	for (int i = 0; i < 200; i++) {
		a ^= a >> 29;
		a *= 0xbf58476d1ce4e5b9u;
		b += a ^ (b << 7);
		x = x * 1.0000001 + z;
		y = y * 0.9999 + x;
		z = z * 1.00001 + 0.25;
		w = w + y * z;
	}
	return a ^ b ^ (uint64_t)(x + y + z + w);
}

#endif
