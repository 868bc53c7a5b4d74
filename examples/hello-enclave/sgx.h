/*
 * Keys and reports: what an enclave asks of the processor.
 * SDM "EGETKEY - Retrieves a Cryptographic Key", "EREPORT - Create a Cryptographic Report of the Enclave".
 */
#ifndef SGX_H
#define SGX_H

#include <stdint.h>

#define ENCLU_EREPORT 0
#define ENCLU_EGETKEY 1

#define KEY_REPORT 3
#define KEY_SEAL 4
#define KEYPOLICY_MRENCLAVE 0x01

struct key_request {
	uint16_t name, policy, isv_svn;
	uint8_t cet_mask, reserved1;
	uint8_t cpu_svn[16];
	uint64_t attribute_mask, xfrm_mask;
	uint8_t key_id[32];
	uint32_t misc_mask;
	uint16_t config_svn;
	uint8_t reserved2[434];
} __attribute__((aligned(512)));

struct target_info {
	uint8_t mr_enclave[32];
	uint64_t attributes, xfrm;
	uint8_t cet_attributes, reserved1;
	uint16_t config_svn;
	uint32_t misc_select;
	uint8_t reserved2[8], config_id[64], reserved3[384];
} __attribute__((aligned(512)));

/* The first 384 bytes are what the MAC is over. */
struct report {
	uint8_t cpu_svn[16];
	uint32_t misc_select;
	uint8_t cet_attributes, reserved1[11], isv_ext_prod_id[16];
	uint64_t attributes, xfrm;
	uint8_t mr_enclave[32], reserved2[32], mr_signer[32], reserved3[32], config_id[64];
	uint16_t isv_prod_id, isv_svn, config_svn;
	uint8_t reserved4[42], isv_family_id[16];
	uint8_t data[64];
	uint8_t key_id[32], mac[16];
} __attribute__((aligned(512)));

#define REPORT_BYTES 432
#define REPORT_MACED_BYTES 384

_Static_assert(sizeof(struct key_request) == 512 && sizeof(struct target_info) == 512, "the SDM's sizes");
_Static_assert(__builtin_offsetof(struct report, mac) + 16 == REPORT_BYTES, "the SDM's size");
_Static_assert(__builtin_offsetof(struct report, key_id) == REPORT_MACED_BYTES, "the SDM's layout");

/* 0, or an SGX error code. `key` has 16 bytes. */
uint32_t get_key(const struct key_request *request, uint8_t *key);
/* For the enclave that `target` describes; `data` has 64 bytes. */
void make_report(const struct target_info *target, const uint8_t *data, struct report *report);

#endif
