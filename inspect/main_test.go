package inspect_test

import (
	"fmt"
	"testing"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/inspect"
	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/pubsub"
)

func TestMain(m *testing.M) {
	proctest.Main(m, map[string]proctest.Helper{"take part": takePart, "list": list, "burst": burst})
}

// takePart publishes, or subscribes, until it is killed. Args: the folder, what, the topic.
func takePart(args []string) error {
	d, err := memlane.Open("test", &memlane.Config{Folder: args[0]})
	if err != nil {
		return err
	}
	var side any
	if args[1] == "publisher" {
		side, err = pubsub.Publish(d, args[2], nil)
	} else {
		side, err = pubsub.Subscribe(d, args[2], nil)
	}
	if err != nil {
		return err
	}
	fmt.Println("ready")
	return proctest.Hang(d, side)
}

// list prints who takes part, as it is seen from where this process is. Args: the folder.
func list(args []string) error {
	found, err := inspect.Participants("test", &memlane.Config{Folder: args[0]})
	for _, p := range found {
		fmt.Println(p.ID, p.State, p.PID, p.InnerPID, p.UID)
	}
	return err
}
