/* mainline: what was merged. A range per ADD_PAGES; a right that is cut shows in the error code of the page fault. */
#define _GNU_SOURCE
#include "job.h"

#include <asm/sgx.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct job job = job_read(argv[0]);
	char *base = job_reserve(&job);
	int ret;

	(void)argc;
	int enclave_fd = open("/dev/sgx_enclave", O_RDWR);
	BUG_ON(enclave_fd < 0);

	struct sgx_enclave_create ecreate = { .src = (uint64_t)job.secs };
	ret = ioctl(enclave_fd, SGX_IOC_ENCLAVE_CREATE, &ecreate);
	must_be_zero(ret, "SGX_IOC_ENCLAVE_CREATE");

	for (const struct page *page = job.pages; page < job.pages + job.page_count; page++) {
		struct sgx_enclave_add_pages eadd = {
			.src = (uint64_t)page->bytes,
			.offset = page->offset,
			.length = PAGE,
			.secinfo = (uint64_t)page->secinfo,
			.flags = SGX_PAGE_MEASURE,
		};
		ret = ioctl(enclave_fd, SGX_IOC_ENCLAVE_ADD_PAGES, &eadd);
		must_be_zero(ret, "SGX_IOC_ENCLAVE_ADD_PAGES");
	}

	struct sgx_enclave_init einit = { .sigstruct = (uint64_t)job.sigstruct };
	ret = ioctl(enclave_fd, SGX_IOC_ENCLAVE_INIT, &einit);
	must_be_zero(ret, "SGX_IOC_ENCLAVE_INIT");

	/* No mapping may have more rights than its pages were added with. */
	for (const struct page *page = job.pages; page < job.pages + job.page_count; page++) {
		int tcs = (page->secinfo[0] & 0xff00) == 0x100, prot = tcs ? PROT_READ | PROT_WRITE : (int)page->secinfo[0] & 7;
		BUG_ON(mmap(base + page->offset, PAGE, prot, MAP_SHARED | MAP_FIXED, enclave_fd, 0) == MAP_FAILED);
	}
	job_do(&job, base);

	/* EMODPR: only ever fewer rights. What EMODPE gives back needs no ioctl. */
	struct call where = { .function = CALL_WHERE };
	uint64_t page = job_enter(&job, base, &where, 0).answer;
	struct sgx_enclave_restrict_permissions restricted = {
		.offset = page - (uint64_t)base, .length = PAGE, .permissions = PROT_READ,
	};
	ret = ioctl(enclave_fd, SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS, &restricted);
	must_be_zero(ret, "SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS");
	struct call accept = { .function = CALL_ACCEPT, .where = page, .number = 0x221 };
	struct call extend = { .function = CALL_EXTEND, .where = page, .number = 0x203 };
	struct call write = { .function = CALL_WRITE, .where = page, .number = 7 };
	job_enter(&job, base, &accept, 0);
	printf("%s: a write without W: error code 0x%x\n", job.program, job_enter(&job, base, &write, 0).error_code);
	job_enter(&job, base, &extend, 0);
	printf("%s: the same after EMODPE: error code 0x%x\n", job.program, job_enter(&job, base, &write, 1).error_code);
	return 0;
}
