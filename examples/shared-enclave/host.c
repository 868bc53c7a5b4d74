/*
 * Several programs, one enclave. One builds it and offers it on a socket; the others, started separately, get its
 * descriptor there, map it and enter it with all their threads.
 *
 * Usage: host offer SOCKET GUESTS         builds, offers, and counts when all guests have gone
 *        host use SOCKET THREADS CALLS    a guest: CALLS calls on each of THREADS threads (0: without end)
 */
#define _GNU_SOURCE
#include "calls.h"
#include "claims.h"
#include "loader.h"
#include "passing.h"

#include <err.h>
#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define EENTER 2
#define EEXIT 4
#define GENERAL_PROTECTION 13
/* The enclave is at the same addresses in every process: where nothing else is put, above heaps and below libraries. */
#define BASE ((char *)0x100000000000)
#define PROGRESS_CALLS 1000

static vdso_sgx_enter_enclave_t enter_enclave;
static struct enclave enclave;
static struct claims *claims;

static struct enclave_image read_image(const char *program)
{
	char elf[PATH_MAX], sigstruct[PATH_MAX], *own_path = strdup(program);
	const char *folder = dirname(own_path);

	snprintf(elf, sizeof(elf), "%s/enclave.elf", folder);
	snprintf(sigstruct, sizeof(sigstruct), "%s/enclave.sigstruct", folder);
	struct enclave_image image = enclave_read(elf, strdup(sigstruct));
	free(own_path);
	return image;
}

/*
 * One call: claim a TCS, enter, let it go. EENTER refuses (#GP) a TCS whose save-area frames are used up: every process
 * that was killed inside has left one behind. Then it is another TCS's turn.
 */
static uint64_t call_enclave(uint64_t function, uint64_t number)
{
	struct call call = { .function = function, .number = number };

	for (;;) {
		uint32_t thread = claim(claims);
		struct sgx_enclave_run run = { .tcs = enclave.tcs + thread * enclave.tcs_stride_bytes };

		if (enter_enclave((unsigned long)&call, 0, 0, EENTER, 0, 0, &run) != 0)
			errx(1, "__vdso_sgx_enter_enclave refused its arguments");
		if (run.function == EEXIT) {
			claim_end(claims, thread);
			return call.answer;
		}
		if (run.function != EENTER || run.exception_vector != GENERAL_PROTECTION)
			errx(1, "the enclave raised exception %u, error code 0x%x, at 0x%llx", run.exception_vector,
			     run.exception_error_code, run.exception_addr);
		fprintf(stderr, "thread %u of the enclave has no frame left and is retired\n", thread);
		claim_retire(claims, thread);
	}
}

static void map(int fd, const struct enclave_image *image)
{
	enclave = enclave_map(fd, image, BASE);
	enter_enclave = find_enter_enclave();
	if (enter_enclave == NULL)
		errx(1, "this kernel's vDSO has no __vdso_sgx_enter_enclave");
}

static int offer(const struct enclave_image *image, const char *path, int guests)
{
	int fd = enclave_open_device(), board, *sockets = calloc((size_t)guests, sizeof(int));
	char byte;

	enclave_reserve_at(image, BASE);
	enclave_create(fd, image, BASE);
	enclave_add_pages(fd, image, 0);
	enclave_init(fd, image);
	map(fd, image);
	claims = claims_make(enclave.thread_count, &board);

	int listener = listen_at(path);
	printf("offering %u threads of it on %s\n", enclave.thread_count, path);
	for (int i = 0; i < guests; i++) {
		sockets[i] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (sockets[i] < 0)
			err(1, "accept");
		send_descriptors(sockets[i], "x", 1, (int[]){ fd, board }, 2);
	}
	/* The guests' mappings keep it alive from here on. */
	close(fd);
	unlink(path);
	for (int i = 0; i < guests; i++)
		while (read(sockets[i], &byte, 1) > 0)
			;
	printf("the enclave has counted %lu calls\n", (unsigned long)call_enclave(CALL_COUNT, 0));
	free(sockets);
	return 0;
}

static uint64_t calls_each;

static void *make_calls(void *seed)
{
	uint64_t number = (uint64_t)seed << 32;

	for (uint64_t i = 0; i < calls_each || calls_each == 0; i++, number++) {
		if (call_enclave(CALL_MIX, number) != mix(number))
			errx(1, "a wrong answer for %lu", (unsigned long)number);
		if (calls_each == 0 && i % PROGRESS_CALLS == 0)
			printf("%lu calls\n", (unsigned long)i);
	}
	return NULL;
}

static int use(const struct enclave_image *image, const char *path, int threads)
{
	int fds[2], server = connect_to(path);
	pthread_t *all = calloc((size_t)threads, sizeof(*all));
	char byte;

	receive_descriptors(server, &byte, 1, fds, 2);
	enclave_reserve_at(image, BASE);
	map(fds[0], image);
	claims = claims_open(fds[1]);
	close(fds[0]);
	for (int i = 0; i < threads; i++)
		if (pthread_create(&all[i], NULL, make_calls, (void *)(((uint64_t)getpid() << 8) + (uint64_t)i)) != 0)
			errx(1, "cannot start a thread");
	for (int i = 0; i < threads; i++)
		pthread_join(all[i], NULL);
	printf("%lu calls on %d threads, all answers right\n", (unsigned long)calls_each * (unsigned long)threads, threads);
	free(all);
	return 0;
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 4 && !strcmp(argv[1], "offer")) {
		struct enclave_image image = read_image(argv[0]);
		return offer(&image, argv[2], atoi(argv[3]));
	}
	if (argc == 5 && !strcmp(argv[1], "use")) {
		struct enclave_image image = read_image(argv[0]);
		calls_each = strtoul(argv[4], NULL, 10);
		return use(&image, argv[2], atoi(argv[3]));
	}
	errx(1, "usage: host offer SOCKET GUESTS, or host use SOCKET THREADS CALLS");
}
