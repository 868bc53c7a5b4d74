// Builds and initialises an enclave of 1 GiB, 2 % of it measured: the rest is heap, added as loaders add it, in large
// pieces from one buffer.
//
//   large-enclave IMAGE SIGSTRUCT MEASURED_PAGES
//
// IMAGE is made by bench/enclave-image.ts: TCS, SSA frame, code, operands and more code, MEASURED_PAGES in all.
#include "batch.h"
#include "sgx.h"

#define ENCLAVE_BYTES (1UL << 30)
enum { CHUNK_BYTES = 16 << 20 };

static char *image, heap[CHUNK_BYTES] __attribute__((aligned(PAGE_BYTES)));
static char sigstruct[PAGE_BYTES] __attribute__((aligned(PAGE_BYTES)));
static size_t image_bytes;

static void *read_file(const char *name, void *into, size_t size)
{
	int file = open(name, O_RDONLY);

	if (file < 0 || read(file, into, size) != (ssize_t)size)
		die(name);
	close(file);
	return into;
}

static void add(int fd, const char *source, size_t offset, size_t size, uint64_t secinfo, uint64_t flags)
{
	if (add_pages(fd, source, offset, size, secinfo, flags))
		die("SGX_IOC_ENCLAVE_ADD_PAGES");
}

static double batch(long pages)
{
	struct enclave_init init = { .sigstruct = (uintptr_t)sigstruct };
	char *base = reserve(ENCLAVE_BYTES);
	double start = now_ns();
	int fd = open("/dev/sgx_enclave", O_RDWR);

	(void)pages;
	if (fd < 0 || !base || create_enclave(fd, base, ENCLAVE_BYTES))
		die("SGX_IOC_ENCLAVE_CREATE");
	add(fd, image, 0, PAGE_BYTES, SECINFO_TCS, SGX_PAGE_MEASURE);
	add(fd, image + PAGE_BYTES, PAGE_BYTES, PAGE_BYTES, SECINFO_REG | SECINFO_R | SECINFO_W, SGX_PAGE_MEASURE);
	add(fd, image + 2 * PAGE_BYTES, 2 * PAGE_BYTES, PAGE_BYTES, SECINFO_REG | SECINFO_R | SECINFO_X, SGX_PAGE_MEASURE);
	add(fd, image + 3 * PAGE_BYTES, 3 * PAGE_BYTES, PAGE_BYTES, SECINFO_REG | SECINFO_R | SECINFO_W, SGX_PAGE_MEASURE);
	add(fd, image + 4 * PAGE_BYTES, 4 * PAGE_BYTES, image_bytes - 4 * PAGE_BYTES, SECINFO_REG | SECINFO_R | SECINFO_X,
	    SGX_PAGE_MEASURE);
	for (size_t offset = image_bytes; offset < ENCLAVE_BYTES; offset += CHUNK_BYTES) {
		size_t left = ENCLAVE_BYTES - offset;

		add(fd, heap, offset, left < CHUNK_BYTES ? left : CHUNK_BYTES, SECINFO_REG | SECINFO_R | SECINFO_W, 0);
	}
	if (ioctl(fd, SGX_IOC_ENCLAVE_INIT, &init))
		die("SGX_IOC_ENCLAVE_INIT");
	double taken = now_ns() - start;

	close(fd);
	munmap(base, ENCLAVE_BYTES);
	return taken;
}

int main(int count, char **arguments)
{
	if (count != 4) {
		fprintf(stderr, "usage: large-enclave IMAGE SIGSTRUCT MEASURED_PAGES\n");
		return 2;
	}
	image_bytes = strtoul(arguments[3], NULL, 10) * PAGE_BYTES;
	image = read_file(arguments[1], aligned_alloc(PAGE_BYTES, image_bytes), image_bytes);
	read_file(arguments[2], sigstruct, 1808);
	memset(heap, 0x5a, sizeof heap);
	return serve_batches(batch, ENCLAVE_BYTES / PAGE_BYTES);
}
