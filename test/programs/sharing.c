/*
 * Processes that share an enclave and know each other by a socket only: one builds it, the other, which was started by
 * exec, gets the descriptor, maps the enclave at its base and enters it.
 */
#define _GNU_SOURCE
#include "odd.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096UL
#define PEER_SOCKET 80
#define MAX_MAPPINGS 64

/* What a peer is told: what is mapped where, and the words that both look at. */
struct board { volatile uint64_t stop, ready, count; };
struct invitation {
	struct enclave enclave;
	uint64_t heap;
	int mappings;
	struct { uint64_t at, size; int prot; } mapping[MAX_MAPPINGS];
};
static struct board *board;
static int board_file;

/* ---- passing descriptors ---- */

static void pass(int socket, const int *fds, const struct invitation *invitation)
{
	char control[CMSG_SPACE(2 * sizeof *fds)] = { 0 };
	struct iovec data = { (void *)invitation, sizeof *invitation };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
	struct cmsghdr *rights = CMSG_FIRSTHDR(&message);

	*rights = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(2 * sizeof *fds) };
	memcpy(CMSG_DATA(rights), fds, 2 * sizeof *fds);
	check(sendmsg(socket, &message, 0) == sizeof *invitation);
}

static void accept_invitation(int socket, int *fds, struct invitation *invitation)
{
	char control[CMSG_SPACE(2 * sizeof *fds)];
	struct iovec data = { invitation, sizeof *invitation };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };

	if (recvmsg(socket, &message, MSG_WAITALL) != sizeof *invitation)
		err(1, "no invitation");
	memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&message)), 2 * sizeof *fds);
}

/* The enclave mappings of this process, as it asked for them, from its own list of mappings. */
static struct invitation invite(void)
{
	struct invitation invitation = { .enclave = enclave, .heap = heap };
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned long at, end;
	char line[512], rights[5];

	while (maps && fgets(line, sizeof line, maps)) {
		if (sscanf(line, "%lx-%lx %4s", &at, &end, rights) != 3 || at - (unsigned long)enclave.base >= enclave.size_bytes ||
		    !strstr(line, "sgx_enclave"))
			continue;
		int prot = (rights[0] == 'r') | (rights[1] == 'w') << 1 | (rights[2] == 'x') << 2;
		/* A TCS is mapped for reading and writing, though nothing of it can be read. */
		if (invitation.mappings == MAX_MAPPINGS)
			errx(1, "more mappings than an invitation has room for");
		invitation.mapping[invitation.mappings].at = at;
		invitation.mapping[invitation.mappings].size = end - at;
		invitation.mapping[invitation.mappings++].prot = prot ? prot : PROT_READ | PROT_WRITE;
	}
	if (maps)
		fclose(maps);
	check(invitation.mappings > 0);
	return invitation;
}

/* ---- what a peer does; its process is `sharing peer ROLE` ---- */

static void map_invited(const struct invitation *invitation)
{
	for (int i = 0; i < invitation->mappings; i++) {
		void *at = (void *)invitation->mapping[i].at;
		void *got = mmap(at, invitation->mapping[i].size, invitation->mapping[i].prot, MAP_SHARED | MAP_FIXED_NOREPLACE,
				 device, 0);
		if (got != at)
			err(1, "cannot map what I was invited to at %p", at);
	}
}

static int peer_computes(void)
{
	for (uint64_t i = 0; i < 2000 && !board->stop; i++)
		check(compute_once(i, 1));
	return failures != 0;
}

static struct sgx_enclave_run spin_on(int thread)
{
	struct work work = { .function = WORK_SPIN, .number = (uint64_t)&board->stop };

	return run_work(&work, thread);
}

static int peer_spins(void)
{
	board->ready = 1;
	struct sgx_enclave_run run = spin_on(1);
	return run.function != 4;
}

/* Writes from inside until the right is gone: 0 when that is what it sees. */
static int peer_counts(void)
{
	struct work work = { .function = WORK_COUNT, .number = heap, .other = (uint64_t)&board->stop };

	board->ready = 1;
	struct sgx_enclave_run run = run_work(&work, 1);
	return !(run.function == 3 && run.exception_vector == 14 && run.exception_addr == heap);
}

static int peer_counts_deaf(void)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	return peer_counts();
}

static int peer_tries(void)
{
	board->ready = 1;
	while (!board->stop) {
		struct work work = { .function = WORK_COMPUTE, .number = 1 };
		struct sgx_enclave_run run = run_work(&work, 0);
		if (run.function != 2 || run.exception_vector != 13)
			return 1;
		board->count++;
	}
	return 0;
}

