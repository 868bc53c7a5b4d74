// The smallest host: times one kind of operation on an enclave.
//
//   enclave calls IMAGE SIGSTRUCT   EENTER and EEXIT through the vDSO
//   enclave ioctls IMAGE SIGSTRUCT  an ioctl the driver refuses at once: the way there and back
//   enclave keys|reports IMAGE SIGSTRUCT  EGETKEY or EREPORT inside the enclave
//   enclave pages                   SGX_IOC_ENCLAVE_ADD_PAGES with measurement, a page at a time counted
//
// IMAGE is made by bench/enclave-image.ts: TCS, SSA frame, code, operands, one page each.
#include "batch.h"
#include "sgx.h"

#include <errno.h>

enum { ENCLAVE_BYTES = 4 * PAGE_BYTES, MEASURED_PAGES = 2048 };

static int fd;
static enter_enclave_t enter_enclave;
static struct enclave_run run;

static void read_file(const char *name, char *into, size_t size)
{
	int file = open(name, O_RDONLY);

	if (file < 0 || read(file, into, size) != (ssize_t)size)
		die(name);
	close(file);
}

static int open_device(void)
{
	int device = open("/dev/sgx_enclave", O_RDWR);

	if (device < 0)
		die("/dev/sgx_enclave");
	return device;
}

static void build(const char *image_name, const char *sigstruct_name)
{
	static char image[ENCLAVE_BYTES] __attribute__((aligned(PAGE_BYTES)));
	static char sigstruct[PAGE_BYTES] __attribute__((aligned(PAGE_BYTES)));
	struct enclave_init init = { .sigstruct = (uintptr_t)sigstruct };
	char *base = reserve(ENCLAVE_BYTES);

	read_file(image_name, image, sizeof image);
	read_file(sigstruct_name, sigstruct, 1808);
	fd = open_device();
	if (create_enclave(fd, base, ENCLAVE_BYTES))
		die("SGX_IOC_ENCLAVE_CREATE");
	if (add_pages(fd, image, 0, PAGE_BYTES, SECINFO_TCS, SGX_PAGE_MEASURE) ||
	    add_pages(fd, image + PAGE_BYTES, PAGE_BYTES, PAGE_BYTES, SECINFO_REG | SECINFO_R | SECINFO_W,
		      SGX_PAGE_MEASURE) ||
	    add_pages(fd, image + 2 * PAGE_BYTES, 2 * PAGE_BYTES, PAGE_BYTES, SECINFO_REG | SECINFO_R | SECINFO_X,
		      SGX_PAGE_MEASURE) ||
	    add_pages(fd, image + 3 * PAGE_BYTES, 3 * PAGE_BYTES, PAGE_BYTES, SECINFO_REG | SECINFO_R | SECINFO_W,
		      SGX_PAGE_MEASURE))
		die("SGX_IOC_ENCLAVE_ADD_PAGES");
	if (ioctl(fd, SGX_IOC_ENCLAVE_INIT, &init))
		die("SGX_IOC_ENCLAVE_INIT");
	if (mmap(base, 2 * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED ||
	    mmap(base + 2 * PAGE_BYTES, PAGE_BYTES, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED ||
	    mmap(base + 3 * PAGE_BYTES, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
		die("mmap of the enclave");
	run.tcs = (uintptr_t)base;
	enter_enclave = (enter_enclave_t)vdso_symbol("__vdso_sgx_enter_enclave");
	if (!enter_enclave) {
		fprintf(stderr, "the vDSO has no __vdso_sgx_enter_enclave\n");
		exit(1);
	}
}

// Enters; inside, `leaf` is executed `times` with these operands.
static void enter(long times, unsigned leaf, uint64_t rbx, uint64_t rcx, uint64_t rdx)
{
	if (enter_enclave(times, leaf, rdx, EENTER, rbx, rcx, &run) || run.function != EEXIT) {
		fprintf(stderr, "the enclave was left with function %u, vector %u\n", run.function, run.exception_vector);
		exit(1);
	}
}

static double calls(long operations)
{
	double start = now_ns();

	for (long i = 0; i < operations; i++)
		enter(0, 0, 0, 0, 0);
	return now_ns() - start;
}

static double keys(long operations)
{
	uint64_t operands = run.tcs + 3 * PAGE_BYTES;
	double start = now_ns();

	enter(operations, EGETKEY, operands, operands + 2048, 0);
	return now_ns() - start;
}

static double reports(long operations)
{
	uint64_t operands = run.tcs + 3 * PAGE_BYTES;
	double start = now_ns();

	enter(operations, EREPORT, operands + 512, operands + 1024, operands + 1536);
	return now_ns() - start;
}

static double ioctls(long operations)
{
	double start = now_ns();

	for (long i = 0; i < operations; i++)
		if (ioctl(fd, _IO(0xa4, 0x7f)) != -1 || errno != ENOTTY)
			die("an unknown ioctl");
	return now_ns() - start;
}

static double pages(long operations)
{
	static char source[MEASURED_PAGES * PAGE_BYTES] __attribute__((aligned(PAGE_BYTES)));
	size_t size = 2 * sizeof source;
	char *base = reserve(size);
	int device = open_device();
	double start;

	memset(source, 0x5a, sizeof source);
	if (create_enclave(device, base, size))
		die("SGX_IOC_ENCLAVE_CREATE");
	start = now_ns();
	if (add_pages(device, source, 0, operations * PAGE_BYTES, SECINFO_REG | SECINFO_R | SECINFO_W, SGX_PAGE_MEASURE))
		die("SGX_IOC_ENCLAVE_ADD_PAGES");
	start = now_ns() - start;
	close(device);
	munmap(base, size);
	return start;
}

int main(int count, char **arguments)
{
	const char *mode = count > 1 ? arguments[1] : "";

	if (!strcmp(mode, "pages"))
		return serve_batches(pages, MEASURED_PAGES);
	if (count == 4) {
		build(arguments[2], arguments[3]);
		if (!strcmp(mode, "calls"))
			return serve_batches(calls, 20000);
		if (!strcmp(mode, "ioctls"))
			return serve_batches(ioctls, 3000);
		if (!strcmp(mode, "keys"))
			return serve_batches(keys, 2000);
		if (!strcmp(mode, "reports"))
			return serve_batches(reports, 2000);
	}
	fprintf(stderr, "usage: enclave calls|ioctls|keys|reports IMAGE SIGSTRUCT | enclave pages\n");
	return 2;
}
