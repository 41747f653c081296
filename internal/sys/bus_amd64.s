#include "textflag.h"

// func busHandler() uintptr
TEXT ·busHandler(SB), NOSPLIT, $0-8
	LEAQ	handleBus<>(SB), AX
	MOVQ	AX, ret+0(FP)
	RET

// handleBus is called by the kernel, as C calls: DI the signal, SI its siginfo,
// DX the context. What it changes is restored by sigreturn; the handler that was
// there before gets the three as they were.
TEXT handleBus<>(SB), NOSPLIT|NOFRAME, $0
	MOVQ	16(SI), R12	// si_addr
	MOVQ	·busGuards(SB), CX
look:
	TESTQ	CX, CX
	JZ	before
	MOVQ	0(CX), R8	// begin
	CMPQ	R12, R8
	JCS	next
	MOVQ	8(CX), R9	// end
	CMPQ	R12, R9
	JCS	ours
next:
	MOVQ	24(CX), CX
	JMP	look
ours:
	MOVQ	16(CX), R8	// hit
	MOVL	$1, (R8)
	MOVQ	DI, R13
	MOVQ	SI, R14
	MOVQ	DX, R15
	MOVQ	·busPage(SB), SI	// length: a page
	MOVQ	SI, DI
	NEGQ	DI
	ANDQ	R12, DI	// address: of the page
	MOVQ	$3, DX	// PROT_READ|PROT_WRITE
	MOVQ	$0x32, R10	// MAP_PRIVATE|MAP_FIXED|MAP_ANONYMOUS
	MOVQ	$-1, R8
	MOVQ	$0, R9
	MOVQ	$9, AX	// mmap
	SYSCALL
	CMPQ	AX, DI
	JNE	failed
	RET
failed:
	MOVQ	R13, DI
	MOVQ	R14, SI
	MOVQ	R15, DX
before:
	MOVQ	·busBefore(SB), AX
	JMP	AX
