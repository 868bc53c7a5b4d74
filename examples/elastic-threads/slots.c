#include "slots.h"

#include "calls.h"
#include "layout.h"
#include "loader.h"
#include "pool.h"

#include <err.h>
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

enum { EENTER = 2, EEXIT = 4, PT_TCS = 1, PT_TRIM = 4, EPC_PAGE_CONFLICT = 7, NOT_TRACKED = 11 };

static struct enclave enclave;
static int fd;
static vdso_sgx_enter_enclave_t enter_enclave;

void slots_open(const char *elf_path, const char *sigstruct_path)
{
	struct enclave_image image = enclave_read(elf_path, sigstruct_path);
	char *base = enclave_reserve(&image);

	fd = enclave_open_device();
	enclave_create(fd, &image, base);
	enclave_add_pages(fd, &image, 0);
	enclave_init(fd, &image);
	enclave = enclave_map(fd, &image, base);
	/* No page is there yet: the mapping is what lets the enclave's touch add one. */
	if (mmap(base + SLOTS_OFFSET, ELRANGE_BYTES - SLOTS_OFFSET, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) ==
	    MAP_FAILED)
		err(1, "mmap of the slots");
	enter_enclave = find_enter_enclave();
	if (enter_enclave == NULL)
		errx(1, "this kernel's vDSO has no __vdso_sgx_enter_enclave");
	pool_put(0);
}

static void enter(int slot, struct call *call)
{
	uint64_t tcs = slot == 0 ? enclave.tcs : (uint64_t)enclave.base + TCS_OFFSET((uint64_t)slot);
	struct sgx_enclave_run run = { .tcs = tcs };

	if (enter_enclave((unsigned long)call, 0, 0, EENTER, 0, 0, &run) != 0)
		errx(1, "__vdso_sgx_enter_enclave refused its arguments");
	if (run.function != EEXIT)
		errx(1, "slot %d: exception %u, error code 0x%x, at 0x%llx, in leaf %u", slot, run.exception_vector,
		     run.exception_error_code, run.exception_addr, run.function);
}

static uint64_t call_by(int slot, uint64_t function, uint64_t number)
{
	struct call call = { .function = function, .number = number };

	enter(slot, &call);
	pool_put(slot);
	if (call.status != CALL_OK)
		errx(1, "the enclave refused call %lu with %lu", (unsigned long)function, (unsigned long)number);
	return call.answer;
}

uint64_t slots_call(uint64_t function, uint64_t number)
{
	return call_by(pool_take(), function, number);
}

/* Has the enclave accept something, which it may have to try again while the kernel is busy. */
static void accept_change(uint64_t function, int slot, const char *what)
{
	uint64_t code;

	while ((code = call_by(pool_take_first(-1), function, (uint64_t)slot)) != 0)
		if (code != NOT_TRACKED)
			errx(1, "slot %d: the enclave cannot accept %s: SGX code %lu", slot, what, (unsigned long)code);
}

/* A page that Linux is just evicting, or that another thread is at, is worth another try. */
static int try_again(uint64_t result)
{
	return errno == EAGAIN || errno == EBUSY || (errno == EFAULT && result == EPC_PAGE_CONFLICT);
}

/* `count` says how far the kernel came, also when it failed: go on from there. */
static void modify_types(uint64_t offset, uint64_t length, uint64_t type)
{
	struct sgx_enclave_modify_types request = { .offset = offset, .length = length, .page_type = type };

	while (request.length > 0) {
		if (ioctl(fd, SGX_IOC_ENCLAVE_MODIFY_TYPES, &request) < 0 && !try_again(request.result))
			err(1, "SGX_IOC_ENCLAVE_MODIFY_TYPES at +0x%llx (result %llu)", request.offset + request.count,
			    request.result);
		request.offset += request.count;
		request.length -= request.count;
		request.count = request.result = 0;
	}
}

static void remove_pages(uint64_t offset, uint64_t length)
{
	struct sgx_enclave_remove_pages request = { .offset = offset, .length = length };

	while (request.length > 0) {
		if (ioctl(fd, SGX_IOC_ENCLAVE_REMOVE_PAGES, &request) < 0 && !try_again(0))
			err(1, "SGX_IOC_ENCLAVE_REMOVE_PAGES at +0x%llx", request.offset + request.count);
		request.offset += request.count;
		request.length -= request.count;
		request.count = 0;
	}
}

void slots_add(int slot)
{
	accept_change(CALL_PREPARE, slot, "its pages");
	modify_types(TCS_OFFSET((uint64_t)slot), PAGE, PT_TCS);
	accept_change(CALL_CONFIRM, slot, "its TCS");
	pool_put(slot);
}

void slots_remove(int slot)
{
	pool_take_first(slot);
	modify_types(STACK_OFFSET((uint64_t)slot), SLOT_PAGES_BYTES, PT_TRIM);
	accept_change(CALL_RETIRE, slot, "that it goes");
	remove_pages(STACK_OFFSET((uint64_t)slot), SLOT_PAGES_BYTES);
}
