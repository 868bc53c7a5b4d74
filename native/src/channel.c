/*
 * The way to the host: a mailbox per thread in shared memory; the socket rings when the host sleeps, carries
 * descriptors, and tells by its end that one side is gone.
 *
 * A request: fill the record, state = REQUEST, set its bit in `pending` and in `summary`, and if the host sleeps send
 * four bytes. The answer: state = DONE; a thread that waits in the kernel says so in `waiting` first.
 *
 * A process image connects by the gate, a socket that all inherit: it makes a pair of sockets and sends one of them.
 * So neither a change of root nor of namespaces stands in the way. When the host ends in good order it leaves a message
 * in the gate, which nobody takes out.
 */
#include "stub.h"
#include <linux/fcntl.h>
#include <linux/futex.h>
#include <linux/mman.h>
#include <linux/poll.h>
#include <linux/prctl.h>
#include <linux/socket.h>
#include <linux/time_types.h>

#define AF_UNIX 1
#define SOCK_SEQPACKET 5
#define SOL_SOCKET 1
#define SCM_RIGHTS 1
#define MSG_PEEK 2
#define MSG_DONTWAIT 0x40
#define MSG_NOSIGNAL 0x4000
#define MSG_CMSG_CLOEXEC 0x40000000
#define MSG_CTRUNC 8
/* 10 to 50 us, by the price of a PAUSE: an answer that comes this fast (EGETKEY: 15 us) saves a sleep and a wake-up. */
#define SPIN_ROUNDS 1000

struct msghdr { void *name; i32 name_length; void *iov; u64 iov_count; void *control; u64 control_length; u32 flags; };
struct iov { void *base; u64 length; };
struct rights { u64 length; i32 level, type; i32 fd; i32 pad; };

static void pause(void) { asm volatile("pause"); }

/* ---- locks: a word holds its owner's thread id, and whether somebody sleeps until it is free ---- */

#define LOCK_WAITED 0x80000000u
#define LOCK_SPINS 100

/* ESRCH also for a zombie, which has no memory any more. Others that share our memory may always be read. */
bool is_gone(u32 tid)
{
	u32 here = 0, copy;
	struct iov to = { &copy, sizeof copy }, from = { &here, sizeof here };

	return sys(__NR_process_vm_readv, tid, &to, 1, &from, 1, 0) == -ESRCH;
}

