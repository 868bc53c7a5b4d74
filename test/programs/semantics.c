/* What a program sees of the driver and the processor, each line as Linux and the SDM have it. */
#define _GNU_SOURCE
#include "loader.h"
#include "worker.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

static int failures, checks;
#define check(condition)                                                                    \
	do {                                                                                \
		checks++;                                                                   \
		if (!(condition)) {                                                         \
			failures++;                                                         \
			fprintf(stderr, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno); \
		}                                                                           \
	} while (0)
#define fails(call, wanted) check((call) == -1 && errno == (wanted))

static struct enclave enclave;
static vdso_sgx_enter_enclave_t enter;

static struct sgx_enclave_run run_work(struct work *work, int thread)
{
	struct sgx_enclave_run run = { .tcs = enclave.tcs + (uint64_t)thread * WORKER_TCS_STRIDE };

	check(enter_worker(enter, work, &run, 2) == 0);
	return run;
}

static void device_files(void)
{
	struct sgx_enclave_create create = { 0 };
	struct sgx_enclave_add_pages add = { 0 };
	struct sgx_enclave_init init = { 0 };
	struct sgx_enclave_provision provision;
	struct stat status;
	int fd = open("/dev/sgx_enclave", O_RDWR | O_CLOEXEC), other = open("/dev/sgx_provision", O_RDONLY);

	check(fd >= 0 && other >= 0);
	check(fcntl(fd, F_GETFD) == FD_CLOEXEC && fcntl(other, F_GETFD) == 0);
	check(stat("/dev/sgx_enclave", &status) == 0 && S_ISCHR(status.st_mode) && major(status.st_rdev) == 10);
	check(fstat(fd, &status) == 0 && S_ISCHR(status.st_mode));
	check(access("/dev/sgx_enclave", R_OK | W_OK) == 0);
	int ioctls_only = open("/dev/sgx_enclave", 3);
	fails(ioctl(ioctls_only, SGX_IOC_ENCLAVE_CREATE, (void *)8), EFAULT);
	check(mmap(NULL, 4096, PROT_READ, MAP_SHARED, ioctls_only, 0) == MAP_FAILED && errno == EACCES);
	close(ioctls_only);
	fails(access("/dev/isgx", F_OK), ENOENT);
	fails(open("/dev/sgx/enclave", O_RDWR), ENOENT);
	fails(ioctl(fd, _IO(0xa4, 0x7f)), ENOTTY);
	fails(ioctl(other, SGX_IOC_ENCLAVE_CREATE, &create), ENOTTY);
	fails(ioctl(fd, SGX_IOC_ENCLAVE_CREATE, (void *)8), EFAULT);
	fails(ioctl(fd, SGX_IOC_ENCLAVE_CREATE, &create), EFAULT);
	fails(ioctl(fd, SGX_IOC_ENCLAVE_ADD_PAGES, &add), EINVAL);
	fails(ioctl(fd, SGX_IOC_ENCLAVE_INIT, &init), EINVAL);
	provision.fd = (uint64_t)other;
	check(ioctl(fd, SGX_IOC_ENCLAVE_PROVISION, &provision) == 0);
	provision.fd = (uint64_t)fd;
	fails(ioctl(fd, SGX_IOC_ENCLAVE_PROVISION, &provision), EINVAL);
	provision.fd = 900;
	fails(ioctl(fd, SGX_IOC_ENCLAVE_PROVISION, &provision), EINVAL);
	check(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED && errno == EINVAL);
	check(mmap(NULL, 4096, PROT_READ, MAP_SHARED, other, 0) == MAP_FAILED && errno == ENODEV);
	void *page = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0x5000);
	check(page != MAP_FAILED && munmap(page, 4096) == 0);
	close(fd);
	close(other);
}

