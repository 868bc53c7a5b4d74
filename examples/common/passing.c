#include "passing.h"

#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { MAX_DESCRIPTORS = 4 };

static struct sockaddr_un address_of(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(address.sun_path))
		errx(1, "%s: too long for the address of a socket", path);
	strcpy(address.sun_path, path);
	return address;
}

static int new_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		err(1, "socket");
	return fd;
}

int listen_at(const char *path)
{
	struct sockaddr_un address = address_of(path);
	int fd = new_socket();

	unlink(path);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 16) < 0)
		err(1, "%s", path);
	return fd;
}

int connect_to(const char *path)
{
	struct sockaddr_un address = address_of(path);
	int fd = new_socket();

	for (int tries = 0; connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0; tries++) {
		if ((errno != ENOENT && errno != ECONNREFUSED) || tries == 1000)
			err(1, "%s", path);
		usleep(10000);
	}
	return fd;
}

/* Room for the descriptors, aligned as the kernel wants it. */
union control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(MAX_DESCRIPTORS * sizeof(int))];
};

void send_descriptors(int socket, const void *message, size_t length, const int *descriptors, int count)
{
	union control control = { 0 };
	struct iovec data = { (void *)message, length };
	struct msghdr header = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control,
				 .msg_controllen = CMSG_SPACE(count * sizeof(int)) };

	control.header = (struct cmsghdr){ CMSG_LEN(count * sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
	memcpy(CMSG_DATA(&control.header), descriptors, count * sizeof(int));
	if (sendmsg(socket, &header, MSG_NOSIGNAL) != (ssize_t)length)
		err(1, "sending descriptors");
}

void receive_descriptors(int socket, void *message, size_t length, int *descriptors, int count)
{
	union control control = { 0 };
	struct iovec data = { message, length };
	struct msghdr header = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control,
				 .msg_controllen = sizeof(control) };
	ssize_t got = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);

	if (got < 0)
		err(1, "receiving descriptors");
	if (got != (ssize_t)length || control.header.cmsg_type != SCM_RIGHTS ||
	    control.header.cmsg_len != CMSG_LEN(count * sizeof(int)))
		errx(1, "the other process sent something else than %d descriptors", count);
	memcpy(descriptors, CMSG_DATA(&control.header), count * sizeof(int));
}
