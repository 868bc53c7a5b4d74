/*
 * int enter_worker(vdso function, struct work *, struct sgx_enclave_run *, unsigned leaf)
 * The vDSO function keeps RBX and RBP only: after an exception R12 to R15 are 0. So does real hardware.
 */
	.text
	.globl enter_worker
	.type enter_worker, @function
enter_worker:
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
	push %rdx		/* the seventh argument; the stack is aligned now */
	mov %rdi, %rax
	mov %rsi, %rdi
	xor %esi, %esi
	xor %edx, %edx
	xor %r8d, %r8d
	xor %r9d, %r9d
	call *%rax
	add $8, %rsp
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	ret
	.section .note.GNU-stack, "", @progbits
