/* EGETKEY and EREPORT. Their operands must be aligned and lie inside the enclave: so they are copied to where that is so. */
#include "sgx.h"
#include "crypto.h"

uint32_t get_key(const struct key_request *request, uint8_t *key)
{
	static uint8_t aligned[16] __attribute__((aligned(16)));
	uint64_t result = ENCLU_EGETKEY;

	__asm__ volatile(".byte 0x0f, 0x01, 0xd7" : "+a"(result) : "b"(request), "c"(aligned) : "memory", "cc");
	copy(key, aligned, 16);
	clear(aligned, 16);
	return (uint32_t)result;
}

void make_report(const struct target_info *target, const uint8_t *data, struct report *report)
{
	static uint8_t aligned[64] __attribute__((aligned(128)));
	uint64_t leaf = ENCLU_EREPORT;

	copy(aligned, data, 64);
	__asm__ volatile(".byte 0x0f, 0x01, 0xd7" : "+a"(leaf) : "b"(target), "c"(aligned), "d"(report) : "memory", "cc");
}
