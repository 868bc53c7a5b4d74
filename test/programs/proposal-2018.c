/* What proposal-2018 promises beyond the flow of its mail: the descriptor that CREATE gives, who may build, global ioctls. */
#define _GNU_SOURCE
#include "check.h"
#include "job.h"
#include "uapi/proposal-2018.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define RWX (PROT_READ | PROT_WRITE | PROT_EXEC)

static struct job job;
static char *base;

static int create(int sgx_fd)
{
	struct sgx_enclave_create ecreate = { .src = (uint64_t)job.secs };
	return ioctl(sgx_fd, SGX_ENCLAVE_CREATE, &ecreate);
}

static int build(int enclave_fd)
{
	struct sgx_enclave_init einit = { .sigstruct = (uint64_t)job.sigstruct };

	for (const struct page *page = job.pages; page < job.pages + job.page_count; page++) {
		struct sgx_enclave_add_page eadd = { (uint64_t)base + page->offset, (uint64_t)page->bytes, (uint64_t)page->secinfo, 0xffff };
		if (ioctl(enclave_fd, SGX_ENCLAVE_ADD_PAGE, &eadd))
			return -1;
	}
	return ioctl(enclave_fd, SGX_ENCLAVE_INIT, &einit);
}

/* The descriptor, as the kernel has those of anonymous inodes. */
static void descriptor(int sgx_fd)
{
	char path[64], target[64] = { 0 };
	struct stat status;
	int fd = create(sgx_fd);

	check(fd > sgx_fd);
	check(fcntl(fd, F_GETFD) == FD_CLOEXEC);
	check(fstat(fd, &status) == 0 && (status.st_mode & S_IFMT) == 0 && status.st_rdev == 0);
	check(fstat(sgx_fd, &status) == 0 && S_ISCHR(status.st_mode));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	check(readlink(path, target, sizeof(target) - 1) > 0 && !strcmp(target, "anon_inode:sgx-enclave"));
	check(open(path, O_RDWR) < 0 && errno == ENXIO);
	check(ioctl(fd, 0xa4ff, 0) < 0 && errno == ENOTTY);
	check(mmap(NULL, job.size_bytes, RWX, MAP_PRIVATE, fd, 0) == MAP_FAILED && errno == EINVAL);
	check(mmap(NULL, 3 * PAGE, RWX, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EINVAL);
	check(mmap(NULL, PAGE, RWX, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EINVAL);
	for (int i = 0; i < 20; i++) {
		char *at = mmap(NULL, 0x40000, RWX, MAP_SHARED, fd, 0);
		check(at != MAP_FAILED && ((uintptr_t)at & 0x3ffff) == 0);
	}
	check(mmap(NULL, job.size_bytes, PROT_READ, MAP_SHARED, sgx_fd, 0) == MAP_FAILED && errno == ENODEV);
	close(fd);
	check(create(-1) < 0 && errno == EBADF);
}

static void no_descriptor_left(int sgx_fd)
{
	struct rlimit old, none;

	getrlimit(RLIMIT_NOFILE, &old);
	none = old;
	none.rlim_cur = (rlim_t)sgx_fd + 1;
	setrlimit(RLIMIT_NOFILE, &none);
	check(create(sgx_fd) < 0 && errno == EMFILE);
	setrlimit(RLIMIT_NOFILE, &old);
	int fd = create(sgx_fd);
	check(fd >= 0);
	close(fd);
}

/* A builder that has no device: it gets the enclave over a socket from a process that does not build. */
static void builder(int sgx_fd)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 }, byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	int pair[2], status;

	check(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
	pid_t child = fork();
	if (child == 0) {
		close(sgx_fd);
		if (recvmsg(pair[1], &message, 0) != 1)
			_exit(1);
		int fd = *(int *)CMSG_DATA(CMSG_FIRSTHDR(&message));
		_exit(build(fd) == 0 ? 0 : 2);
	}
	int fd = create(sgx_fd);
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	*header = (struct cmsghdr){ CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
	*(int *)CMSG_DATA(header) = fd;
	check(sendmsg(pair[0], &message, 0) == 1);
	check(waitpid(child, &status, 0) == child && status == 0);
	check(mmap(base, job.size_bytes, RWX, MAP_SHARED | MAP_FIXED, fd, 0) == base);
	close(fd);
	struct call call = { .function = CALL_ADD, .number = 1 };
	check(job_enter(&job, base, &call, 0).answer == 9);
	check(munmap(base, job.size_bytes) == 0);
}

static void info(int sgx_fd)
{
	struct { struct sgx_info known; char later[16]; } longer = { .known.argsz = sizeof(longer) };
	struct sgx_info info = { .argsz = sizeof(info) }, shorter = { .argsz = 16 };

	check(ioctl(sgx_fd, SGX_GET_INFO, &info) == 0 && info.argsz == sizeof(info) && info.api_version == 1);
	check(info.section_count == 1 && info.sections[0].size == info.epc_bytes && info.epc_bytes >= 1 << 20);
	check(info.features & SGX_INFO_SGX1);
	check(ioctl(sgx_fd, SGX_GET_INFO, &shorter) == 0 && shorter.features == info.features && shorter.epc_bytes == 0);
	check(ioctl(sgx_fd, SGX_GET_INFO, &longer) == 0 && longer.known.argsz == sizeof(info));
	longer.known = (struct sgx_info){ .argsz = sizeof(longer) };
	longer.later[3] = 1;
	check(ioctl(sgx_fd, SGX_GET_INFO, &longer) < 0 && errno == E2BIG);
	check(ioctl(sgx_fd, SGX_GET_INFO, NULL) < 0 && errno == EFAULT);
}

/* The nodes of other generations, whatever is asked of them. */
static void absent(void)
{
	static const char *const paths[] = { "/dev/sgx_enclave", "/dev/sgx_provision" };
	struct stat status;
	char target[8];

	for (int i = 0; i < 2; i++) {
		check(open(paths[i], O_RDWR) < 0 && errno == ENOENT);
		check(stat(paths[i], &status) < 0 && errno == ENOENT);
		check(lstat(paths[i], &status) < 0 && errno == ENOENT);
		check(access(paths[i], F_OK) < 0 && errno == ENOENT);
		check(readlink(paths[i], target, sizeof(target)) < 0 && errno == ENOENT);
	}
	check(stat("/dev/sgx", &status) == 0 && S_ISCHR(status.st_mode));
	check(stat("/sys/kernel/security/sgx/provision", &status) == 0 && S_ISREG(status.st_mode));
}

int main(int argc, char **argv)
{
	job = job_read(argv[0]);
	base = job_reserve(&job);
	int sgx_fd = open("/dev/sgx", O_RDWR);

	(void)argc;
	check(sgx_fd >= 0);
	descriptor(sgx_fd);
	no_descriptor_left(sgx_fd);
	builder(sgx_fd);
	info(sgx_fd);
	absent();
	return report_checks();
}
