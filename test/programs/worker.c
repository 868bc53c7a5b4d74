/* The enclave of the test programs. Freestanding; entered through the example's entry.S. */
#include "enclave-layout.h"
#include "worker.h"

VITRINE_ENCLAVE_LAYOUT(
	.elrange_size = 0x8000000,
	.thread_count = 2,
	.nssa = WORKER_NSSA,
	.ssa_frame_size = 1,
	.stack_pages = WORKER_STACK_PAGES,
	.heap_pages = WORKER_PAGES,
	.attributes = SGX_ATTR_MODE64BIT,
	.xfrm = SGX_XFRM_LEGACY | 4, /* AVX */
);

/* The heap begins where the segments end. */
extern char _end[] __attribute__((visibility("hidden")));

static volatile uint64_t *heap_page(uint64_t page)
{
	return (volatile uint64_t *)((((uint64_t)_end + 4095) & ~4095UL) + page * 4096);
}

static uint64_t word(uint64_t seed, uint64_t page, uint64_t at)
{
	return (seed << 48) ^ (page * 0x9e3779b97f4a7c15u) ^ at;
}

/* Fills the sixteen AVX registers by `seed`, waits, and counts those that changed. Signals must not show. */
static uint64_t vectors(uint64_t seed, uint64_t rounds)
{
	uint64_t want[16][4], got[16][4], wrong = 0;

	for (int r = 0; r < 16; r++)
		for (int i = 0; i < 4; i++)
			want[r][i] = word(seed, (uint64_t)r, (uint64_t)i);
#define EACH(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define LOAD(r) "vmovdqu " #r "*32(%1), %%ymm" #r "\n"
#define STORE(r) "vmovdqu %%ymm" #r ", " #r "*32(%2)\n"
	__asm__ volatile(EACH(LOAD) "1: pause\n dec %0\n jnz 1b\n" EACH(STORE) "vzeroupper\n"
			 : "+r"(rounds)
			 : "r"(want), "r"(got)
			 : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
			   "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
	for (int r = 0; r < 16; r++)
		for (int i = 0; i < 4; i++)
			wrong += got[r][i] != want[r][i];
	return wrong;
}

void enclave_main(struct work *work)
{
	uint64_t number = *(volatile uint64_t *)&work->number, other = *(volatile uint64_t *)&work->other, answer = 0;
	uint64_t pages = other && other < WORKER_PAGES ? other : WORKER_PAGES;

	switch (*(volatile uint64_t *)&work->function) {
	case WORK_COMPUTE:
		answer = compute(number);
		break;
	case WORK_FILL:
		for (uint64_t page = 0; page < pages; page++)
			for (uint64_t at = 0; at < 512; at += 7)
				heap_page(page)[at] = word(number, page, at);
		break;
	case WORK_CHECK:
		for (uint64_t page = 0; page < pages; page++)
			for (uint64_t at = 0; at < 512; at += 7)
				answer += heap_page(page)[at] != word(number, page, at);
		break;
	case WORK_SYSCALL:
		__asm__ volatile("syscall" : "=a"(answer) : "a"(39) : "rcx", "r11", "memory");
		break;
	case WORK_CPUID:
		__asm__ volatile("cpuid" : "=a"(answer) : "a"(0) : "rbx", "rcx", "rdx");
		break;
	case WORK_DIVIDE:
		__asm__ volatile("xorl %%ecx, %%ecx; movl $1, %%eax; cltd; idivl %%ecx" : "=a"(answer)::"rcx", "rdx");
		break;
	case WORK_SPIN:
		while (!*(volatile uint64_t *)number)
			__builtin_ia32_pause();
		break;
	case WORK_READ:
		answer = *(volatile uint64_t *)number;
		break;
	case WORK_VECTOR:
		answer = vectors((uint64_t)work, number);
		break;
	case WORK_WHERE:
		answer = (uint64_t)heap_page(0);
		break;
	case WORK_RDTSC:
		answer = __builtin_ia32_rdtsc();
		break;
	case WORK_COUNT:
		while (!*(volatile uint64_t *)other)
			++*(volatile uint64_t *)number;
		break;
	}
	work->answer = answer;
}
