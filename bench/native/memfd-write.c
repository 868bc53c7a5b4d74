// Yardstick: 1 GiB written into a memfd, twice; the second time counts, when the memory is there already.
#define _GNU_SOURCE
#include "batch.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE_BYTES = 4096, CHUNK_BYTES = 16 << 20, CHUNKS = 64 };

static double write_all(int fd, const char *source)
{
	double start = now_ns();

	for (int chunk = 0; chunk < CHUNKS; chunk++)
		if (pwrite(fd, source, CHUNK_BYTES, (off_t)chunk * CHUNK_BYTES) != CHUNK_BYTES)
			die("pwrite");
	return now_ns() - start;
}

static double batch(long pages)
{
	static char source[CHUNK_BYTES];
	int fd = memfd_create("yardstick", 0);

	(void)pages;
	if (fd < 0)
		die("memfd_create");
	memset(source, 0x5a, sizeof source);
	write_all(fd, source);
	double second = write_all(fd, source);
	close(fd);
	return second;
}

int main(void)
{
	return serve_batches(batch, (long)CHUNKS * CHUNK_BYTES / PAGE_BYTES);
}
