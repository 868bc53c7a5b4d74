/*
 * Who is in which thread of the enclave. A TCS can have one thread in it at a time, whichever process that is of: so all
 * processes share this table, and whoever wants to enter claims a TCS first.
 */
#ifndef CLAIMS_H
#define CLAIMS_H

#include <stdint.h>

struct claims;

/* A new table for `count` TCSs, and in `descriptor` the memory that it is in, for others to open. */
struct claims *claims_make(uint32_t count, int *descriptor);
struct claims *claims_open(int descriptor);

/* Waits for a TCS that nobody is in; its number. */
uint32_t claim(struct claims *claims);
void claim_end(struct claims *claims, uint32_t number);
/* It cannot be entered any more: nobody shall get it again. Ends the program when it was the last. */
void claim_retire(struct claims *claims, uint32_t number);

#endif