static int peer_restricts(void)
{
	struct sgx_enclave_restrict_permissions request = { .offset = heap - (uint64_t)enclave.base, .length = PAGE,
		.permissions = 1 };

	return ioctl(device, SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS, &request) != 0 || request.count != PAGE;
}

static int peer_trims(void)
{
	struct sgx_enclave_modify_types request = { .offset = heap - (uint64_t)enclave.base, .length = PAGE, .page_type = 4 };

	return ioctl(device, SGX_IOC_ENCLAVE_MODIFY_TYPES, &request) != 0 || request.count != PAGE;
}

static const struct role { const char *name; int (*play)(void); int maps; } roles[] = {
	{ "computes", peer_computes, 1 }, { "spins", peer_spins, 1 },       { "counts", peer_counts, 1 },
	{ "counts-deaf", peer_counts_deaf, 1 }, { "tries", peer_tries, 1 }, { "restricts", peer_restricts, 0 },
	{ "trims", peer_trims, 0 },
};

static int be_peer(const char *name)
{
	struct invitation invitation;
	int fds[2];

	accept_invitation(PEER_SOCKET, fds, &invitation);
	device = fds[0];
	board = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fds[1], 0);
	use_enclave(invitation.enclave, invitation.heap);
	for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
		if (!strcmp(roles[i].name, name)) {
			if (roles[i].maps)
				map_invited(&invitation);
			return roles[i].play();
		}
	return 3;
}

/* ---- the scenarios ---- */

static int wait_for(pid_t pid)
{
	int status = -1;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

static pid_t start_peer(const char *role)
{
	struct invitation invitation = invite();
	int sockets[2], fds[2] = { device, board_file };

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets))
		err(1, "socketpair");
	pid_t pid = fork();
	if (pid == 0) {
		dup2(sockets[1], PEER_SOCKET);
		execl("/proc/self/exe", "sharing", "peer", role, NULL);
		_exit(127);
	}
	pass(sockets[0], fds, &invitation);
	close(sockets[0]);
	close(sockets[1]);
	return pid;
}

static void fresh(void)
{
	load_worker("small");
	memset(board, 0, sizeof *board);
}

static void until_ready(void)
{
	while (!board->ready)
		usleep(500);
}

static uint64_t counter(void)
{
	struct work work = { .function = WORK_READ, .number = heap };

	check(run_work(&work, 0).function == 4);
	return work.answer;
}

static void at_the_same_time(void)
{
	fresh();
	pid_t first = start_peer("computes");
	for (uint64_t i = 0; i < 2000; i++)
		check(compute_once(i, 0));
	check(wait_for(first) == 0);
}

/* Both compute on one TCS, which is busy now and then. */
static void many_peers(void)
{
	pid_t peers[4];

	fresh();
	for (int i = 0; i < 4; i++)
		peers[i] = start_peer("computes");
	for (int i = 0; i < 4; i++)
		check(wait_for(peers[i]) == 0);
	check(compute_once(1, 0) && compute_once(2, 1));
}

static void busy_elsewhere(void)
{
	struct work work = { .function = WORK_COMPUTE, .number = 1 };

	fresh();
	pid_t peer = start_peer("spins");
	until_ready();
	usleep(10000);
	for (int i = 0; i < 100; i++) {
		struct sgx_enclave_run run = run_work(&work, 1);
		check(run.function == 2 && run.exception_vector == 13);
		check(compute_once(5, 0));
	}
	board->stop = 1;
	check(wait_for(peer) == 0);
	check(compute_once(1, 1));
}

static int counts_still(void)
{
	uint64_t count = counter();

	usleep(20000);
	return counter() != count;
}

/* One process cuts, another one is inside and uses the right, this one looks on: nothing lands after the ioctl. */
static void cut(const char *how, const char *who, int stopped)
{
	fresh();
	pid_t counts = start_peer(who);
	until_ready();
	while (counter() == 0)
		usleep(500);
	if (stopped)
		kill(counts, SIGSTOP), usleep(10000);
	check(stopped || counts_still());
	check(wait_for(start_peer(how)) == 0);
	if (!strcmp(how, "restricts")) {
		uint64_t count = counter();
		check(!counts_still());
		if (stopped) {
			kill(counts, SIGCONT);
			usleep(20000);
			check(counter() == count);
		}
	} else {
		struct work work = { .function = WORK_READ, .number = heap };
		struct sgx_enclave_run run = run_work(&work, 0);
		check(run.function == 3 && run.exception_vector == 14 && run.exception_error_code == 0x8005);
		kill(counts, SIGCONT);
	}
	check(wait_for(counts) == 0);
}

static void cut_running(void) { cut("restricts", "counts", 0); }
static void cut_deaf(void) { cut("restricts", "counts-deaf", 0); }
static void cut_stopped(void) { cut("restricts", "counts", 1); }
static void cut_stopped_deaf(void) { cut("restricts", "counts-deaf", 1); }
static void trim_running(void) { cut("trims", "counts", 0); }
static void trim_stopped(void) { cut("trims", "counts-deaf", 1); }