/* Its owner may be gone: a vfork child runs in our memory, and can be killed at any instruction. */
static bool take(u32 *word, u32 seen, u32 wanted)
{
	return __atomic_compare_exchange_n(word, &seen, wanted, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

u32 lock(u32 *word)
{
	struct __kernel_timespec patience = { 0, 10 * 1000 * 1000 };
	u32 self = (u32)sys(__NR_gettid), seen;

	for (u32 spin = 0; spin < LOCK_SPINS; spin++, pause())
		if (take(word, 0, self))
			return self;
	/* From here on others may sleep beside us, so it is taken as one that is waited for. */
	while (!take(word, 0, self | LOCK_WAITED)) {
		seen = __atomic_load_n(word, __ATOMIC_RELAXED);
		if (!seen || !take(word, seen, seen | LOCK_WAITED))
			continue;
		seen |= LOCK_WAITED;
		if (sys(__NR_futex, word, FUTEX_WAIT_PRIVATE, seen, &patience, 0, 0) == -ETIMEDOUT &&
		    is_gone(seen & ~LOCK_WAITED) && take(word, seen, self | LOCK_WAITED))
			break;
	}
	return self;
}

void unlock(u32 *word)
{
	if (__atomic_exchange_n(word, 0, __ATOMIC_RELEASE) & LOCK_WAITED)
		sys(__NR_futex, word, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0);
}

/* ---- messages ---- */

/* `flags` may say MSG_CMSG_CLOEXEC, and MSG_DONTWAIT. */
static i64 receive(void *data, u64 size, i32 *fd, u32 flags)
{
	struct rights rights = { 0 };
	struct iov iov = { data, size };
	struct msghdr message = { 0, 0, &iov, 1, &rights, sizeof rights, 0 };
	i64 n;

	do
		n = sys(__NR_recvmsg, STUB_FD_CHANNEL, &message, flags);
	while (n == -EINTR);
	*fd = -1;
	if (n >= 0 && message.control_length >= 20 && rights.type == SCM_RIGHTS)
		*fd = rights.fd;
	else if (n >= 0 && (message.flags & MSG_CTRUNC))
		return -EMFILE;
	return n;
}

static i64 send_on(i32 socket, i32 fd)
{
	u32 word = 0;
	struct rights rights = { 20, SOL_SOCKET, SCM_RIGHTS, fd, 0 };
	struct iov iov = { &word, sizeof word };
	struct msghdr message = { 0, 0, &iov, 1, &rights, sizeof rights, 0 };

	return sys(__NR_sendmsg, socket, &message, MSG_NOSIGNAL);
}

i64 send_descriptor(i32 fd) { return send_on(STUB_FD_CHANNEL, fd); }

/* The host's end shows as the kick signal. Off while descriptors are on their way, which would raise it, too. */
static void watch_host(bool on)
{
	sys(__NR_fcntl, STUB_FD_CHANNEL, F_SETFL, on ? O_RDWR | FASYNC : O_RDWR);
}

/* ---- the session ---- */

bool has_gate(void) { return strcmp(launch.gate, "no-host"); }

/* The host is not there. Dies, unless it has gone in good order: then there are no devices any more. */
static void without_host(void)
{
	u32 word;

	if (has_gate() && sys(__NR_recvfrom, STUB_FD_GATE, &word, sizeof word, MSG_PEEK | MSG_DONTWAIT, 0, 0) <= 0)
		die("the host process has gone; this program cannot go on without its enclave devices");
	process->ended = true;
}

/* False: the host is not there. */
static bool connect_to_host(void)
{
	i32 pair[2];

	if (!has_gate() || sys(__NR_socketpair, AF_UNIX, SOCK_SEQPACKET | O_CLOEXEC, 0, pair))
		return false;
	bool sent = !is_error(send_on(STUB_FD_GATE, pair[1]));
	sys(__NR_close, pair[1]);
	if (is_error(keep_descriptor(pair[0], STUB_FD_CHANNEL, O_CLOEXEC)))
		die(NO_DESCRIPTORS);
	return sent;
}

/* The session's memory. The host closes the connection when it has no descriptors to serve it with. */
static i32 receive_session(void)
{
	struct stub_hello hello = { PROTOCOL_MAGIC, PROTOCOL_VERSION, process->pid, process->parent, { 0 } };
	struct pollfd gate = { .fd = STUB_FD_GATE };
	u32 word;
	i32 memory = -1;

	if (connect_to_host() &&
	    sys(__NR_sendto, STUB_FD_CHANNEL, &hello, sizeof hello, MSG_NOSIGNAL, 0, 0) == sizeof hello)
		receive(&word, sizeof word, &memory, MSG_CMSG_CLOEXEC);
	process->refused = memory < 0 && has_gate() && !sys(__NR_poll, &gate, 1, 0);
	if (memory < 0 && !process->refused)
		without_host();
	return memory;
}

static bool open_session(void)
{
	i32 memory = receive_session();

	if (memory < 0)
		return false;
	i64 at = sys(__NR_mmap, STUB_MAP_SESSION, SESSION_SIZE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		     memory, 0);
	sys(__NR_close, memory);
	if (at != STUB_MAP_SESSION || session->magic != PROTOCOL_MAGIC || session->version != PROTOCOL_VERSION)
		die("the host speaks another protocol; are two versions of vitrine mixed?");
	sys(__NR_madvise, STUB_MAP_SESSION, SESSION_SIZE_BYTES, MADV_DONTFORK);
	sys(__NR_prctl, PR_SET_PTRACER, session->host_pid, 0, 0, 0);

	i32 owner[2] = { 1 /* F_OWNER_PID */, (i32)process->pid };
	sys(__NR_fcntl, STUB_FD_CHANNEL, 15 /* F_SETOWN_EX */, owner);
	sys(__NR_fcntl, STUB_FD_CHANNEL, 10 /* F_SETSIG */, KICK_SIGNAL);
	watch_host(true);
	return true;
}

bool session_open(struct slot *slot)
{
	bool fresh = false;

	if (process->connected || process->ended)
		return !process->ended;
	lock(&process->lock);
	if (!process->connected && !process->ended)
		process->connected = fresh = open_session();
	unlock(&process->lock);
	if (fresh && process->parent)
		vmas_introduce(slot);
	return process->connected && !process->ended;
}

/* ---- asking ---- */

bool signal_waits(u64 mask)
{
	u64 pending = 0;

	/* All signals are blocked here, so what is deliverable under the program's mask is still pending. */
	sys(__NR_rt_sigpending, &pending, sizeof pending);
	return pending & ~mask & ~RESERVED_SIGNALS;
}

static bool host_is_gone(void)
{
	struct pollfd channel = { .fd = STUB_FD_CHANNEL };

	/* POLLHUP, POLLERR and POLLNVAL come unasked. */
	return sys(__NR_poll, &channel, 1, 0) > 0;
}

void host_signal(void)
{
	if (process->connected && !process->ended && host_is_gone())
		without_host();
}

static void ring(struct slot *slot)
{
	u32 word = slot->index / 32;

	__atomic_fetch_or(&session->pending[word], 1u << slot->index % 32, __ATOMIC_SEQ_CST);
	__atomic_fetch_or(&session->summary[word / 32], 1u << word % 32, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&session->host_sleeping, __ATOMIC_SEQ_CST))
		sys(__NR_sendto, STUB_FD_CHANNEL, &slot->index, 4, MSG_NOSIGNAL | MSG_DONTWAIT, 0, 0);
}

/* Waits for DONE. A short spin, then the kernel; now and then a look whether a signal or the host's end is due. */
static bool wait_for_answer(struct slot *slot, volatile struct thread_record *record)
{
	for (u32 i = 0; i < SPIN_ROUNDS; i++) {
		if (__atomic_load_n(&record->state, __ATOMIC_ACQUIRE) == RECORD_STATE_DONE)
			return true;
		pause();
	}
	for (;;) {
		struct __kernel_timespec timeout = { 0, 10 * 1000 * 1000 };

		__atomic_store_n(&record->waiting, 1, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&record->state, __ATOMIC_SEQ_CST) != RECORD_STATE_DONE)
			sys(__NR_futex, &record->state, FUTEX_WAIT, RECORD_STATE_REQUEST, &timeout, 0, 0);
		record->waiting = 0;
		if (__atomic_load_n(&record->state, __ATOMIC_ACQUIRE) == RECORD_STATE_DONE)
			return true;
		if (!record->interrupted && signal_waits(slot->mask))
			record->interrupted = 1;
		if (host_is_gone()) {
			without_host();
			return false;
		}
	}
}

