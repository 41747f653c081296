package meet

import (
	"fmt"
	"os"
	"strings"

	"github.com/memlane/memlane/internal/sys"
)

// Descriptors of a stranger's are dangerous beyond what they are used for: of a file
// of a file system that the stranger serves himself, to close it, to poll it or to ask
// for its size can wait for ever. So what is not known to be harmless is not touched.

// isMemory reports whether a descriptor is a memfd, or another file of a tmpfs. It
// is asked for its seals, which the kernel answers by itself.
func isMemory(fd int) bool {
	_, err := sys.Seals(fd)
	return err == nil
}

// isPidfd reports whether a descriptor is a pidfd. An error is that it cannot be known.
func isPidfd(fd int) (bool, error) {
	process, err := processOf(fd)
	return process != "", err
}

// reaped is what processOf has for a process that has ended and was waited for: it has
// no number any more.
const reaped = "-1"

// processOf returns the numbers that the process of a pidfd has, in the PID namespace that
// /proc is of and in those below; "" if the descriptor is no pidfd.
func processOf(fd int) (string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	if err != nil {
		return "", err
	}
	var numbers []string
	for line := range strings.Lines(string(text)) {
		if name, rest, _ := strings.Cut(line, ":"); name == "Pid" || name == "NSpid" {
			numbers = append(numbers, strings.Fields(rest)...)
		}
	}
	if len(numbers) > 0 && numbers[0] == reaped {
		return reaped, nil
	}
	return strings.Join(numbers, " "), nil
}

// checkDescriptors refuses descriptors that a frame must not have.
func checkDescriptors(f *frame, fds []int) error {
	for _, fd := range fds {
		belongs := f.kind == frameMessage && isMemory(fd)
		if f.kind == frameHello && len(fds) == 1 {
			var err error
			if belongs, err = isPidfd(fd); err != nil {
				return fmt.Errorf("look at the peer's descriptor: %w", err)
			}
		}
		if !belongs {
			return fmt.Errorf("%w: a frame of kind %d with a descriptor that does not belong to it", ErrProtocol, f.kind)
		}
	}
	return nil
}

// closeAll closes descriptors, and waits for none that could take long.
func closeAll(fds []int) {
	for _, fd := range fds {
		harmless := isMemory(fd)
		if !harmless {
			harmless, _ = isPidfd(fd)
		}
		if harmless {
			sys.Close(fd)
		} else {
			// At most as many as fit in one packet: its connection ends.
			go sys.Close(fd)
		}
	}
}
