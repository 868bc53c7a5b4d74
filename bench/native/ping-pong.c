// Yardstick: a request and its answer between two C processes over a Unix socket pair, 64 bytes each way.
#include "batch.h"

#include <sys/socket.h>
#include <unistd.h>

enum { MESSAGE_BYTES = 64 };

static int fd;

static double batch(long operations)
{
	char message[MESSAGE_BYTES] = { 0 };
	double start = now_ns();

	for (long i = 0; i < operations; i++)
		if (write(fd, message, sizeof message) != sizeof message || read(fd, message, sizeof message) != sizeof message)
			die("ping");
	return now_ns() - start;
}

int main(void)
{
	char message[MESSAGE_BYTES];
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair))
		die("socketpair");
	pid_t child = fork();

	if (child < 0)
		die("fork");
	if (child == 0) {
		close(pair[0]);
		while (read(pair[1], message, sizeof message) == sizeof message)
			if (write(pair[1], message, sizeof message) != sizeof message)
				die("pong");
		return 0;
	}
	close(pair[1]);
	fd = pair[0];
	return serve_batches(batch, 3000);
}
