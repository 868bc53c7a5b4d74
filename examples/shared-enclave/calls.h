/* What hosts and enclave say to each other: a host fills in a `struct call` in its own memory and enters. */
#ifndef CALLS_H
#define CALLS_H

#include <stdint.h>

enum {
	CALL_MIX = 1,   /* answer = mix(number), counted inside */
	CALL_COUNT = 2, /* answer = how many CALL_MIX there have been, from whatever process */
};

struct call {
	uint64_t function, number, answer;
};

/* The same in and outside, so that every answer can be checked. */
static inline uint64_t mix(uint64_t number)
{
	for (int i = 0; i < 100; i++) {
		number ^= number >> 31;
		number *= 0x9e3779b97f4a7c15u;
		number += (uint64_t)i;
	}
	return number;
}

#endif
