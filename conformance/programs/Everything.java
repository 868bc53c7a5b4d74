import java.util.concurrent.*;
import java.util.stream.*;

/** Threads, faults that the VM turns into exceptions, collections of garbage, children. */
public class Everything {
    static class Box { int value; Box next; }

    static int faults(int times) {
        Box[] boxes = { new Box(), null };
        int caught = 0;
        for (int i = 0; i < times; i++) {
            try {
                caught += boxes[i % 2].value;
            } catch (NullPointerException e) {
                caught++;
            }
        }
        return caught;
    }

    static int depth(int n) { return depth(n + 1) + 1; }

    public static void main(String[] arguments) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(8);
        int sum = 0;
        for (Future<Integer> f : pool.invokeAll(Stream.generate(() -> (Callable<Integer>) () -> faults(50000)).limit(8).toList()))
            sum += f.get();
        pool.shutdown();
        System.out.println("null pointers caught: " + sum);
        try {
            depth(0);
        } catch (StackOverflowError e) {
            System.out.println("stack overflow caught");
        }
        long squares = IntStream.range(0, 2_000_000).parallel().mapToLong(i -> (long) i * i % 7).sum();
        System.out.println("squares: " + squares);
        int garbage = 0;
        for (int i = 0; i < 400; i++) garbage += new byte[1 << 20].length >> 20;
        System.gc();
        System.out.println("garbage: " + garbage);
        Process child = new ProcessBuilder("sh", "-c", "read line; echo \"child got $line\"; exit 7").start();
        child.getOutputStream().write("a line\n".getBytes());
        child.getOutputStream().close();
        System.out.print(new String(child.getInputStream().readAllBytes()));
        System.out.println("exit " + child.waitFor());
    }
}