/* Where it cannot be made to, an enclave's CPUID is executed. */
static int cpuid_faults(void)
{
	char line[8192];
	int faults = 0;
	FILE *file = fopen("/proc/cpuinfo", "r");

	while (file && !faults && fgets(line, sizeof line, file))
		faults = strstr(line, " cpuid_fault") != NULL;
	if (file)
		fclose(file);
	return faults;
}

/* SGX, flexible launch control, SGX1; nothing else of the processor has changed. */
static void processor(void)
{
	unsigned int a, b, c, d, vendor[4];

	check(__get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & 1u << 2) && (c & 1u << 30));
	check(__get_cpuid_count(0x12, 0, &a, &b, &c, &d) && (a & 1));
	check(__get_cpuid_count(0x12, 2, &a, &b, &c, &d) && (a & 0xf) == 1 && (c & 0xf) == 1);
	check(__get_cpuid(0, &vendor[3], &vendor[0], &vendor[2], &vendor[1]) && vendor[3] >= 0x12 && vendor[0]);
}

static void exceptions(void)
{
	struct work work = { WORK_COMPUTE, 7, 0, 0 };
	struct sgx_enclave_run run = run_work(&work, 0);

	check(run.function == 4 && work.answer == compute(7));
	work.function = WORK_SYSCALL;
	run = run_work(&work, 0);
	check(run.function == 3 && run.exception_vector == 6);
	/* The first thread is stuck behind that exception now, with one of its two frames in use: enter the second. */
	work.function = cpuid_faults() ? WORK_CPUID : WORK_SYSCALL;
	run = run_work(&work, 0);
	check(run.function == 3 && run.exception_vector == 6);
	run = run_work(&work, 0);
	check(run.function == 2 && run.exception_vector == 13); /* CSSA has reached NSSA */
	work = (struct work){ WORK_COMPUTE, 9, 0, 0 };
	run = run_work(&work, 1);
	check(run.function == 4 && work.answer == compute(9));
	/* A TCS that is none. */
	run = (struct sgx_enclave_run){ .tcs = enclave.tcs + 1 };
	check(enter_worker(enter, NULL, &run, 2) == 0 && run.function == 2 && run.exception_vector == 13);
	run = (struct sgx_enclave_run){ .tcs = 0x1000 };
	check(enter_worker(enter, NULL, &run, 2) == 0 && run.function == 2 && run.exception_vector == 14);
	check(enter_worker(enter, NULL, &run, 5) == -EINVAL);
	run.reserved[3] = 1;
	check(enter_worker(enter, NULL, &run, 2) == -EINVAL);
}

/* OSPKE: the kernel uses protection keys, which is what fences enclave memory off. */
static int has_protection_keys(void)
{
	unsigned int a, b, c = 0, d;

	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & 1u << 4);
}

/* Ones to read, writes vanish. */
static void abort_page(volatile uint64_t *heap)
{
	unsigned char bytes[64], ones[64];
	struct work work;
	int pipes[2];

	memset(ones, 0xff, sizeof ones);
	check(heap[0] == ~0UL && *(volatile unsigned char *)heap == 0xff);
	heap[0] = 5;
	check(heap[0] == ~0UL);
	memset(bytes, 0, sizeof bytes);
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = ((volatile unsigned char *)heap)[i];
	check(!memcmp(bytes, ones, sizeof bytes));
	memset(bytes, 0, sizeof bytes);
	__asm__ volatile("rep movsb" : : "D"(bytes), "S"(heap), "c"(sizeof bytes) : "memory");
	work = (struct work){ WORK_READ, (uint64_t)heap, 0, 0 };
	run_work(&work, 1);
	check(work.answer == 0);
	/* Model: a system call gets EFAULT, where hardware would let it copy ones. */
	check(pipe(pipes) == 0);
	fails(write(pipes[1], (void *)heap, 64), EFAULT);
	close(pipes[0]);
	close(pipes[1]);
}

/* Model: without protection keys enclave memory is open to its own process, where hardware shows an abort page. */
static void open_memory(volatile uint64_t *heap)
{
	struct work work = { WORK_READ, (uint64_t)heap, 0, 0 };

	heap[0] = 5;
	run_work(&work, 1);
	check(work.answer == 5 && heap[0] == 5);
	heap[0] = 0;
}

