/* Every ENCLU leaf in a real enclave: its results, flags and exceptions, each as the SDM has it. */
#define _GNU_SOURCE
#include "leaves.h"
#include "odd.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { EREPORT = 0, EGETKEY = 1, EENTER = 2, ERESUME = 3, EEXIT = 4, EACCEPT = 5, EMODPE = 6, EACCEPTCOPY = 7, EDECCSSA = 9 };
enum { GP = 13, PF = 14 };
#define RW (PROT_READ | PROT_WRITE)
#define PAGE 4096UL

/* Where things lie in the arena. */
enum { REQUEST = 0, KEY = 512, TARGET = 1024, DATA = 1536, SECINFO = 1664, REPORT = 2048, SOURCE = 4096 };

static uint64_t arena;

static struct sgx_enclave_run enter_with(struct call *call, unsigned leaf)
{
	struct sgx_enclave_run run = { .tcs = enclave.tcs };

	call->tcs = enclave.tcs;
	check(enter_worker(find_enter_enclave(), (struct work *)call, &run, leaf) == 0);
	return run;
}

static void copy(uint64_t function, uint64_t offset, const void *outside, uint64_t length)
{
	struct call call = { .function = function, .offset = offset, .outside = (uint64_t)outside, .length = length };

	check(enter_with(&call, EENTER).function == EEXIT);
}
#define put(offset, what) copy(LEAVES_PUT, offset, &(what), sizeof(what))
#define get(offset, what) copy(LEAVES_GET, offset, &(what), sizeof(what))

/* ENCLU inside; it is expected to complete. */
static struct call leaf(uint64_t number, uint64_t rbx, uint64_t rcx, uint64_t rdx)
{
	struct call call = { .function = LEAVES_ENCLU, .rax = number, .rbx = rbx, .rcx = rcx, .rdx = rdx };

	check(enter_with(&call, EENTER).function == EEXIT);
	return call;
}

/* ENCLU inside; it is expected to fault, and is skipped then. Error code and address in the result. */
static struct sgx_enclave_run faulting(uint64_t number, uint64_t rbx, uint64_t rcx, uint64_t rdx)
{
	struct call call = { .function = LEAVES_ENCLU, .rax = number, .rbx = rbx, .rcx = rcx, .rdx = rdx };
	struct call skip = { .function = LEAVES_SKIP };
	struct sgx_enclave_run run = enter_with(&call, EENTER);

	check(run.function == ERESUME);
	if (run.function != ERESUME)
		return run;
	check(enter_with(&skip, EENTER).function == EEXIT);
	check(enter_with(&skip, ERESUME).function == EEXIT && call.rax == number);
	return run;
}
#define is_gp(run) ((run).exception_vector == GP)
#define is_pf(run, error, at) \
	((run).exception_vector == PF && (run).exception_error_code == (error) && (run).exception_addr == (at))

/* SDM "Key Request (KEYREQUEST)". */
struct key_request {
	uint16_t name, policy, isv_svn, cet_mask;
	uint8_t cpu_svn[16];
	uint64_t attribute_mask[2];
	uint8_t key_id[32];
	uint32_t misc_mask;
	uint16_t config_svn;
	uint8_t reserved[434];
};

/* SDM "Report (REPORT)". */
struct report {
	uint8_t cpu_svn[16];
	uint32_t misc_select;
	uint8_t reserved1[12 + 16];
	uint64_t attributes[2];
	uint8_t mr_enclave[32], reserved2[32], mr_signer[32], reserved3[32];
	uint8_t config_id[64];
	uint16_t isv_prod_id, isv_svn, config_svn;
	uint8_t reserved4[42 + 16];
	uint8_t data[64], key_id[32], mac[16];
};

/* SDM "Report Target Info (TARGETINFO)". */
struct target_info {
	uint8_t measurement[32];
	uint64_t attributes[2];
	uint8_t reserved1[2];
	uint16_t config_svn;
	uint32_t misc_select;
	uint8_t reserved2[8], config_id[64], reserved3[384];
};

static void print(const char *name, const void *bytes, size_t length)
{
	printf("%s ", name);
	for (size_t i = 0; i < length; i++)
		printf("%02x", ((const uint8_t *)bytes)[i]);
	printf("\n");
}

/* EGETKEY's result in RAX; `key` gets what lies at KEY afterwards. */
static uint64_t get_key(const struct key_request *request, uint8_t key[16])
{
	uint8_t before[16];

	memset(before, 0xee, sizeof before);
	put(KEY, before);
	put(REQUEST, *request);
	struct call call = leaf(EGETKEY, arena + REQUEST, arena + KEY, 0);
	check(call.flags == (call.rax ? ZERO_FLAG : 0));
	copy(LEAVES_GET, KEY, key, 16);
	check(!memcmp(key, before, 16) == (call.rax != 0));
	return call.rax;
}

