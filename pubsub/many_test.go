package pubsub_test

import (
	"fmt"
	"sync"
	"syscall"
	"testing"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/pubsub"
)

const manyTopics = 300

// publishMany publishes many topics. Args: the folder.
func publishMany(args []string) error {
	d, err := memlane.Open("test", &memlane.Config{Folder: args[0]})
	if err != nil {
		return err
	}
	var all []any
	for i := range manyTopics {
		p, err := pubsub.Publish(d, fmt.Sprint("topic ", i), nil)
		if err != nil {
			return err
		}
		all = append(all, p)
	}
	fmt.Println("ready")
	return proctest.Hang(all...)
}

// Two processes have so many topics in common that what they have to tell each other
// does not fit into a socket, while one of them is stopped: it is told later.
func TestManyTopics(t *testing.T) {
	folder := t.TempDir()
	p := proctest.Start(t, nil, "publish many", folder)
	p.Line()
	d := open(t, folder)
	p.Signal(syscall.SIGSTOP)
	var all [manyTopics]*pubsub.Subscriber
	var subscribing sync.WaitGroup
	for i := range all {
		subscribing.Go(func() {
			var err error
			if all[i], err = pubsub.Subscribe(d, fmt.Sprint("topic ", i), nil); err != nil {
				t.Error(err)
			}
		})
	}
	subscribing.Wait()
	p.Signal(syscall.SIGCONT)
	if t.Failed() {
		return
	}
	for i, s := range all {
		eventually(t, fmt.Sprintf("topic %d has a publisher", i), func() bool { return s.Publishers() == 1 })
	}
}
