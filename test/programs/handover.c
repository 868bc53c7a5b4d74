/*
 * An enclave that one process begins and another finishes, which has never opened the device.
 *
 * Usage: handover begin SOCKET     creates it and hands it over; calls it when the other says that it is finished
 *        handover finish SOCKET    adds the pages, initialises, maps and calls it
 */
#define _GNU_SOURCE
#include "loader.h"
#include "passing.h"
#include "worker.h"

#include <err.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BASE ((char *)0x100000000000)

static void call(int device, const struct enclave_image *image, const char *who)
{
	struct enclave enclave = enclave_map(device, image, BASE);

	for (uint64_t i = 0; i < 1000; i++) {
		struct work work = { .function = WORK_COMPUTE, .number = i };
		struct sgx_enclave_run run = { .tcs = enclave.tcs };

		if (enter_worker(find_enter_enclave(), &work, &run, 2) || run.function != 4 || work.answer != compute(i))
			errx(1, "%s: call %lu went wrong", who, (unsigned long)i);
	}
	printf("%s has called it 1000 times\n", who);
}

int main(int argc, char **argv)
{
	struct enclave_image image = enclave_read("build/small.elf", "build/small.sigstruct");
	int device, socket;
	char byte = 0;

	if (argc != 3)
		errx(1, "usage: handover begin|finish SOCKET");
	enclave_reserve_at(&image, BASE);
	if (!strcmp(argv[1], "begin")) {
		device = enclave_open_device();
		enclave_create(device, &image, BASE);
		socket = accept(listen_at(argv[2]), NULL, NULL);
		send_descriptors(socket, &byte, 1, &device, 1);
		if (read(socket, &byte, 1) != 1)
			errx(1, "the other process did not finish it");
		call(device, &image, "who began it");
	} else {
		socket = connect_to(argv[2]);
		receive_descriptors(socket, &byte, 1, &device, 1);
		enclave_add_pages(device, &image, 0);
		enclave_init(device, &image);
		call(device, &image, "who finished it");
		if (write(socket, &byte, 1) != 1)
			err(1, "telling the other process");
	}
	return 0;
}