static void reports(void)
{
	struct target_info target = { 0 };
	struct report report;
	uint8_t data[64], key[16];

	for (int i = 0; i < 64; i++)
		data[i] = (uint8_t)(3 * i);
	put(DATA, data);
	put(TARGET, target);
	struct call call = leaf(EREPORT, arena + TARGET, arena + DATA, arena + REPORT);
	check(call.rax == EREPORT && call.flags == ARITHMETIC_FLAGS);
	get(REPORT, report);
	check(!memcmp(report.data, data, 64) && report.attributes[0] == 0x485 && report.attributes[1] == 3);

	/* To itself, so that it may have the key. */
	memcpy(target.measurement, report.mr_enclave, 32);
	memcpy(target.attributes, report.attributes, 16);
	target.misc_select = report.misc_select;
	put(TARGET, target);
	leaf(EREPORT, arena + TARGET, arena + DATA, arena + REPORT);
	get(REPORT, report);
	struct key_request request = { .name = 3 };
	memcpy(request.key_id, report.key_id, 32);
	check(get_key(&request, key) == 0);
	print("report", &report, sizeof report);
	print("key", key, sizeof key);

	check(is_gp(faulting(EREPORT, arena + TARGET + 256, arena + DATA, arena + REPORT)));
	check(is_gp(faulting(EREPORT, arena + TARGET, arena + DATA, (uint64_t)enclave.base - PAGE)));
	target.reserved2[0] = 1;
	put(TARGET, target);
	check(is_gp(faulting(EREPORT, arena + TARGET, arena + DATA, arena + REPORT)));
}

static void keys(void)
{
	struct key_request request = { .name = 4, .policy = 2 };
	uint8_t seal[16], again[16], other[16];

	check(get_key(&request, seal) == 0 && get_key(&request, again) == 0 && !memcmp(seal, again, 16));
	request.key_id[31] = 1;
	check(get_key(&request, other) == 0 && memcmp(seal, other, 16));
	request = (struct key_request){ .name = 4, .isv_svn = 1 };
	check(get_key(&request, other) == 64);
	request = (struct key_request){ .name = 1 };
	check(get_key(&request, other) == 2);
	request = (struct key_request){ .name = 9 };
	check(get_key(&request, other) == 256);
	request = (struct key_request){ .name = 4 };
	memset(request.cpu_svn, 0xff, 16);
	check(get_key(&request, other) == 32);

	check(is_gp(faulting(EGETKEY, arena + REQUEST + 16, arena + KEY, 0)));
	check(is_gp(faulting(EGETKEY, arena + REQUEST, arena + KEY + 8, 0)));
	check(is_gp(faulting(EGETKEY, (uint64_t)&request & ~511UL, arena + KEY, 0)));
	/* The key may not be written where the enclave may not: its code (by the mapping), its TCS (by the EPCM). */
	check(is_pf(faulting(EGETKEY, arena + REQUEST, (uint64_t)enclave.base, 0), 0x7, (uint64_t)enclave.base));
	check(is_pf(faulting(EGETKEY, arena + REQUEST, enclave.tcs, 0), 0x8007, enclave.tcs));
	request.reserved[0] = 1;
	put(REQUEST, request);
	check(is_gp(faulting(EGETKEY, arena + REQUEST, arena + KEY, 0)));
}

/* The last pages of ELRANGE were never added: they come by EAUG. */
static void pages(void)
{
	uint64_t page = (uint64_t)enclave.base + enclave.size_bytes - 4 * PAGE;
	uint64_t secinfo[8] = { 0x203 /* PT_REG R|W */ };
	uint8_t bytes[4096], copied[4096];

	check(mmap((void *)page, 4 * PAGE, RW, MAP_SHARED | MAP_FIXED, device, 0) == (void *)page);
	for (int i = 0; i < 4096; i++)
		bytes[i] = (uint8_t)(i ^ i >> 8);
	put(SOURCE, bytes);
	put(SECINFO, secinfo);
	struct call call = leaf(EACCEPTCOPY, arena + SECINFO, page, arena + SOURCE);
	check(call.rax == 0 && call.flags == 0);
	copy(LEAVES_GET, page - arena, copied, 4096);
	check(!memcmp(bytes, copied, 4096));
	call = leaf(EACCEPTCOPY, arena + SECINFO, page, arena + SOURCE);
	check(call.rax == 19 && call.flags == ZERO_FLAG); /* SGX_PAGE_ATTRIBUTES_MISMATCH: it is accepted */
	check(is_gp(faulting(EACCEPTCOPY, arena + SECINFO, page + 8, arena + SOURCE)));
	check(is_gp(faulting(EACCEPTCOPY, arena + SECINFO, page + PAGE, (uint64_t)&bytes & ~4095UL)));

	secinfo[0] = 0x20b; /* PENDING */
	put(SECINFO, secinfo);
	call = leaf(EACCEPT, arena + SECINFO, page + PAGE, 0);
	check(call.rax == 0 && call.flags == 0);
	secinfo[0] = 0x207; /* X, too */
	put(SECINFO, secinfo);
	call = leaf(EMODPE, arena + SECINFO, page + PAGE, 0);
	check(call.rax == EMODPE && call.flags == ARITHMETIC_FLAGS);
}