/* What a vfork child of this thread had asked when it was killed: its answer must not be taken for the next one. */
static void finish(struct slot *slot, volatile struct thread_record *record)
{
	if (record->state == RECORD_STATE_REQUEST)
		wait_for_answer(slot, record);
	record->state = RECORD_STATE_IDLE;
	settle(slot);
}

i64 ask_unsettled(struct slot *slot, u32 op, u64 a, u64 b, u64 c, u64 d, u64 e)
{
	if (!session_open(slot))
		return process->refused ? -ENFILE : -ENODEV;
	volatile struct thread_record *record = RECORD(slot->index);
	if (record->state != RECORD_STATE_IDLE || record->run_count)
		finish(slot, record);
	show_record(slot);
	record->tid = slot->tid;
	record->op = op;
	record->interrupted = 0;
	record->waiting = 0;
	record->args[0] = a;
	record->args[1] = b;
	record->args[2] = c;
	record->args[3] = d;
	record->args[4] = e;
	record->run_count = record->more_runs = record->descriptors = 0;
	__atomic_store_n(&record->state, RECORD_STATE_REQUEST, __ATOMIC_SEQ_CST);
	ring(slot);
	if (!wait_for_answer(slot, record))
		return -ENODEV;
	record->state = RECORD_STATE_IDLE;
	return record->ret;
}

