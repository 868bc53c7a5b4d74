/* As much cryptography as the example needs, on the processor's AES instructions. An enclave has no library to lean on. */
#ifndef CRYPTO_H
#define CRYPTO_H

#include <stddef.h>
#include <stdint.h>

/* AES-128-CMAC (RFC 4493): 16 bytes that nobody without the key can make. */
void aes_cmac(const uint8_t *key, const void *message, size_t length, uint8_t *mac);
/* In constant time: an attacker who can measure how long it takes learns nothing of `a`. */
int equal(const uint8_t *a, const uint8_t *b, size_t length);
void random_bytes(uint8_t *to, size_t length);
void copy(void *to, const void *from, size_t length);
/* Not left out by the compiler, however useless it looks. */
void clear(void *secret, size_t length);

#endif
