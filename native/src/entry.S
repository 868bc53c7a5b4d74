/*
 * What cannot be written in C: the signal entry, guarded copies, calls that go on in the program, and the vDSO
 * function with the entry that does not trap.
 */
#include "../include/layout.h"

	.text

/*
 * ---- Signals: the kernel calls signal_entry(signal, info, context) on the slot's alternate stack. ----
 * A thread's first one comes on whatever stack it has, which may be small: only the search for a slot is done there.
 * The return restores every register, so none needs to be kept.
 */
#define SLOT_BLOCKED 8
#define SLOT_WAITING 16

	.globl signal_entry
signal_entry:
	cld
	movq %rsp, %rbx
	movl %edi, %r12d
	movq %rsi, %r13
	movq %rdx, %r14
	subq $8, %rsp
	movq %rdx, %rdi
	call slot_of_handler
	movq %rax, %r15
	leaq -8(%rbx), %rbp
	movq %rbp, %rcx
	subq %r15, %rcx
	cmpq $STUB_MAP_SLOT_SIZE, %rcx
	jb .Lon_slot
	leaq STUB_MAP_SLOT_SIZE(%r15), %rbp
.Lon_slot:
	movq %rbp, %rsp
	movl %r12d, %edi
	movq %r13, %rsi
	movq %r14, %rdx
	movq %r15, %rcx
	call on_signal
	testb %al, %al
	jz .Lnested

	/* A signal that comes from here on, and is kept, starts this anew (on_signal): it does not wait for our next handler. */
	.globl signal_return, signal_return_end, signal_restorer
signal_return:
	movq SLOT_BLOCKED(%r15), %rax
	notq %rax
	testq SLOT_WAITING(%r15), %rax
	jnz .Lsend_waiting
	movq %rbx, %rsp
	ret
signal_restorer:
	movl $15, %eax			/* rt_sigreturn */
signal_return_end:
	syscall
	ud2
.Lnested:
	leaq 8(%rbx), %rsp
	movl $15, %eax
	syscall
.Lsend_waiting:
	movq %rbp, %rsp
	movq %r15, %rdi
	call send_waiting
	jmp signal_return

/* ---- i64 copy_user(to, from, size): 0, or -EFAULT when either side faults (signal handler moves RIP). ---- */

	.globl copy_user, copy_user_start, copy_user_end, copy_user_fault
copy_user:
	movq %rdx, %rcx
	xorl %eax, %eax
copy_user_start:
	rep movsb
copy_user_end:
	ret
copy_user_fault:
	movq $-14, %rax
	ret

/*
 * ---- Calls that the kernel does in the program's own context (trap.c). ----
 * Below the program's red zone lie: its return address, the value of the edited register. RSP is restored by `ret`.
 */
	.macro trampoline name, register
	.balign 32
	.globl trampoline_\name
trampoline_\name:
	syscall
	.ifnb \register
	movq 8(%rsp), %\register
	.endif
	ret $152
	.endm

	trampoline none
	trampoline rdi, rdi
	trampoline rsi, rsi
	trampoline r8, r8
	trampoline r9, r9
	trampoline r10, r10
	/* The child (RAX = 0) traps first; no flag is touched. */
	.balign 32
	.globl trampoline_fork
trampoline_fork:
	syscall
	movq %rax, %rcx
	jrcxz 1f
	ret $152
1:	ud2
	.balign 32
	.globl trampolines_end
trampolines_end:

/*
 * ---- __vdso_sgx_enter_enclave(rdi, rsi, rdx, ecx = function, r8, r9, run on the stack) ----
 * Spec: Linux, arch/x86/include/uapi/asm/sgx.h, sgx_enclave_user_handler_t and vdso_sgx_enter_enclave_t.
 * Saved RBX at -8(%rbp), run at 16(%rbp).
 */
#define RUN 16(%rbp)

	.globl vdso_sgx_enter_enclave, vdso_enclu, vdso_after_enclu, vdso_exception
	.balign 16
