/* Touching memory and entering enclaves, with the faults that come of it as text. */
#define _GNU_SOURCE
#include "cases.h"
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>
#include "loader.h"

enum { VECTOR_GP = 13, VECTOR_PF = 14, PF_SGX = 0x8000, DO_SPIN = 2, NO_VECTOR = 0xffff };

extern __thread unsigned long exit_rdx;
long enclu(struct entry *entry);
int enter_by_vdso(struct entry *entry, struct sgx_enclave_run *run, vdso_sgx_enter_enclave_t function);

static __thread sigjmp_buf back;
/* The last fault; `signal` is 0 when the vDSO function reported it. */
static __thread struct { int signal, code; unsigned long vector, error, address; } caught;

static void on_fault(int signal, siginfo_t *info, void *context)
{
	greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;

	caught.signal = signal;
	caught.code = info->si_code;
	caught.vector = (unsigned long)registers[REG_TRAPNO];
	caught.error = (unsigned long)registers[REG_ERR];
	caught.address = (unsigned long)info->si_addr;
	siglongjmp(back, 1);
}

void catch_faults(void)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE };
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER };

	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
		sigaction(signals[i], &action, NULL);
}

/* SIGSEGV-EPCM where the page fault has the SGX bit, SIGSEGV-GP for #GP; without `SIG` from the vDSO function. */
static const char *fault_text(void)
{
	static __thread char text[32];
	const char *name = caught.signal ? sigabbrev_np(caught.signal) : "exception";

	if (caught.signal && caught.signal != SIGSEGV)
		snprintf(text, sizeof text, "SIG%s", name);
	else
		snprintf(text, sizeof text, "%s%s%s", caught.signal ? "SIG" : "", name,
			 caught.vector == VECTOR_GP ? "-GP" : caught.error & PF_SGX ? "-EPCM" : "");
	return text;
}

/* Signal, si_code, vector; of a page fault the error code and the address. */
const char *last_fault(void)
{
	static char text[96];
	int length = caught.signal ? snprintf(text, sizeof text, "SIG%s code %d vector %lu", sigabbrev_np(caught.signal),
					      caught.code, caught.vector) :
				     snprintf(text, sizeof text, "exception vector %lu", caught.vector);

	if (caught.vector == VECTOR_PF)
		snprintf(text + length, sizeof text - (size_t)length, " error 0x%lx at 0x%lx", caught.error, caught.address);
	return text;
}

static const char *value_text(unsigned long value)
{
	static __thread char text[32];

	snprintf(text, sizeof text, "0x%lx", value);
	return value ? text : "0";
}

const char *touch(unsigned long address, char how)
{
	static char text[16];

	if (sigsetjmp(back, 1))
		return fault_text();
	if (how == 'w') {
		*(volatile unsigned char *)address = 1;
		return "0";
	}
	snprintf(text, sizeof text, "0x%x", *(volatile unsigned char *)address);
	return text;
}

/* EENTER or ERESUME by ENCLU; gives RDX at EEXIT. */
const char *enter(struct entry entry)
{
	if (sigsetjmp(back, 1))
		return fault_text();
	enclu(&entry);
	return value_text(exit_rdx);
}

const char *enter_through_vdso(struct entry entry)
{
	static vdso_sgx_enter_enclave_t function;
	struct sgx_enclave_run run = { .tcs = entry.tcs, .exception_vector = NO_VECTOR };

	if (!function)
		function = find_enter_enclave();
	if (!function)
		return "no vDSO function";
	if (sigsetjmp(back, 1))
		return fault_text();
	int result = enter_by_vdso(&entry, &run, function);
	if (result)
		return errno_text(result);
	/* An entry made by ENCLU itself comes back beside the function. */
	if (run.function == 4 /* EEXIT */ || run.exception_vector == NO_VECTOR)
		return value_text(exit_rdx);
	caught.signal = 0;
	caught.vector = run.exception_vector;
	caught.error = run.exception_error_code;
	caught.address = run.exception_addr;
	return fault_text();
}

/* ---- a thread that stays inside ------------------------------------------------------------------------------- */

static pthread_t spinner;
static const char *spinner_outcome;

static void *spin(void *tcs)
{
	struct entry entry = { .leaf = 2, .tcs = (unsigned long)tcs, .rdi = DO_SPIN };

	entry.rsi = (unsigned long)&SHARED->spinners[self].stop;
	entry.rdx = (unsigned long)&SHARED->spinners[self].counter;
	static char text[32];
	strncpy(text, enter(entry), sizeof text - 1);
	spinner_outcome = text;
	SHARED->spinners[self].runs = false;
	return NULL;
}

const char *start_spinner(unsigned long tcs)
{
	SHARED->spinners[self].stop = SHARED->spinners[self].counter = 0;
	SHARED->spinners[self].runs = true;
	return errno_text(-pthread_create(&spinner, NULL, spin, (void *)tcs));
}

const char *stop_spinner(void)
{
	SHARED->spinners[self].stop = 1;
	pthread_join(spinner, NULL);
	return spinner_outcome;
}

/* Two rounds begun after the step have seen all of it; or the thread has left. */
void settle_spinners(void)
{
	for (int i = 0; i < SHARED->processes; i++) {
		uint64_t before = SHARED->spinners[i].counter;
		while (SHARED->spinners[i].runs && SHARED->spinners[i].counter < before + 2)
			sched_yield();
	}
}
