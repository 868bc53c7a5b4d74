#!/bin/bash
# Compiles in parallel, links static and shared, runs.
set -e
cat > sum.c <<'END'
#include <pthread.h>
static void *part(void *n) { long s = 0; for (long i = 0; i < 1000000; i++) s += i % (long)n; return (void *)s; }
long sum(void) { pthread_t t[4]; long s = 0; void *r;
	for (long i = 0; i < 4; i++) pthread_create(&t[i], 0, part, (void *)(i + 2));
	for (int i = 0; i < 4; i++) { pthread_join(t[i], &r); s += (long)r; } return s; }
END
cat > main.c <<'END'
#include <stdio.h>
long sum(void);
int main(int n, char **a) { printf("%s %ld\n", a[n - 1], sum()); return 0; }
END
cat > Makefile <<'END'
all: static shared pie
sum.o main.o: %.o: %.c ; gcc -O2 -g -fPIC -pthread -c $<
libsum.a: sum.o ; ar rcs $@ $^
libsum.so: sum.o ; gcc -shared -o $@ $^
static: main.o libsum.a ; gcc -static -o $@ main.o -L. -l:libsum.a -pthread
pie: main.o libsum.a ; gcc -static-pie -o $@ main.o -L. -l:libsum.a -pthread
shared: main.o libsum.so ; gcc -o $@ main.o -L. -lsum -Wl,-rpath,'$$ORIGIN' -pthread
END
make -s -j4
for kind in static pie shared; do ./$kind $kind; done
nm -C static | grep -c ' T main'
echo 'int main() { return *(volatile int *)0; }' | gcc -w -xc - -o crash; ulimit -c 0; { ./crash; } 2> /dev/null || echo "crash $?"
echo 'syntax error' | gcc -xc - 2>/dev/null || echo "gcc $?"