/*
 * Protections are applied in the order in which the host gave them, whichever threads they came to. Every answer is
 * settled by the thread that got it before it does anything else, so nobody waits long.
 */
static void wait_for_turn(u32 wanted)
{
	for (u32 tries = 0; (i32)(__atomic_load_n(&process->runs_applied, __ATOMIC_ACQUIRE) - wanted) < 0; tries++) {
		if (tries == 10 * 1000 * 1000)
			die("protections of enclave pages came out of order; this is a bug of vitrine");
		sys(__NR_sched_yield);
	}
}

void discard(struct slot *slot)
{
	volatile struct thread_record *record = RECORD(slot->index);

	if (!record->run_count)
		return;
	wait_for_turn(record->run_sequence - 1);
	__atomic_store_n(&process->runs_applied, record->run_sequence, __ATOMIC_RELEASE);
	record->run_count = 0;
}

void settle(struct slot *slot)
{
	volatile struct thread_record *record = RECORD(slot->index);
	u64 kept[1 + ARRAY_LENGTH(record->out)];

	if (!process->connected || process->ended)
		return;
	for (;;) {
		u32 count = record->run_count, sequence = record->run_sequence;

		wait_for_turn(sequence - !!count);
		for (u32 i = 0; i < count && i < RUNS_PER_ANSWER; i++)
			protect(record->runs[i].start, record->runs[i].end - record->runs[i].start, record->runs[i].prot);
		if (count)
			__atomic_store_n(&process->runs_applied, sequence, __ATOMIC_RELEASE);
		record->run_count = 0;
		if (!record->more_runs)
			return;
		/* The answer itself survives the question for more. */
		kept[0] = (u64)record->ret;
		for (u32 i = 1; i < ARRAY_LENGTH(kept); i++)
			kept[i] = record->out[i - 1];
		ask_unsettled(slot, OP_MORE, 0, 0, 0, 0, 0);
		record->ret = (i64)kept[0];
		for (u32 i = 1; i < ARRAY_LENGTH(kept); i++)
			record->out[i - 1] = kept[i];
	}
}

i64 ask(struct slot *slot, u32 op, u64 a, u64 b, u64 c, u64 d, u64 e)
{
	i64 ret = ask_unsettled(slot, op, a, b, c, d, e);

	settle(slot);
	return ret;
}

i64 ask_for_descriptor(struct slot *slot, u32 op, u64 a, u64 b, bool cloexec)
{
	if (!session_open(slot))
		return process->refused ? -ENFILE : -ENODEV;
	lock(&process->lock);
	watch_host(false);
	i32 fd;
	u32 word;
	/* Left by a vfork child that was killed before it took it. */
	while (receive(&word, sizeof word, &fd, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) > 0)
		sys(__NR_close, fd);
	i64 r = ask(slot, op, a, b, 0, 0, 0);
	if (r >= 0 && RECORD(slot->index)->descriptors) {
		i64 n = receive(&word, sizeof word, &fd, cloexec ? MSG_CMSG_CLOEXEC : 0);
		r = n < 0 ? n : fd < 0 ? -EMFILE : fd;
	}
	watch_host(true);
	if (process->connected && !process->ended && host_is_gone())
		without_host();
	unlock(&process->lock);
	return r;
}
