/* What host and enclave say to each other: the host fills in a `struct call` in its own memory and enters. */
#ifndef CALLS_H
#define CALLS_H

#include <stdint.h>

enum {
	CALL_ADD = 1,    /* add `number` to the hidden sum */
	CALL_SUM = 2,    /* answer the sum */
	CALL_WHERE = 3,  /* answer the address the sum is kept at */
	CALL_COUNT = 4,  /* count one run more: data is what was sealed last (number = its length), then what is sealed now */
	CALL_TARGET = 5, /* data: this enclave's TARGETINFO, for whoever reports to it */
	CALL_REPORT = 6, /* data: a TARGETINFO, then a REPORT for that enclave about this one */
	CALL_VERIFY = 7, /* data: a REPORT; the answer is the counter that the reporting enclave vouches for */
};

enum {
	CALL_OK = 0,
	CALL_UNKNOWN = 1,
	CALL_REFUSED = 2, /* what was sealed or reported is not genuine */
};

enum { CALL_DATA_BYTES = 1024 };

struct call {
	uint64_t function;
	uint64_t number;
	uint64_t answer;
	uint64_t status;
	uint8_t data[CALL_DATA_BYTES];
};

#endif
