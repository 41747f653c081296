#include "textflag.h"

// func busHandler() uintptr
TEXT ·busHandler(SB), NOSPLIT, $0-8
	MOVD	$handleBus<>(SB), R0
	MOVD	R0, ret+0(FP)
	RET

// handleBus is called by the kernel, as C calls: R0 the signal, R1 its siginfo,
// R2 the context. What it changes is restored by sigreturn; the handler that was
// there before gets the three as they were.
TEXT handleBus<>(SB), NOSPLIT|NOFRAME, $0
	MOVD	16(R1), R9	// si_addr
	MOVD	·busGuards(SB), R10
look:
	CBZ	R10, before
	MOVD	0(R10), R11	// begin
	CMP	R11, R9
	BLO	next
	DMB	$0x9	// ISHLD: begin before the rest
	MOVD	8(R10), R12	// end
	CMP	R12, R9
	BLO	ours
next:
	MOVD	24(R10), R10
	B	look
ours:
	MOVD	16(R10), R11	// hit
	MOVW	$1, R12
	MOVW	R12, (R11)
	MOVD	R0, R13
	MOVD	R1, R14
	MOVD	R2, R15
	MOVD	·busPage(SB), R1	// length: a page
	NEG	R1, R12
	AND	R12, R9, R12	// the page
	MOVD	R12, R0
	MOVD	$3, R2	// PROT_READ|PROT_WRITE
	MOVD	$0x32, R3	// MAP_PRIVATE|MAP_FIXED|MAP_ANONYMOUS
	MOVD	$-1, R4
	MOVD	$0, R5
	MOVD	$222, R8	// mmap
	SVC
	CMP	R12, R0
	BNE	failed
	RET
failed:
	MOVD	R13, R0
	MOVD	R14, R1
	MOVD	R15, R2
before:
	MOVD	·busBefore(SB), R10
	JMP	(R10)
