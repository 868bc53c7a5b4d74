/*
 * The processes of a case. All know all lines and take turns: who has the turn runs the line, and the outcomes come in
 * the order of the lines.
 */
#define _GNU_SOURCE
#include "cases.h"
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_SECONDS = 30, NOBODY = MAX_PROCESSES };

int self;
/* A datagram is a descriptor; everybody holds all ends. */
static int mailboxes[MAX_PROCESSES][2];

const char *pass_descriptor(int fd, int process)
{
	union { char bytes[CMSG_SPACE(sizeof(int))]; struct cmsghdr header; } control = { 0 };
	struct iovec data = { "", 1 };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };

	control.header = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd) };
	memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
	return errno_text(sendmsg(mailboxes[process][0], &message, MSG_DONTWAIT) < 0 ? -errno : 0);
}

const char *take_descriptor(int fd)
{
	union { char bytes[CMSG_SPACE(sizeof(int))]; struct cmsghdr header; } control = { 0 };
	char byte;
	struct iovec data = { &byte, 1 };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
	int taken;

	if (recvmsg(mailboxes[self][1], &message, MSG_DONTWAIT) < 0)
		return errno_text(-errno);
	memcpy(&taken, CMSG_DATA(&control.header), sizeof taken);
	int moved = dup2(taken, fd);
	close(taken);
	return errno_text(moved < 0 ? -errno : 0);
}

static void say(int line, const char *outcome)
{
	char text[600];
	int length = snprintf(text, sizeof text, "%d %s\n", line, outcome);

	if (write(1, text, (size_t)length) != length)
		_exit(2);
}

static int split(char *line, char **words)
{
	int count = 0;

	for (char *word = strtok(line, " "); word && count < MAX_WORDS; word = strtok(NULL, " "))
		words[count++] = word;
	return count;
}

/* Waits at most so long for the end of a process, zombies included. */
static bool has_ended(pid_t pid, int milliseconds)
{
	struct pollfd wanted = { .fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN };

	if (wanted.fd < 0)
		return errno == ESRCH;
	bool ended = poll(&wanted, 1, milliseconds) == 1;
	close(wanted.fd);
	return ended;
}

static void give_turn(int process)
{
	SHARED->turn = (uint32_t)process;
	syscall(SYS_futex, &SHARED->turn, FUTEX_WAKE, MAX_PROCESSES, NULL, NULL, 0);
}

/* False when the case is over. Ends the process when the one that has the turn died at work. */
static bool await_turn(void)
{
	struct timespec patience = { 0, 200000000 };

	for (uint32_t turn; (turn = SHARED->turn) != (uint32_t)self;) {
		if (turn == NOBODY)
			return false;
		long result = syscall(SYS_futex, &SHARED->turn, FUTEX_WAIT, turn, &patience, NULL, 0);
		if (result && errno == ETIMEDOUT && SHARED->turn == turn && SHARED->leaving < 0 &&
		    has_ended(SHARED->pids[turn], 0))
			_exit(3);
	}
	return true;
}

static const char *fork_process(void)
{
	int number = SHARED->processes;

	if (number == MAX_PROCESSES)
		return "EAGAIN";
	SHARED->parents[number] = self;
	pid_t pid = fork();
	if (pid < 0)
		return errno_text(-errno);
	if (pid == 0) {
		self = number;
		return NULL;
	}
	SHARED->pids[number] = pid;
	SHARED->processes++;
	return "0";
}

/* The line is `exit`, of another process. */
static const char *await_exit(void)
{
	static char text[32];
	int who = SHARED->leaving, status = 0;

	SHARED->leaving = -1;
	if (!has_ended(SHARED->pids[who], PATIENCE_SECONDS * 1000))
		return "does not end";
	SHARED->spinners[who].runs = false;
	if (waitpid(SHARED->pids[who], &status, 0) > 0 && status != 0) {
		snprintf(text, sizeof text, "ended with 0x%x", status);
		return text;
	}
	return "0";
}

static const char *kill_process(int who)
{
	if (kill(SHARED->pids[who], SIGKILL))
		return errno_text(-errno);
	if (!has_ended(SHARED->pids[who], PATIENCE_SECONDS * 1000))
		return "does not end";
	SHARED->spinners[who].runs = false;
	waitpid(SHARED->pids[who], NULL, WNOHANG);
	return "0";
}

/* `exit` gives the turn to the parent, or to the first process when that is gone. */
static void leave(void)
{
	int parent = SHARED->parents[self];

	SHARED->leaving = self;
	give_turn(has_ended(SHARED->pids[parent], 0) ? 0 : parent);
	_exit(0);
}

/* One line; the turn may be another's afterwards. */
static void run_line(char *line, int at)
{
	char *words[MAX_WORDS];
	int count = split(line, words);
	const char *outcome;
	int next = self;

	if (count == 0)
		return;
	if (!strcmp(words[0], "fork")) {
		next = SHARED->processes;
		outcome = fork_process();
		if (!outcome)
			return; /* the child, and the parent has said so */
		if (strcmp(outcome, "0"))
			next = self;
	} else if (!strcmp(words[0], "exit")) {
		if (SHARED->leaving < 0)
			leave();
		outcome = await_exit();
	} else if (!strcmp(words[0], "turn")) {
		next = atoi(words[1]);
		outcome = "0";
	} else if (!strcmp(words[0], "kill")) {
		outcome = kill_process(atoi(words[1]));
	} else {
		outcome = run_step(words, count);
	}
	settle_spinners();
	say(at, outcome);
	SHARED->at = at + 1;
	if (next != self)
		give_turn(next);
}

static void run_process(char **lines, int end)
{
	while (await_turn()) {
		int at = SHARED->at;
		if (at < end)
			run_line(lines[at], at);
		else
			give_turn(NOBODY);
	}
	_exit(0);
}

static pid_t running;

static void give_up(int signal)
{
	(void)signal;
	kill(-running, SIGKILL);
}

void run_case(char **lines, int at, int end)
{
	int status;

	memset(SHARED, 0, sizeof *SHARED);
	SHARED->at = at;
	SHARED->leaving = -1;
	SHARED->processes = 1;
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	signal(SIGALRM, give_up);
	running = fork();
	if (running == 0) {
		setpgid(0, 0);
		SHARED->pids[0] = getpid();
		for (int i = 0; i < MAX_PROCESSES; i++)
			if (socketpair(AF_UNIX, SOCK_DGRAM, 0, mailboxes[i]))
				_exit(4);
		signal(SIGALRM, SIG_DFL);
		run_process(lines, end);
	}
	setpgid(running, running);
	alarm(PATIENCE_SECONDS);
	while (waitpid(running, &status, 0) < 0 && errno == EINTR)
		;
	alarm(0);
	if (status != 0)
		fprintf(stderr, "driver-cases: line %d: the case ended with 0x%x\n", SHARED->at, status);
	kill(-running, SIGKILL);
	while (waitpid(-1, &status, 0) > 0)
		;
}
