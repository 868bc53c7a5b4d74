#include "pool.h"
#include "layout.h"

#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t for_anyone = PTHREAD_COND_INITIALIZER, for_owner = PTHREAD_COND_INITIALIZER;
/* A ring of free slots. */
static int ring[MAX_THREADS], first, count;
/* How many want a slot that others would take away before them. */
static int owners;

void pool_put(int slot)
{
	pthread_mutex_lock(&lock);
	ring[(first + count++) % MAX_THREADS] = slot;
	if (owners > 0)
		pthread_cond_broadcast(&for_owner);
	else
		pthread_cond_signal(&for_anyone);
	pthread_mutex_unlock(&lock);
}

/* Where in the ring the slot is, or any if `slot` < 0; -1 if it is not there. */
static int find(int slot)
{
	for (int at = 0; at < count; at++)
		if (slot < 0 || ring[(first + at) % MAX_THREADS] == slot)
			return at;
	return -1;
}

static int remove_at(int at)
{
	int slot = ring[(first + at) % MAX_THREADS];

	for (; at > 0; at--)
		ring[(first + at) % MAX_THREADS] = ring[(first + at - 1) % MAX_THREADS];
	first = (first + 1) % MAX_THREADS;
	count--;
	return slot;
}

int pool_take(void)
{
	pthread_mutex_lock(&lock);
	while (count == 0 || owners > 0)
		pthread_cond_wait(&for_anyone, &lock);
	int slot = remove_at(0);
	pthread_mutex_unlock(&lock);
	return slot;
}

int pool_take_first(int slot)
{
	int at;

	pthread_mutex_lock(&lock);
	owners++;
	while ((at = find(slot)) < 0)
		pthread_cond_wait(&for_owner, &lock);
	slot = remove_at(at);
	if (--owners == 0 && count > 0)
		pthread_cond_broadcast(&for_anyone);
	pthread_mutex_unlock(&lock);
	return slot;
}
