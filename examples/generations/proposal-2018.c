/* proposal-2018: the flow of the mail, line by line. CREATE gives the enclave's descriptor; mappings outlive both. */
#define _GNU_SOURCE
#include "job.h"
#include "uapi/proposal-2018.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct job job = job_read(argv[0]);
	char *base = job_reserve(&job);
	int ret;

	(void)argc;
	int sgx_fd = open("/dev/sgx", O_RDWR);
	BUG_ON(sgx_fd < 0);

	struct sgx_enclave_create ecreate = { .src = (uint64_t)job.secs };
	int enclave_fd = ioctl(sgx_fd, SGX_ENCLAVE_CREATE, &ecreate);
	BUG_ON(enclave_fd < 0);

	for (const struct page *page = job.pages; page < job.pages + job.page_count; page++) {
		struct sgx_enclave_add_page eadd = {
			.addr = (uint64_t)base + page->offset,
			.src = (uint64_t)page->bytes,
			.secinfo = (uint64_t)page->secinfo,
			.mrmask = 0xffff, /* all sixteen chunks */
		};
		ret = ioctl(enclave_fd, SGX_ENCLAVE_ADD_PAGE, &eadd);
		must_be_zero(ret, "SGX_ENCLAVE_ADD_PAGE");
	}

	struct sgx_enclave_init einit = { .sigstruct = (uint64_t)job.sigstruct };
	ret = ioctl(enclave_fd, SGX_ENCLAVE_INIT, &einit);
	must_be_zero(ret, "SGX_ENCLAVE_INIT");

	/* Each VMA keeps a reference to the file: the enclave lives on without a descriptor. */
	BUG_ON(mmap(base, job.size_bytes, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED | MAP_FIXED, enclave_fd, 0) != base);
	close(enclave_fd);
	close(sgx_fd);
	job_do(&job, base);
	return 0;
}
