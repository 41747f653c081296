//go:build !amd64

package step

import "syscall"

// A Victim is a process that is traced.
type Victim struct{}

// Start answers [ErrUnsupported].
func Start(...string) (*Victim, error) { return nil, ErrUnsupported }

// PID returns the victim's process id.
func (v *Victim) PID() int { return 0 }

// Syscalls returns how many system calls the victim has made.
func (v *Victim) Syscalls() int { return 0 }

// Step answers [ErrUnsupported].
func (v *Victim) Step() (Event, error) { return Stopped, ErrUnsupported }

// RunTo answers [ErrUnsupported].
func (v *Victim) RunTo(Place) (Event, error) { return Stopped, ErrUnsupported }

// StepTo answers [ErrUnsupported].
func (v *Victim) StepTo(int) (Event, error) { return Stopped, ErrUnsupported }

// Trace answers [ErrUnsupported].
func (v *Victim) Trace(func(), func() error) (*Trace, error) { return nil, ErrUnsupported }

// Stack returns where the victim stands.
func (v *Victim) Stack() Stack { return nil }

// Kill answers [ErrUnsupported].
func (v *Victim) Kill() error { return ErrUnsupported }

// Release answers [ErrUnsupported].
func (v *Victim) Release() error { return ErrUnsupported }

// Wait answers [ErrUnsupported].
func (v *Victim) Wait() (syscall.WaitStatus, error) { return 0, ErrUnsupported }
