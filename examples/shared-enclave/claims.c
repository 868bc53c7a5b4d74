/*
 * A robust mutex per TCS, in memory that all processes share. The kernel unlocks it when its owner dies, and tells the
 * next one so: what a dead process claimed is not lost.
 */
#define _GNU_SOURCE
#include "claims.h"

#include <err.h>
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { MAX_CLAIMS = 64, PATIENCE_NS = 1000 * 1000 };

struct claims {
	uint32_t count;
	uint32_t left; /* that are not retired */
	struct {
		pthread_mutex_t mutex;
		uint32_t retired;
	} of[MAX_CLAIMS];
};

struct claims *claims_open(int descriptor)
{
	struct claims *claims = mmap(NULL, sizeof(*claims), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);

	if (claims == MAP_FAILED)
		err(1, "mapping the table of claims");
	return claims;
}

struct claims *claims_make(uint32_t count, int *descriptor)
{
	pthread_mutexattr_t attributes;

	if (count > MAX_CLAIMS)
		errx(1, "%u threads; the table of claims has room for %d", count, MAX_CLAIMS);
	*descriptor = memfd_create("claims", MFD_CLOEXEC);
	if (*descriptor < 0 || ftruncate(*descriptor, sizeof(struct claims)) < 0)
		err(1, "memory for the table of claims");
	struct claims *claims = claims_open(*descriptor);
	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
	for (uint32_t i = 0; i < count; i++)
		pthread_mutex_init(&claims->of[i].mutex, &attributes);
	claims->count = claims->left = count;
	return claims;
}

/* Whether it is ours now, given what locking its mutex said. A dead owner's is as good as any until it is entered. */
static int got(struct claims *claims, uint32_t number, int result)
{
	if (result == EOWNERDEAD)
		pthread_mutex_consistent(&claims->of[number].mutex);
	else if (result != 0)
		return 0;
	if (!claims->of[number].retired)
		return 1;
	pthread_mutex_unlock(&claims->of[number].mutex);
	return 0;
}

uint32_t claim(struct claims *claims)
{
	static __thread uint32_t last;

	for (;;) {
		/* The one of the last time first: its pages are in this processor's cache. */
		for (uint32_t i = 0; i < claims->count; i++) {
			uint32_t number = (last + i) % claims->count;

			if (got(claims, number, pthread_mutex_trylock(&claims->of[number].mutex)))
				return last = number;
		}
		/* Sleep on one of them, but not for long: another one may be free earlier. */
		struct timespec until;
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += PATIENCE_NS;
		if (until.tv_nsec >= 1000 * 1000 * 1000)
			until.tv_sec++, until.tv_nsec -= 1000 * 1000 * 1000;
		last = (last + 1) % claims->count;
		if (got(claims, last, pthread_mutex_clocklock(&claims->of[last].mutex, CLOCK_MONOTONIC, &until)))
			return last;
	}
}

void claim_end(struct claims *claims, uint32_t number)
{
	pthread_mutex_unlock(&claims->of[number].mutex);
}

void claim_retire(struct claims *claims, uint32_t number)
{
	claims->of[number].retired = 1;
	uint32_t left = __atomic_sub_fetch(&claims->left, 1, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&claims->of[number].mutex);
	if (left == 0)
		errx(1, "no thread of the enclave is left: processes that died inside took them all along");
}
