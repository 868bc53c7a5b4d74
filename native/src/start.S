/* The first and the last instruction of the loader. */
	.text

/* The kernel starts here: RSP points to argc. */
	.globl _start
_start:
	mov %rsp, %rdi
	xor %ebp, %ebp
	and $-16, %rsp
	call loader_main
	ud2

/* enter_program(stack, entry): jumps as the kernel starts a program, all registers zero, RSP pointing to argc. */
	.globl enter_program
enter_program:
	mov %rdi, %rsp
	push %rsi
	xor %eax, %eax
	xor %ebx, %ebx
	xor %ecx, %ecx
	xor %edx, %edx
	xor %esi, %esi
	xor %edi, %edi
	xor %ebp, %ebp
	xor %r8d, %r8d
	xor %r9d, %r9d
	xor %r10d, %r10d
	xor %r11d, %r11d
	xor %r12d, %r12d
	xor %r13d, %r13d
	xor %r14d, %r14d
	xor %r15d, %r15d
	cld
	ret

	.section .note.GNU-stack, "", @progbits
