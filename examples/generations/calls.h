/* What host and enclave say to each other. */
#ifndef CALLS_H
#define CALLS_H

#include <stdint.h>

enum {
	CALL_ADD,       /* number + what the enclave has: the answer */
	CALL_WRITE,     /* number to where; a right that is missing is an exception */
	CALL_ACCEPT,    /* EACCEPT of the page at `where` with SECINFO flags `number`; the answer is its code */
	CALL_EXTEND,    /* EMODPE, likewise */
	CALL_WHERE,     /* address of a page that nothing else is on */
	CALL_SPIN,      /* 1 to the word at `number`, outside, then until the word at `where` is not 0 */
};

struct call {
	uint64_t function, number, where;
	volatile uint64_t answer;
};

#endif
