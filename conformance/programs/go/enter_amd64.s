#include "textflag.h"

// func enter(tcs uintptr, data *uint64)
TEXT ·enter(SB), NOSPLIT, $0-16
	MOVQ tcs+0(FP), BX
	MOVQ data+8(FP), DI
	LEAQ ·resume(SB), CX
	MOVL $2, AX // EENTER
	BYTE $0x0f; BYTE $0x01; BYTE $0xd7
	RET

// The AEP: whatever interrupted the enclave, RAX says ERESUME.
TEXT ·resume(SB), NOSPLIT, $0-0
	BYTE $0x0f; BYTE $0x01; BYTE $0xd7
	RET
