/* What host and enclave say to each other: the host fills in a `struct call` in its own memory and enters. */
#ifndef CALLS_H
#define CALLS_H

#include <stdint.h>

enum {
	CALL_WORK = 1,    /* answer collatz(number), and count the call for the thread that it came by */
	CALL_COUNT = 2,   /* answer how many calls slot `number` has served since it is a thread */
	CALL_PREPARE = 3, /* accept the pages of slot `number` and write its TCS; answer 0 or an SGX code */
	CALL_CONFIRM = 4, /* accept that it is a TCS now: it can be entered */
	CALL_RETIRE = 5,  /* accept that its pages go */
};

enum { CALL_OK = 0, CALL_REFUSED = 1 /* not now, or not with this slot */ };

struct call {
	uint64_t function, number, answer, status;
};

/* The work: how many steps until a number is 1. */
static inline uint64_t collatz(uint64_t number)
{
	uint64_t steps = 0;

	for (; number > 1; steps++)
		number = number % 2 ? 3 * number + 1 : number / 2;
	return steps;
}

#endif
