#include "textflag.h"

// func pause(n uint32)
// PAUSE tells the processor that this is a loop that waits: it saves power, and
// leaving the loop costs no mispredicted memory order.
TEXT ·pause(SB), NOSPLIT, $0-4
	MOVL	n+0(FP), AX
again:
	PAUSE
	SUBL	$1, AX
	JNZ	again
	RET
