/* Builds enclave after enclave and says so; to be killed at any moment. */
#include "loader.h"

#include <stdio.h>

int main(void)
{
	for (;;) {
		enclave_load("build/worker.elf", "build/worker.sigstruct", 0);
		fprintf(stderr, "built\n");
	}
}
