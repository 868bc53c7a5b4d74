/*
 * Sealing: the enclave hands its secret to the host, to be kept in a file, in a form that only this enclave on this
 * machine can read, and nobody can change unnoticed.
 */
#ifndef SEALING_H
#define SEALING_H

#include "sgx.h"

struct sealed {
	struct key_request request; /* how to get the key again */
	uint8_t hidden[16];
	uint8_t mac[16];
	uint8_t reserved[480];
};

_Static_assert(sizeof(struct sealed) == 1024, "as large as the room for it in a call");

void seal(const uint8_t *secret, struct sealed *sealed);
/* 1; or 0 when it was not this enclave that sealed it, or not on this machine, or somebody changed it. */
int unseal(const struct sealed *sealed, uint8_t *secret);

#endif
