/* Two threads on two TCSs call the enclave while a timer interrupts every 50 us. Every answer is checked. */
#include "loader.h"
#include "worker.h"

#include <err.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>

static struct enclave enclave;
static vdso_sgx_enter_enclave_t enter;
static long calls_each;
static unsigned long wrong, signals, strange;

static void on_alarm(int signal)
{
	(void)signal;
	__atomic_fetch_add(&signals, 1, __ATOMIC_RELAXED);
}

static void *caller(void *argument)
{
	struct sgx_enclave_run run = { .tcs = enclave.tcs + (uintptr_t)argument * WORKER_TCS_STRIDE };

	for (long i = 0; i < calls_each; i++) {
		uint64_t number = (uint64_t)i * 2 + (uintptr_t)argument;
		struct work work = { WORK_COMPUTE, number, 0, 0 };

		if (enter_worker(enter, &work, &run, 2) || run.function != 4) {
			if (!__atomic_fetch_add(&strange, 1, __ATOMIC_RELAXED))
				warnx("call %ld: function %u vector %u error 0x%x address 0x%llx", i, run.function,
				      run.exception_vector, run.exception_error_code,
				      (unsigned long long)run.exception_addr);
			continue;
		}
		if (i % 16 == 0) {
			/* Vector registers across whatever interrupts. */
			work = (struct work){ WORK_VECTOR, 500, 0, 0 };
			if (enter_worker(enter, &work, &run, 2) || work.answer)
				__atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
			continue;
		}
		if (work.answer != compute(number))
			__atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

int main(int count, char **arguments)
{
	struct sigaction action = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	struct itimerval timer = { { 0, 50 }, { 0, 50 } };
	pthread_t threads[2];

	calls_each = (count > 1 ? atol(arguments[1]) : 1000000) / 2;
	enclave = enclave_load("build/worker.elf", "build/worker.sigstruct", 0);
	enter = find_enter_enclave();
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	for (uintptr_t i = 0; i < 2; i++)
		if (pthread_create(&threads[i], NULL, caller, (void *)i))
			errx(1, "pthread_create");
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	timer.it_value.tv_usec = timer.it_interval.tv_usec = 0;
	setitimer(ITIMER_REAL, &timer, NULL);
	printf("%ld calls, %lu signals, %lu wrong answers, %lu strange exits\n", calls_each * 2, signals, wrong, strange);
	return wrong || strange || !signals;
}
