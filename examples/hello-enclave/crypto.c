#include "crypto.h"

#include <wmmintrin.h>

static __m128i next_round_key(__m128i key, __m128i assist)
{
	assist = _mm_shuffle_epi32(assist, 0xff);
	key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
	key = _mm_xor_si128(key, _mm_slli_si128(key, 8));
	return _mm_xor_si128(key, assist);
}

static void expand_key(const uint8_t *key, __m128i *round)
{
	round[0] = _mm_loadu_si128((const __m128i *)key);
#define ROUND(n, constant) round[n] = next_round_key(round[n - 1], _mm_aeskeygenassist_si128(round[n - 1], constant))
	ROUND(1, 0x01);
	ROUND(2, 0x02);
	ROUND(3, 0x04);
	ROUND(4, 0x08);
	ROUND(5, 0x10);
	ROUND(6, 0x20);
	ROUND(7, 0x40);
	ROUND(8, 0x80);
	ROUND(9, 0x1b);
	ROUND(10, 0x36);
#undef ROUND
}

static void encrypt_block(const __m128i *round, uint8_t *block)
{
	__m128i state = _mm_xor_si128(_mm_loadu_si128((__m128i *)block), round[0]);

	for (int i = 1; i < 10; i++)
		state = _mm_aesenc_si128(state, round[i]);
	_mm_storeu_si128((__m128i *)block, _mm_aesenclast_si128(state, round[10]));
}

/* Doubling in GF(2^128). */
static void double_block(uint8_t *block)
{
	uint8_t carry = block[0] >> 7;

	for (int i = 0; i < 15; i++)
		block[i] = (uint8_t)(block[i] << 1 | block[i + 1] >> 7);
	block[15] = (uint8_t)(block[15] << 1 ^ (carry ? 0x87 : 0));
}

void aes_cmac(const uint8_t *key, const void *message, size_t length, uint8_t *mac)
{
	const uint8_t *from = message;
	uint8_t subkey[16] = { 0 }, last[16] = { 0 };
	__m128i round[11];

	expand_key(key, round);
	encrypt_block(round, subkey);
	double_block(subkey);
	clear(mac, 16);
	for (; length > 16; length -= 16, from += 16) {
		for (int i = 0; i < 16; i++)
			mac[i] ^= from[i];
		encrypt_block(round, mac);
	}
	copy(last, from, length);
	if (length < 16) {
		last[length] = 0x80;
		double_block(subkey);
	}
	for (int i = 0; i < 16; i++)
		mac[i] ^= last[i] ^ subkey[i];
	encrypt_block(round, mac);
	clear(round, sizeof(round));
}

int equal(const uint8_t *a, const uint8_t *b, size_t length)
{
	uint8_t difference = 0;

	for (size_t i = 0; i < length; i++)
		difference |= a[i] ^ b[i];
	return difference == 0;
}

void random_bytes(uint8_t *to, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		uint64_t word;
		uint8_t done;

		do
			__asm__ volatile("rdrand %0; setc %1" : "=r"(word), "=qm"(done) : : "cc");
		while (!done);
		to[i] = (uint8_t)word;
	}
}

void copy(void *to, const void *from, size_t length)
{
	for (size_t i = 0; i < length; i++)
		((volatile uint8_t *)to)[i] = ((const uint8_t *)from)[i];
}

void clear(void *secret, size_t length)
{
	for (size_t i = 0; i < length; i++)
		((volatile uint8_t *)secret)[i] = 0;
}
