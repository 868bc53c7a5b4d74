/* What host and enclave say to each other: the host fills in a `struct call` in its own memory and enters. */
#ifndef CALLS_H
#define CALLS_H

#include <stdint.h>

enum {
	CALL_ADD = 1,   /* add `number` to the hidden sum */
	CALL_SUM = 2,   /* answer the sum */
	CALL_WHERE = 3, /* answer the address the sum is kept at */
};

enum {
	CALL_OK = 0,
	CALL_UNKNOWN = 1,
};

struct call {
	uint64_t function;
	uint64_t number;
	uint64_t answer;
	uint64_t status;
};

#endif
