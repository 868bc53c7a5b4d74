/* What the files of driver-cases share. */
#ifndef CASES_H
#define CASES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define MAX_PROCESSES 8
#define MAX_WORDS 64

/* How a thread goes in: RAX, RBX and what the enclave gets. case-ways.S knows the order. */
struct entry { unsigned long leaf, tcs, rdi, rsi, rdx, r9; };

/* Shared by all processes of a case, at one address, where enclave code sees it, too. */
struct shared {
	volatile uint32_t turn; /* which process is at work */
	volatile int at;        /* the line that it runs */
	volatile int leaving;   /* the process whose `exit` that line is, or -1 */
	int processes;
	pid_t pids[MAX_PROCESSES];
	int parents[MAX_PROCESSES];
	/* A second thread of each process that spins in an enclave. */
	struct { volatile uint64_t counter, stop; volatile bool runs; } spinners[MAX_PROCESSES];
};
#define SHARED ((struct shared *)0x21000000UL)

/* case-processes.c: runs lines [at, end) as a case, in processes of its own. */
void run_case(char **lines, int at, int end);
/* Which process this is. */
extern int self;

/* driver-cases.c: what the step gives. */
const char *run_step(char **words, int count);
const char *errno_text(long result);

/* Passing descriptors on: what `pass` and `take` give. */
const char *pass_descriptor(int fd, int process);
const char *take_descriptor(int fd);

/* case-enter.c: entries. */
void catch_faults(void);
const char *touch(unsigned long address, char how);
const char *enter(struct entry entry);
const char *enter_through_vdso(struct entry entry);
const char *last_fault(void);
const char *start_spinner(unsigned long tcs);
const char *stop_spinner(void);
/* Waits until each spinner has been through what a step did to it. */
void settle_spinners(void);

#endif
