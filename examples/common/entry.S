/*
 * The only way in. After EENTER the processor gives:
 *   RBX  address of this thread's TCS, which is also the top of its stack (see src/formats/README.md)
 *   RCX  where the host wants to be returned to
 *   RAX  number of interrupted calls on this thread, at most NSSA - 1; each keeps its page of the stack
 * Everything else is as the host left it, above all RSP, RBP and the flags: not to be trusted.
 */
	.section .text
	.globl	enclave_entry
	.type	enclave_entry, @function
enclave_entry:
	shl	$12, %rax
	neg	%rax
	add	%rbx, %rax
	xchg	%rsp, %rax
	push	%rax			/* the host's stack */
	push	%rcx			/* the way back; RSP is now aligned to 16 */
	push	$0
	popfq				/* no direction, alignment check or trap flag of the host's */
	fninit				/* nor its floating-point modes */
	ldmxcsr	default_mxcsr(%rip)

	call	enclave_main		/* RDI is what the host passed */

	pop	%rbx			/* EEXIT jumps to RBX */
	pop	%rsp
	xor	%ecx, %ecx		/* leave nothing behind in registers */
	xor	%edx, %edx
	xor	%esi, %esi
	xor	%edi, %edi
	xor	%r8d, %r8d
	xor	%r9d, %r9d
	xor	%r10d, %r10d
	xor	%r11d, %r11d
	xorps	%xmm0, %xmm0
	xorps	%xmm1, %xmm1
	xorps	%xmm2, %xmm2
	xorps	%xmm3, %xmm3
	xorps	%xmm4, %xmm4
	xorps	%xmm5, %xmm5
	xorps	%xmm6, %xmm6
	xorps	%xmm7, %xmm7
	xorps	%xmm8, %xmm8
	xorps	%xmm9, %xmm9
	xorps	%xmm10, %xmm10
	xorps	%xmm11, %xmm11
	xorps	%xmm12, %xmm12
	xorps	%xmm13, %xmm13
	xorps	%xmm14, %xmm14
	xorps	%xmm15, %xmm15
	mov	$4, %eax		/* EEXIT */
	.byte	0x0f, 0x01, 0xd7	/* ENCLU, spelled out for assemblers that do not know it */
	.size	enclave_entry, . - enclave_entry

	.section .rodata
	.balign	4
default_mxcsr:
	.long	0x1f80

	.section .note.GNU-stack, "", @progbits
