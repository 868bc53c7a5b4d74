/* Which paths are taken for device nodes and for the program's own executable. */
#define _GNU_SOURCE
#include "check.h"
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

long copy_string(char *to, size_t size, const char *from);
bool names_own_executable(int directory, const char *path);
int names_device(int directory, const char *path);

static void test_strings(void)
{
	char *pages = mmap(NULL, 2 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), to[4096];

	mprotect(pages + 4096, 4096, PROT_NONE);
	for (int length = 0; length < 200; length++) {
		char *from = pages + 4096 - length - 1;

		memset(pages, 'x', 4096);
		from[length] = 0;
		check(copy_string(to, sizeof(to), from) == length && (int)strlen(to) == length, "length %d", length);
		from[length] = 'x';
		check(copy_string(to, sizeof(to), from) == -EFAULT, "length %d", length);
		check(copy_string(to, length + 1, from) == -ENAMETOOLONG, "length %d", length);
	}
	check(copy_string(to, sizeof(to), NULL) == -EFAULT, "NULL");
	check(copy_string(to, sizeof(to), (char *)0x800000000000) == -EFAULT, "not canonical");
}

static void test_nodes(int dev)
{
	static const struct { const char *path; int node; } cases[] = {
		{ "/dev/sgx_enclave", 0 }, { "/dev/sgx_provision", 1 }, { "//dev///sgx_enclave", 0 }, { "/dev/./sgx_enclave", 0 },
		{ "/dev/../dev/sgx_enclave", 0 }, { "/../../dev/sgx_enclave", 0 }, { "/proc/../dev/shm/.././sgx_provision", 1 },
		{ "/dev/sgx_enclave/", -1 }, { "/dev/sgx_enclave/.", -1 }, { "/dev/sgx_enclav", -1 }, { "/dev/sgx_enclave2", -1 },
		{ "/dev/shm/sgx_enclave", -1 }, { "/sgx_enclave", -1 }, { "/dev", -1 }, { "/", -1 }, { "", -1 }, { "/dev/null", -1 },
		{ "/x/dev/sgx_enclave", -1 },
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		check(names_device(AT_FDCWD, cases[i].path) == cases[i].node, "%s", cases[i].path);
	check(names_device(dev, "/dev/sgx_enclave") == 0, "absolute: the directory does not matter");
	check(names_device(dev, "sgx_provision") == 1, "relative to /dev");
	check(names_device(dev, "../dev/./sgx_enclave") == 0, "relative to /dev");
	check(names_device(AT_FDCWD, "sgx_enclave") == -1, "relative to elsewhere");
	check(names_device(777, "sgx_enclave") == -1, "bad descriptor");
	check(names_device(AT_FDCWD, NULL) == -1, "NULL");
	check(!chdir("/dev") && names_device(AT_FDCWD, "sgx_enclave") == 0, "relative to the working directory");
	check(!chdir("/") && names_device(AT_FDCWD, "dev/sgx_enclave") == 0, "relative to /");
}

static void test_executable(void)
{
	static const char *const own[] = {
		"/proc/self/exe", "/proc/thread-self/exe", "/proc/self/task/%d/exe", "/proc/%d/exe", "/proc/%d/task/%d/exe", "//proc/./self/exe",
	}, *const others[] = {
		"/proc/self/exec", "/proc/self/", "/proc/1/exe", "/proc/%d1/exe", "/proc/%d/task/1/exe", "/proc/exe", "/proc/self/cwd/exe",
		"/exe", "exe", "/proc/self/exe/",
	};
	char path[128];

	for (unsigned i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
		sprintf(path, own[i], getpid(), getpid());
		check(names_own_executable(AT_FDCWD, path), "%s", path);
	}
	for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		sprintf(path, others[i], getpid());
		check(!names_own_executable(AT_FDCWD, path), "%s", path);
	}
	check(names_own_executable(open("/proc/self", O_PATH), "exe"), "relative to /proc/self");
	check(!chdir("/proc/self") && names_own_executable(AT_FDCWD, "exe"), "relative to the working directory");
	if (!vfork())
		_exit(names_own_executable(AT_FDCWD, "/proc/self/exe") && !names_own_executable(AT_FDCWD, "exe"));
	int status;

	wait(&status);
	check(WEXITSTATUS(status) == 1, "a vfork child is itself, not its parent");
}

int main(void)
{
	test_strings();
	test_nodes(open("/dev", O_PATH));
	test_executable();
	return finish("paths of device nodes and of the own executable");
}
