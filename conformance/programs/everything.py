"""Threads, signals, faults, forks and children, each with a result that does not depend on timing."""
import ctypes, mmap, multiprocessing, os, queue, select, signal, subprocess, sys, threading, time

results = queue.Queue()
threads = [threading.Thread(target=lambda n=n: results.put(sum(range(n * 10000)))) for n in range(20)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print("threads", sum(results.get() for _ in threads))

ticks = 0
def tick(signum, frame):
    global ticks
    ticks += 1
signal.signal(signal.SIGALRM, tick)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
total = 0
while ticks < 50: total += 1
signal.setitimer(signal.ITIMER_REAL, 0)
print("ticks", ticks >= 50)

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGSEGV})
os.kill(os.getpid(), signal.SIGUSR1)
os.kill(os.getpid(), signal.SIGSEGV)
print("pending", sorted(s.name for s in signal.sigpending()))
print("waited", sorted((signal.sigwait({signal.SIGUSR1, signal.SIGSEGV}).name, signal.sigwait({signal.SIGUSR1, signal.SIGSEGV}).name)))
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1, signal.SIGSEGV})

print(subprocess.run(["sh", "-c", "tr a-z A-Z; exit 3"], input="through a pipe\n", text=True, capture_output=True))
print("fault", subprocess.run([sys.executable, "-c", "import ctypes; ctypes.string_at(0)"]).returncode)
sleeper = subprocess.Popen(["sleep", "60"])
sleeper.terminate()
print("terminated", sleeper.wait())
with os.popen("echo popen") as pipe: print(pipe.read(), end="")
print("system", os.system("exit 4"))
print("spawn", os.waitstatus_to_exitcode(os.waitpid(os.posix_spawnp("sh", ["sh", "-c", "exit 5"], os.environ), 0)[1]))

with multiprocessing.get_context("fork").Pool(4) as pool: print("pool", pool.map(len, ["a" * n for n in range(20)]))
shared = mmap.mmap(-1, 4096)
if os.fork() == 0:
    shared[0:5] = b"child"
    os._exit(0)
os.wait()
print("shared", shared[0:5])
reader, writer = os.pipe()
print("select", select.select([reader], [], [], 0.01)[0])
os.write(writer, b"x")
poll = select.epoll()
poll.register(reader)
print("epoll", len(poll.poll(1)))
print("executable", os.readlink("/proc/self/exe") == os.path.realpath(sys.executable))
sys.stdout.flush()
os.execlp("sh", "sh", "-c", "echo execed $0", "by python")
