package wait

// pause rests the processor for n of its instructions for that; n must not be 0.
// It is written in assembly because Go has no word for it.
//
//go:noescape
func pause(n uint32)

// Pause rests the processor for n of its instructions for that, of about 10 ns each; n
// must not be 0.
func Pause(n uint32) { pause(n) }
