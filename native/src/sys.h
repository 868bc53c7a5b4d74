/*
 * Raw system calls and the few memory functions the compiler expects. No libc, no TLS, no errno: a result in
 * [-4095, -1] is an error.
 */
#ifndef VITRINE_SYS_H
#define VITRINE_SYS_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;
typedef int i32;
typedef long i64;
typedef unsigned long size_t;
#ifndef NULL
#define NULL ((void *)0)
#endif
typedef _Bool bool;
#define true 1
#define false 0

#define ALIGN_DOWN(x, a) ((u64)(x) & ~((u64)(a) - 1))
#define ALIGN_UP(x, a) (((u64)(x) + (u64)(a) - 1) & ~((u64)(a) - 1))
#define PAGE 4096UL
#define ARRAY_LENGTH(a) (sizeof(a) / sizeof((a)[0]))
#define is_error(r) ((u64)(r) >= (u64)-4095L)

static inline i64 sys6(i64 nr, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
{
	i64 ret;
	register u64 r10 asm("r10") = d;
	register u64 r8 asm("r8") = e;
	register u64 r9 asm("r9") = f;
	asm volatile("syscall"
		     : "=a"(ret)
		     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
		     : "rcx", "r11", "memory");
	return ret;
}

#define SYS_PICK(_0, _1, _2, _3, _4, _5, _6, n, ...) n
#define sys(...) SYS_PICK(__VA_ARGS__, sys_6, sys_5, sys_4, sys_3, sys_2, sys_1, sys_0)(__VA_ARGS__)
#define sys_0(n) sys6(n, 0, 0, 0, 0, 0, 0)
#define sys_1(n, a) sys6(n, (u64)(a), 0, 0, 0, 0, 0)
#define sys_2(n, a, b) sys6(n, (u64)(a), (u64)(b), 0, 0, 0, 0)
#define sys_3(n, a, b, c) sys6(n, (u64)(a), (u64)(b), (u64)(c), 0, 0, 0)
#define sys_4(n, a, b, c, d) sys6(n, (u64)(a), (u64)(b), (u64)(c), (u64)(d), 0, 0)
#define sys_5(n, a, b, c, d, e) sys6(n, (u64)(a), (u64)(b), (u64)(c), (u64)(d), (u64)(e), 0)
#define sys_6(n, a, b, c, d, e, f) sys6(n, (u64)(a), (u64)(b), (u64)(c), (u64)(d), (u64)(e), (u64)(f))

void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *append(char *to, const char *from);               /* returns the new end, writes a NUL */
char *append_number(char *to, u64 value, u32 base);     /* likewise */
u64 parse_number(const char *text);                     /* decimal */

#endif
