/*
 * What a loader must know of an enclave and an ELF file has no place for: an ELF note, put into the enclave by
 * VITRINE_ENCLAVE_LAYOUT(). The rules that turn file and note into pages stand in src/formats/README.md.
 * Needs nothing but a C compiler; copy it into your own project.
 */
#ifndef VITRINE_ENCLAVE_LAYOUT_H
#define VITRINE_ENCLAVE_LAYOUT_H

#include <stdint.h>

#define VITRINE_NOTE_OWNER "Vitrine"
#define VITRINE_NOTE_TYPE 1

/* Bits of SECS.ATTRIBUTES (SDM "ATTRIBUTES"). */
#define SGX_ATTR_DEBUG 0x02
#define SGX_ATTR_MODE64BIT 0x04
#define SGX_ATTR_KSS 0x80
#define SGX_ATTR_AEXNOTIFY 0x400 /* the TCSs get it, too */
/* Bits of SECS.XFRM: x87 and SSE are the least there is. */
#define SGX_XFRM_LEGACY 0x03

/* For `flags`: the enclave applies its own relocations; without it a file that has any is refused. */
#define VITRINE_SELF_RELOCATING 0x01

struct vitrine_enclave_layout {
	uint32_t version;        /* 1 */
	uint32_t flags;
	uint32_t thread_count;   /* TCSs */
	uint32_t nssa;           /* save-area frames of each thread */
	uint32_t ssa_frame_size; /* pages of one frame */
	uint32_t stack_pages;    /* of each thread */
	uint64_t heap_pages;     /* added, but not measured */
	uint64_t elrange_size;   /* bytes, a power of two; 0: the smallest that holds everything */
	uint64_t attributes;
	uint64_t xfrm;
	uint32_t misc_select;
	uint32_t reserved;
};

struct vitrine_enclave_note {
	uint32_t owner_length, content_length, type;
	char owner[8];
	struct vitrine_enclave_layout layout;
} __attribute__((packed));

/* VITRINE_ENCLAVE_LAYOUT(.thread_count = 1, ...): missing fields are zero. */
#define VITRINE_ENCLAVE_LAYOUT(...)                                                                     \
	__attribute__((section(".note.vitrine"), used, aligned(4)))                                     \
	static const struct vitrine_enclave_note vitrine_enclave_note = {                               \
		sizeof(VITRINE_NOTE_OWNER), sizeof(struct vitrine_enclave_layout), VITRINE_NOTE_TYPE,   \
		VITRINE_NOTE_OWNER, { .version = 1, __VA_ARGS__ }                                       \
	}

#endif