static void leaves_that_are_none(void)
{
	check(is_gp(faulting(EENTER, enclave.tcs, 0, 0)));
	check(is_gp(faulting(ERESUME, enclave.tcs, 0, 0)));
	check(is_gp(faulting(8, 0, 0, 0)));
	check(is_gp(faulting(10, 0, 0, 0)));
	check(is_gp(faulting(EDECCSSA, 0, 0, 0))); /* CSSA is 0 */
}

static volatile uint64_t flag, spinning;

static void on_signal(int signal)
{
	(void)signal;
	spinning++;
}

static void *spin(void *argument)
{
	struct call *call = argument;
	struct sgx_enclave_run run;

	spinning = 1;
	run = enter_with(call, EENTER);
	/* The handler in the enclave has left: the interrupted call goes on when it is resumed. */
	while (call->how == NOTICE_LEAVES && run.function == EEXIT && !call->rax) {
		spinning += 100;
		run = enter_with(call, ERESUME);
	}
	check(run.function == EEXIT);
	return NULL;
}

/* Interrupts a thread inside `times` times; its enclave must have been told of each. */
static void notices(uint64_t how, uint64_t times)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct call call = { .function = LEAVES_SPIN, .how = how, .flag = &flag };
	pthread_t thread;

	flag = spinning = 0;
	sigaction(SIGUSR1, &action, NULL);
	pthread_create(&thread, NULL, spin, &call);
	while (!spinning)
		usleep(1000);
	usleep(30000);
	for (uint64_t i = 0; i < times; i++) {
		uint64_t before = spinning;

		pthread_kill(thread, SIGUSR1);
		while (spinning == before)
			usleep(1000);
		usleep(30000);
	}
	flag = 1;
	pthread_join(thread, NULL);
	check(call.rax == times);
	check(spinning == 1 + times + (how == NOTICE_LEAVES ? 100 * times : 0));
}

/* With the other test enclave, which every processor can run. */
static void rdtsc(int legal)
{
	struct work work = { .function = WORK_RDTSC };

	load();
	uint64_t before = __builtin_ia32_rdtsc();
	struct sgx_enclave_run run = run_work(&work, 0);
	if (legal)
		check(run.function == EEXIT && work.answer > before);
	else
		check(run.function == ERESUME && run.exception_vector == 6);
	check(__builtin_ia32_rdtsc() > before); /* outside it is legal again */
	work = (struct work){ WORK_COMPUTE, 7, 0, 0 };
	run = run_work(&work, 1);
	check(run.function == EEXIT && work.answer == compute(7));
}

static void load_leaves(const char *name)
{
	struct call where = { .function = LEAVES_WHERE };

	load_enclave(name);
	check(enter_with(&where, EENTER).function == EEXIT);
	arena = where.rax;
}

/*
 * The seal key that all enclaves of the signer share, at the SVNs of the enclave and the processor or at others
 * (ISVSVN, CPUSVN as 32 digits): prints the SVNs and the key, or what EGETKEY answered instead.
 */
static void seal_key(const char *isv_svn, const char *cpu_svn)
{
	struct target_info target = { 0 };
	struct key_request request = { .name = 4, .policy = 2 };
	struct report report;
	uint8_t key[16];

	put(TARGET, target);
	leaf(EREPORT, arena + TARGET, arena + DATA, arena + REPORT);
	get(REPORT, report);
	request.isv_svn = isv_svn ? (uint16_t)atoi(isv_svn) : report.isv_svn;
	memcpy(request.cpu_svn, report.cpu_svn, 16);
	for (int i = 0; cpu_svn && i < 16; i++)
		check(sscanf(cpu_svn + 2 * i, "%2hhx", &request.cpu_svn[i]) == 1);
	uint64_t code = get_key(&request, key);
	printf("isvsvn %d\n", report.isv_svn);
	print("cpusvn", report.cpu_svn, 16);
	if (code)
		printf("code %lu\n", code);
	else
		print("key", key, sizeof key);
}

static void all_leaves(void)
{
	load_leaves("leaves-enclave");
	reports();
	keys();
	pages();
	leaves_that_are_none();
	notices(NOTICE_INSIDE, 5);
	notices(NOTICE_LEAVES, 1);
}

int main(int argc, char **argv)
{
	if (argc > 2 && !strcmp(argv[1], "seal")) {
		load_leaves(argv[2]);
		seal_key(argc > 3 ? argv[3] : NULL, argc > 4 ? argv[4] : NULL);
	} else if (argc > 1)
		rdtsc(!strcmp(argv[1], "rdtsc-legal"));
	else
		all_leaves();
	printf("%d checks, %d failed\n", checks, failures);
	return failures != 0;
}
