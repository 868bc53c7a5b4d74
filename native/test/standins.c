/* Stands in for the parts of the stub that the loader's files call, so that these can be tested alone. */
#include "../src/stub.h"
#include <linux/uio.h>

bool second_filter_on;

/* What the tests of the substitute vDSO call. */
__attribute__((naked)) void vdso_enter(void) asm("vdso_sgx_enter_enclave");
void vdso_enter(void)
{
	asm("mov $4242, %eax\n\tret");
}

void stub_start(void)
{
}

void complain(const char *text)
{
	(void)text;
}

void die(const char *reason)
{
	sys(__NR_write, 2, reason, strlen(reason));
	for (;;)
		sys(__NR_exit_group, 99);
}

/* Weak: the test of CPUID has the true one. */
__attribute__((weak)) void replace_cpuids(int fd, u64 offset, u64 start, u64 size, u64 prot)
{
	(void)fd, (void)offset, (void)start, (void)size, (void)prot;
}

bool session_open(struct slot *slot) { return !slot; }
bool code_is(struct slot *slot, u64 rip, const u8 *wanted, u64 size) { return slot && rip && wanted && size; }
void leave_by_exception(struct slot *slot, ucontext_t *uc, u32 vector, u32 error, u64 address)
{
	(void)slot, (void)uc, (void)vector, (void)error, (void)address;
}

struct slot *running_slot(void) { return NULL; }
void hand_to_next_image(struct slot *slot) { (void)slot; }
u64 ignored_state(void)
{
	return 0x55;
}

i64 copy_user(void *to, const void *from, u64 size)
{
	struct iovec local = { to, size }, remote = { (void *)from, size };

	return sys(__NR_process_vm_readv, sys(__NR_getpid), &local, 1, &remote, 1, 0) == (i64)size ? 0 : -EFAULT;
}