/* As after an AEX: the TCS is free, its next frame in use. There are two, so that the third entry has none. */
static void dies_inside(void)
{
	struct work work = { .function = WORK_COMPUTE, .number = 1 };

	fresh();
	for (int i = 0; i < WORKER_NSSA; i++) {
		board->ready = 0;
		pid_t peer = start_peer("spins");
		until_ready();
		usleep(10000);
		kill(peer, SIGKILL);
		check(wait_for(peer) == SIGKILL);
		check(compute_once(2, 0));
	}
	usleep(50000);
	struct sgx_enclave_run run = run_work(&work, 1);
	check(run.function == 2 && run.exception_vector == 13);
	check(compute_once(3, 0));
}

/* The only process that has it mapped dies inside; who has the descriptor maps it then, and its TCS is free. */
static void dies_inside_alone(void)
{
	fresh();
	struct invitation mine = invite();
	pid_t peer = start_peer("spins");
	munmap(enclave.base, enclave.size_bytes);
	until_ready();
	usleep(10000);
	kill(peer, SIGKILL);
	check(wait_for(peer) == SIGKILL);
	usleep(50000);
	map_invited(&mine);
	struct work work = { .function = WORK_COMPUTE, .number = 7 };
	struct sgx_enclave_run run = run_work(&work, 1);
	check(run.function == 4 && work.answer == compute(7));
}

static void *spin_here(void *unused)
{
	check(spin_on(0).function == 4);
	return unused;
}

/* Peers that try a busy TCS for ever are killed at any moment: it stays with who is in it. */
static void killed_trying(void)
{
	struct work work = { .function = WORK_COMPUTE, .number = 1 };
	pthread_t thread;

	fresh();
	pthread_create(&thread, NULL, spin_here, NULL);
	usleep(20000);
	for (int i = 0; i < 20; i++) {
		board->ready = 0;
		pid_t peer = start_peer("tries");
		until_ready();
		usleep((useconds_t)(rand() % 3000));
		kill(peer, SIGKILL);
		check(wait_for(peer) == SIGKILL);
		struct sgx_enclave_run run = run_work(&work, 0);
		check(run.function == 2 && run.exception_vector == 13);
	}
	check(board->count > 0);
	board->stop = 1;
	pthread_join(thread, NULL);
	check(compute_once(1, 0));
}

/* A descriptor that another process takes from us, asking nobody: pidfd_getfd. */
static void taken(void)
{
	fresh();
	int pipe_[2];
	check(pipe(pipe_) == 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct enclave own;
		load_enclave("small");
		own = enclave;
		check(compute_once(1, 0));
		check(write(pipe_[1], &device, sizeof device) == sizeof device && write(pipe_[1], &own, sizeof own) == sizeof own);
		pause();
	}
	int theirs, pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct enclave own;
	check(read(pipe_[0], &theirs, sizeof theirs) == sizeof theirs && read(pipe_[0], &own, sizeof own) == sizeof own);
	int taken = (int)syscall(SYS_pidfd_getfd, pidfd, theirs, 0);
	check(taken >= 0);
	kill(pid, SIGKILL);
	check(wait_for(pid) == SIGKILL);
	struct sgx_enclave_restrict_permissions request = { .offset = (uint64_t)(own.tcs - (uint64_t)own.base) + PAGE,
		.length = PAGE, .permissions = 1 };
	check(ioctl(taken, SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS, &request) == 0 && request.count == PAGE);
	close(taken);
	close(pidfd);
}

int main(int count, char **names)
{
	static const struct scenario scenarios[] = {
		{ "at-the-same-time", at_the_same_time },
		{ "many-peers", many_peers },
		{ "busy-elsewhere", busy_elsewhere },
		{ "cut-running", cut_running },
		{ "cut-deaf", cut_deaf },
		{ "cut-stopped", cut_stopped },
		{ "cut-stopped-deaf", cut_stopped_deaf },
		{ "trim-running", trim_running },
		{ "trim-stopped", trim_stopped },
		{ "dies-inside", dies_inside },
		{ "dies-inside-alone", dies_inside_alone },
		{ "killed-trying", killed_trying },
		{ "taken", taken },
	};

	if (count == 3 && !strcmp(names[1], "peer"))
		return be_peer(names[2]);
	board_file = memfd_create("board", MFD_CLOEXEC);
	if (board_file < 0 || ftruncate(board_file, PAGE))
		err(1, "memfd_create");
	board = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, board_file, 0);
	return run_scenarios(scenarios, sizeof scenarios / sizeof *scenarios, names);
}
