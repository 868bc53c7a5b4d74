/*
 * draft-2018: every ioctl on the device, with enclave_fd in the struct. The mapping is of the device and knows no
 * enclave: it is there before the enclave, and without it after the enclave_fd is closed.
 */
#define _GNU_SOURCE
#include "job.h"
#include "uapi/draft-2018.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct job job = job_read(argv[0]);
	int ret;

	(void)argc;
	int sgx_fd = open("/dev/sgx", O_RDWR);
	BUG_ON(sgx_fd < 0);

	/* The driver chooses an address that suits an enclave of this size. */
	char *base = mmap(NULL, job.size_bytes, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED, sgx_fd, 0);
	BUG_ON(base == MAP_FAILED);
	job_set_base(&job, base);

	struct sgx_enclave_create ecreate = { .src = (uint64_t)job.secs };
	int enclave_fd = ioctl(sgx_fd, SGX_IOC_ENCLAVE_CREATE, &ecreate);
	BUG_ON(enclave_fd < 0);

	for (const struct page *page = job.pages; page < job.pages + job.page_count; page++) {
		struct sgx_enclave_add_page eadd = {
			.enclave_fd = (uint64_t)enclave_fd,
			.addr = (uint64_t)base + page->offset,
			.src = (uint64_t)page->bytes,
			.secinfo = (uint64_t)page->secinfo,
			.mrmask = 0xffff,
		};
		ret = ioctl(sgx_fd, SGX_IOC_ENCLAVE_ADD_PAGE, &eadd);
		must_be_zero(ret, "SGX_IOC_ENCLAVE_ADD_PAGE");
	}

	struct sgx_enclave_init einit = { .enclave_fd = (uint64_t)enclave_fd, .sigstruct = (uint64_t)job.sigstruct };
	ret = ioctl(sgx_fd, SGX_IOC_ENCLAVE_INIT, &einit);
	must_be_zero(ret, "SGX_IOC_ENCLAVE_INIT");

	job_do(&job, base);

	/* The handle goes, and with it the enclave; the mapping stays, with nothing behind it. */
	close(enclave_fd);
	struct call call = { .function = CALL_ADD };
	struct outcome outcome = job_enter(&job, base, &call, 0);
	printf("%s: after close(enclave_fd): exception %u, error code 0x%x\n", job.program, outcome.vector, outcome.error_code);
	return outcome.vector != 14;
}
