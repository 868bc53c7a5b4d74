/*
 * Ways into an enclave for driver-cases. EEXIT may come back from an entry that began elsewhere (`resume`), so it goes
 * to the stack that its thread saved last, and leaves RDX in `exit_rdx`.
 */
	.section .tbss, "awT", @nobits
	.globl exit_rdx
	.balign 8
exit_rdx:
	.zero 8
saved_rsp:
	.zero 8

	.macro store register, variable
	movq \variable@gottpoff(%rip), %rax
	movq %\register, %fs:(%rax)
	.endm
	.macro save
	pushq %rbp
	pushq %rbx
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	store rsp, saved_rsp
	.endm
	.macro restore
	movq saved_rsp@gottpoff(%rip), %rcx
	movq %fs:(%rcx), %rsp
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbx
	popq %rbp
	ret
	.endm

	.text
/* long enclu(struct entry *): ENCLU itself; interrupts resume at the AEP. 0 after EEXIT, exceptions are signals. */
	.globl enclu
	.type enclu, @function
enclu:
	save
	movl (%rdi), %eax
	movq 8(%rdi), %rbx
	movq 24(%rdi), %rsi
	movq 32(%rdi), %rdx
	movq 40(%rdi), %r9
	movq 16(%rdi), %rdi
	leaq 1f(%rip), %rcx
	jmp 2f
1:	.byte 0x0f, 0x01, 0xd7		/* the AEP: RAX is ERESUME */
2:	.byte 0x0f, 0x01, 0xd7
	store rdx, exit_rdx
	xorl %eax, %eax
	restore

/* int enter_by_vdso(struct entry *, struct sgx_enclave_run *, the vDSO's function): what that gives. */
	.globl enter_by_vdso
	.type enter_by_vdso, @function
enter_by_vdso:
	save
	movq %rdx, %rax
	pushq $0			/* keeps the stack aligned at the call */
	subq $8, %rsp
	pushq %rsi
	movl (%rdi), %ecx
	movq 24(%rdi), %rsi
	movq 32(%rdi), %rdx
	movq 40(%rdi), %r9
	movq 16(%rdi), %rdi
	xorl %r8d, %r8d
	call *%rax
	movq %rax, %r8
	store rdx, exit_rdx
	movq %r8, %rax
	restore
	.section .note.GNU-stack, "", @progbits
