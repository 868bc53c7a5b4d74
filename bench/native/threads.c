// pthread_create and pthread_join of a thread that does nothing: what a thread costs without an enclave.
#include "batch.h"

#include <pthread.h>

static void *nothing(void *argument)
{
	return argument;
}

static double threads(long operations)
{
	double start = now_ns();

	for (long i = 0; i < operations; i++) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, nothing, NULL) != 0)
			die("pthread_create");
		pthread_join(thread, NULL);
	}
	return now_ns() - start;
}

int main(void)
{
	return serve_batches(threads, 200);
}