vdso_sgx_enter_enclave:
	pushq %rbp
	movq %rsp, %rbp
	pushq %rbx
	movl %ecx, %eax
.Lround:
	cmpl $ENCLU_EENTER, %eax
	jb .Linvalid
	cmpl $ENCLU_ERESUME, %eax
	ja .Linvalid
	movq RUN, %rbx
	/* The reserved tail must be zero: 27 quadwords from 40. */
	movl $40, %ecx
.Lreserved:
	cmpq $0, (%rbx, %rcx)
	jne .Linvalid
	addl $8, %ecx
	cmpl $256, %ecx
	jne .Lreserved
	movq SGX_ENCLAVE_RUN_TCS(%rbx), %rbx
	leaq vdso_enclu(%rip), %rcx
	cmpl $ENCLU_EENTER, %eax
	jne vdso_enclu
	call try_entry			/* comes back, registers untouched, when it has to be done by trapping */
vdso_enclu:
	.byte 0x0f, 0x01, 0xd7		/* ENCLU; also the AEP */
vdso_after_enclu:
	/* EEXIT came back here. */
	movq RUN, %rbx
	movl $ENCLU_EEXIT, SGX_ENCLAVE_RUN_FUNCTION(%rbx)
.Lout:
	cmpq $0, SGX_ENCLAVE_RUN_USER_HANDLER(%rbx)
	jne .Lhandler
	xorl %eax, %eax
.Lreturn:
	movq -8(%rbp), %rbx
	leave
	ret
.Linvalid:
	movl $-22, %eax
	jmp .Lreturn

	/* An exception at the ENCLU: RAX = function, RDI = vector, RSI = error code, RDX = address. */
vdso_exception:
	movq RUN, %rbx
	movl %eax, SGX_ENCLAVE_RUN_FUNCTION(%rbx)
	movw %di, SGX_ENCLAVE_RUN_EXCEPTION_VECTOR(%rbx)
	movw %si, SGX_ENCLAVE_RUN_EXCEPTION_ERROR_CODE(%rbx)
	movq %rdx, SGX_ENCLAVE_RUN_EXCEPTION_ADDR(%rbx)
	jmp .Lout

.Lhandler:
	movq %rbx, %rax			/* run */
	movq %rsp, %rcx			/* 4th argument: RSP as the enclave left it */
	movq %rsp, %rbx
	andl $0xf, %ebx			/* what aligning takes away comes back after the call */
	andq $-16, %rsp
	cld
	pushq %rax			/* keeps 16-byte alignment at the call together with the 7th argument */
	pushq %rax
	movq SGX_ENCLAVE_RUN_USER_HANDLER(%rax), %rax
	call *%rax
	addq $16, %rsp
	addq %rbx, %rsp
	cmpl $0, %eax
	jg .Lround
	jmp .Lreturn

/*
 * ---- The entry that does not trap ----
 * RBX = TCS, RCX = AEP. Saves what C may change, asks prepare_entry(frame). On success C has done everything but the
 * jump: the return address is replaced by the target, so that RSP is what it was at the ENCLU. A signal that
 * finds the slot inside and RIP still in the stub meets an entry to be undone (undo_entry in enclave.c).
 */
	.globl try_entry
	.balign 16
try_entry:
	pushq %r11			/* struct entry_frame, from its end */
	pushq %r10
	pushq %r9
	pushq %r8
	pushq %rdi
	pushq %rsi
	pushq %rdx
	pushq %rcx
	pushq %rax
	pushq %r15
	pushq %r14
	pushq %r13
	pushq %r12
	pushq %rbx
	pushq %rbp
	movq %rsp, %rdi
	movq %rsp, %rbp
	andq $-16, %rsp
	call prepare_entry
	movq %rbp, %rsp
	popq %rbp
	addq $40, %rsp
	popq %rax			/* CSSA, if C has entered */
	popq %rcx
	popq %rdx
	popq %rsi
	popq %rdi
	popq %r8
	popq %r9
	popq %r10
	popq %r11
	ret				/* into the enclave, or back to the ENCLU */

	.section .note.GNU-stack, "", @progbits
