/* v17-2018: open() itself gives the unique enclave. Its mapping is shared: a child executes the enclave, too. */
#define _GNU_SOURCE
#include "job.h"
#include "uapi/v17-2018.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct job job = job_read(argv[0]);
	int ret, status;

	(void)argc;
	int enclave_fd = open("/dev/sgx", O_RDWR);
	BUG_ON(enclave_fd < 0);

	/* As programs did: the driver chooses an address that suits an enclave of this size. */
	char *base = mmap(NULL, job.size_bytes, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED, enclave_fd, 0);
	BUG_ON(base == MAP_FAILED);
	job_set_base(&job, base);

	struct sgx_enclave_create ecreate = { .src = (uint64_t)job.secs };
	ret = ioctl(enclave_fd, SGX_IOC_ENCLAVE_CREATE, &ecreate);
	must_be_zero(ret, "SGX_IOC_ENCLAVE_CREATE");

	for (const struct page *page = job.pages; page < job.pages + job.page_count; page++) {
		struct sgx_enclave_add_page eadd = {
			.addr = (uint64_t)base + page->offset,
			.src = (uint64_t)page->bytes,
			.secinfo = (uint64_t)page->secinfo,
			.mrmask = 0xffff,
		};
		ret = ioctl(enclave_fd, SGX_IOC_ENCLAVE_ADD_PAGE, &eadd);
		must_be_zero(ret, "SGX_IOC_ENCLAVE_ADD_PAGE");
	}

	struct sgx_enclave_init einit = { .sigstruct = (uint64_t)job.sigstruct };
	ret = ioctl(enclave_fd, SGX_IOC_ENCLAVE_INIT, &einit);
	must_be_zero(ret, "SGX_IOC_ENCLAVE_INIT");

	close(enclave_fd);
	job_do(&job, base);
	pid_t child = fork();
	BUG_ON(child < 0);
	if (child == 0) {
		job_do(&job, base);
		_exit(0);
	}
	BUG_ON(waitpid(child, &status, 0) != child);
	return status != 0;
}