static void from_outside(void)
{
	struct work work = { WORK_WHERE, 0, 0, 0 };

	run_work(&work, 1);
	if (has_protection_keys())
		abort_page((volatile uint64_t *)work.answer);
	else
		open_memory((volatile uint64_t *)work.answer);
}

static void *spin(void *flag)
{
	struct work work = { WORK_SPIN, (uint64_t)flag, 0, 0 };
	struct sgx_enclave_run run = run_work(&work, 1);

	check(run.function == 4);
	return NULL;
}

static volatile uint64_t handler_rip, handler_rax, handler_rbx, signals;

static void on_alarm(int signal, siginfo_t *info, void *context)
{
	greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
	struct work work = { WORK_COMPUTE, 5, 0, 0 };

	(void)signal, (void)info;
	signals++;
	handler_rip = (uint64_t)registers[REG_RIP];
	handler_rax = (uint64_t)registers[REG_RAX];
	handler_rbx = (uint64_t)registers[REG_RBX];
	if (handler_rbx == enclave.tcs + WORKER_TCS_STRIDE) {
		/* Nested: the same TCS is entered from the handler, on its second frame. Then the first goes on. */
		struct sgx_enclave_run run = run_work(&work, 1);
		check(run.function == 4 && work.answer == compute(5));
	}
}

static void busy_and_interrupted(void)
{
	struct sigaction action = { .sa_sigaction = on_alarm, .sa_flags = SA_SIGINFO };
	struct itimerval once = { { 0, 0 }, { 0, 30000 } };
	struct work work = { WORK_COMPUTE, 1, 0, 0 };
	volatile uint64_t flag = 0;
	struct sgx_enclave_run run;
	pthread_t thread;

	pthread_create(&thread, NULL, spin, (void *)&flag);
	usleep(50000);
	run = run_work(&work, 1);
	check(run.function == 2 && run.exception_vector == 13); /* the TCS is in use */
	flag = 1;
	pthread_join(thread, NULL);

	/* A signal that comes while this thread is inside. */
	sigset_t alarm_signal;
	sigemptyset(&alarm_signal);
	sigaddset(&alarm_signal, SIGALRM);
	sigaction(SIGALRM, &action, NULL);
	flag = 0;
	pthread_create(&thread, NULL, spin, (void *)&flag);
	usleep(20000);
	pthread_kill(thread, SIGALRM);
	usleep(50000);
	check(signals == 1 && handler_rax == 3 && handler_rbx == enclave.tcs + WORKER_TCS_STRIDE);
	flag = 1;
	pthread_join(thread, NULL);
	setitimer(ITIMER_REAL, &once, NULL);
	usleep(60000);
	check(signals >= 2 && handler_rip != 0);
}

static void processes(void)
{
	struct work work = { WORK_COMPUTE, 3, 0, 0 };
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		/* The child enters the parent's enclave. */
		struct sgx_enclave_run run = run_work(&work, 1);
		_exit(run.function == 4 && work.answer == compute(3) && !failures ? 0 : 1);
	}
	check(waitpid(pid, &status, 0) == pid && status == 0);
	check(WEXITSTATUS(system("exit 6")) == 6);
	pid = vfork();
	if (pid == 0) {
		execl("/bin/sh", "sh", "-c", "test -c /dev/sgx_enclave && exit 8", NULL);
		_exit(127);
	}
	check(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 8);
	run_work(&work, 1);
	check(work.answer == compute(3));
}

int main(void)
{
	device_files();
	enclave = enclave_load("build/worker.elf", "build/worker.sigstruct", 0);
	enter = find_enter_enclave();
	processor();
	exceptions();
	from_outside();
	busy_and_interrupted();
	processes();
	printf("%d checks, %d failed\n", checks, failures);
	return failures != 0;
}
