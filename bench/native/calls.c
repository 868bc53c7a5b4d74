// What one system call costs: `calls NAME` runs batches of it, as an ordinary program makes it; `calls NAME device`
// after opening an enclave device where there is one, when more calls are trapped. `calls signal`: one that
// the program sends itself and handles. `calls arithmetic` makes none.
#define _GNU_SOURCE
#include "batch.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define HERE "."
#define LINK "/proc/self/fd/0"

static char buffer[4096], *page;
static struct iovec vector = { buffer, 1 };
static int file, epoll;
static sigset_t empty;
static struct timespec none;
static struct { const sigset_t *mask; size_t size; } pselect_mask = { &empty, 8 };
static struct { void *handler; unsigned long flags; void *restorer; unsigned long mask; } action;

// Each line is one operation; results do not matter, only that it is always the same.
#define OPERATIONS(_)                                                                             \
	_(getppid, syscall(SYS_getppid))                                                          \
	_(open, close(syscall(SYS_open, HERE, O_RDONLY)))                                         \
	_(openat, close(syscall(SYS_openat, AT_FDCWD, HERE, O_RDONLY)))                           \
	_(openat2, close(syscall(SYS_openat2, AT_FDCWD, HERE, &(uint64_t[3]){ 0 }, 24)))          \
	_(stat, syscall(SYS_stat, HERE, buffer))                                                  \
	_(lstat, syscall(SYS_lstat, HERE, buffer))                                                \
	_(newfstatat, syscall(SYS_newfstatat, AT_FDCWD, HERE, buffer, 0))                         \
	_(statx, syscall(SYS_statx, AT_FDCWD, HERE, 0, 0x7ff, buffer))                            \
	_(access, syscall(SYS_access, HERE, R_OK))                                                \
	_(faccessat, syscall(SYS_faccessat, AT_FDCWD, HERE, R_OK))                                \
	_(faccessat2, syscall(SYS_faccessat2, AT_FDCWD, HERE, R_OK, 0))                           \
	_(readlink, syscall(SYS_readlink, LINK, buffer, sizeof buffer))                           \
	_(readlinkat, syscall(SYS_readlinkat, AT_FDCWD, LINK, buffer, sizeof buffer))             \
	_(getxattr, syscall(SYS_getxattr, HERE, "user.none", buffer, sizeof buffer))              \
	_(lgetxattr, syscall(SYS_lgetxattr, HERE, "user.none", buffer, sizeof buffer))            \
	_(listxattr, syscall(SYS_listxattr, HERE, buffer, sizeof buffer))                         \
	_(llistxattr, syscall(SYS_llistxattr, HERE, buffer, sizeof buffer))                       \
	_(rt_sigaction, syscall(SYS_rt_sigaction, SIGUSR1, &action, NULL, 8))                     \
	_(rt_sigprocmask, syscall(SYS_rt_sigprocmask, SIG_SETMASK, &empty, NULL, 8))              \
	_(rt_sigpending, syscall(SYS_rt_sigpending, &empty, 8))                                   \
	_(signal, raise(SIGUSR2))                                                                 \
	_(rt_sigtimedwait, syscall(SYS_rt_sigtimedwait, &empty, NULL, &none, 8))                  \
	_(ppoll, syscall(SYS_ppoll, NULL, 0, &none, &empty, 8))                                   \
	_(pselect6, syscall(SYS_pselect6, 0, NULL, NULL, NULL, &none, &pselect_mask))             \
	_(epoll_pwait, syscall(SYS_epoll_pwait, epoll, buffer, 1, 0, &empty, 8))                  \
	_(epoll_pwait2, syscall(SYS_epoll_pwait2, epoll, buffer, 1, &none, &empty, 8))            \
	_(sigaltstack, syscall(SYS_sigaltstack, NULL, buffer))                                    \
	_(mmap, munmap(mmap(NULL, 4096, PROT_READ, MAP_SHARED, file, 0), 4096))                   \
	_(pread64, syscall(SYS_pread64, file, buffer, 1, 0))                                      \
	_(pwrite64, syscall(SYS_pwrite64, file, buffer, 1, 0))                                    \
	_(preadv, syscall(SYS_preadv, file, &vector, 1, 0, 0))                                    \
	_(pwritev, syscall(SYS_pwritev, file, &vector, 1, 0, 0))                                  \
	_(preadv2, syscall(SYS_preadv2, file, &vector, 1, 0, 0, 0))                               \
	_(pwritev2, syscall(SYS_pwritev2, file, &vector, 1, 0, 0, 0))                             \
	_(lseek, syscall(SYS_lseek, file, 0, SEEK_SET))                                           \
	_(ftruncate, syscall(SYS_ftruncate, file, 4096))                                          \
	_(fallocate, syscall(SYS_fallocate, file, 0, 0, 4096))                                    \
	_(fsync, syscall(SYS_fsync, file))                                                        \
	_(fdatasync, syscall(SYS_fdatasync, file))                                                \
	_(sync_file_range, syscall(SYS_sync_file_range, file, 0, 0, 0))                           \
	_(readahead, syscall(SYS_readahead, file, 0, 0))                                          \
	_(sendfile, syscall(SYS_sendfile, file, file, NULL, 0))                                   \
	_(splice, syscall(SYS_splice, file, NULL, file, NULL, 0, 0))                              \
	_(copy_file_range, syscall(SYS_copy_file_range, file, NULL, file, NULL, 0, 0))            \
	_(flock, syscall(SYS_flock, file, 8 /* LOCK_UN */))                                       \
	_(fstat, syscall(SYS_fstat, 0, buffer))                                                   \
	_(mprotect, syscall(SYS_mprotect, page, 4096, PROT_READ | PROT_WRITE))                    \
	_(munmap, syscall(SYS_munmap, page + 2 * 4096, 4096))                                     \
	_(mremap, syscall(SYS_mremap, page, 4096, 4096, 0))                                       \
	_(madvise, syscall(SYS_madvise, page, 4096, 4 /* MADV_DONTNEED */))                       \
	_(close_range, syscall(SYS_close_range, 900, 1023, 0))

#define BATCH(name, operation)                               \
	static double name##_batch(long operations)          \
	{                                                    \
		double start = now_ns();                     \
		for (long i = 0; i < operations; i++)        \
			(void)!(operation);                  \
		return now_ns() - start;                     \
	}
OPERATIONS(BATCH)

static double arithmetic_batch(long operations)
{
	static volatile uint64_t result;
	double start = now_ns();

	for (long i = 0; i < operations; i++) {
		uint64_t x = result | 1;
		for (int step = 0; step < 1000; step++)
			x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		result = x;
	}
	return now_ns() - start;
}

#define ENTRY(name, operation) { #name, name##_batch, 1000 },
static const struct { const char *name; double (*batch)(long); long operations; } table[] = {
	OPERATIONS(ENTRY) { "arithmetic", arithmetic_batch, 2000 },
};

static void do_nothing(int signal)
{
	(void)signal;
}

int main(int count, char **arguments)
{
	const char *name = count > 1 ? arguments[1] : "";

	page = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	file = memfd_create("shared", 0);
	epoll = epoll_create1(0);
	signal(SIGUSR2, do_nothing);
	if (page == MAP_FAILED || file < 0 || ftruncate(file, 4096) || epoll < 0)
		die("set-up");
	if (count > 2)
		open("/dev/sgx_enclave", O_RDWR);
	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		if (!strcmp(name, table[i].name))
			return serve_batches(table[i].batch, table[i].operations);
	fprintf(stderr, "calls: no operation \"%s\"\n", name);
	return 2;
}
