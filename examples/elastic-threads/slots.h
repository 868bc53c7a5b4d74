/* Threads of the enclave that come and go: what the host does for it with Linux's SGX2 ioctls. */
#ifndef SLOTS_H
#define SLOTS_H

#include <stdint.h>

/* Builds the enclave, with one thread. */
void slots_open(const char *elf_path, const char *sigstruct_path);
/* Calls it by any free thread; answers, or ends the program with a sentence. */
uint64_t slots_call(uint64_t function, uint64_t number);
/* Adds the thread of an empty slot (1 to MAX_THREADS - 1); it can be entered then. */
void slots_add(int slot);
/* Waits until nobody is in it, and removes it with its memory. */
void slots_remove(int slot);

#endif
