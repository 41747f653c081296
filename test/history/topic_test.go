package history

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/pubsub"
)

var topicHistories = flag.Int("topics", 18, "histories of topics, for each policy")

func TestTopicHistoriesBlock(t *testing.T) {
	topics(t, pubsub.Block, "publish → busy", "publish → late")
}

func TestTopicHistoriesDropOldest(t *testing.T) {
	topics(t, pubsub.DropOldest, "receive → lagged")
}

// topics has processes make histories of topics, and checks each. In two of three one or two
// are killed.
func topics(t *testing.T, policy pubsub.Policy, answers ...string) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	c := newTopicConductor(t)
	seen := map[string]int{}
	notes, messages := 0, 0
	begun := time.Now()
	for n := range *topicHistories {
		var victims []int
		if n%3 > 0 {
			victims = rnd.Perm(topicProcesses - 1)[:1+rnd.IntN(2)]
		}
		h, v := c.play(uint32(n+1), policy, rnd.Uint64(), victims, rnd, false)
		if v != nil {
			t.Fatalf("history %d of seed %d, %v: %v\n%s", n, seed, policy, v, c.text(v.at))
		}
		for p := range topicProcesses {
			for _, line := range noted(c.diary.of(p)) {
				notes++
				seen[fmt.Sprintf("%v → %v", line.op, line.answer)]++
			}
		}
		received := map[uint64]bool{}
		for _, s := range h.subscribers {
			for _, r := range s.hearings {
				received[r.value] = received[r.value] || r.answer == ok
			}
		}
		for _, p := range h.publishers {
			for _, o := range p.postings {
				messages += o.many
				if o.answer == unknown && received[o.first] {
					seen["publish → ?, and received"]++
				}
			}
		}
	}
	t.Logf("%d histories of %d calls and %d messages in %v: %v", *topicHistories, notes, messages, time.Since(begun).Round(time.Millisecond), seen)
	wantSeen(t, seen, append(answers, "Publish → ok", "WaitSubscribers → ok", "publish → ok", "publish → discarded", "Subscribe → ok", "receive → ok", "receive → no", "Close → ok")...)
}

// A topicConductor has the processes that make histories of topics.
type topicConductor struct {
	t          *testing.T
	folder     string
	diary      *diary
	performers [topicProcesses]*proctest.Process
}

func newTopicConductor(t *testing.T) *topicConductor {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "memlane-test-")
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	c := &topicConductor{t: t, folder: dir}
	if c.diary, err = openDiary(c.diaryPath()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.diary.Close() })
	for i := range c.performers {
		c.start(i)
	}
	return c
}

func (c *topicConductor) diaryPath() string { return filepath.Join(c.folder, "diary") }

func (c *topicConductor) start(i int) {
	c.performers[i] = proctest.Start(c.t, nil, "topic", c.folder, c.diaryPath(), fmt.Sprint(i))
}

// play makes history number n, and judges it when all that live have received all. The
// victims are killed at random moments, and replaced afterwards. If it is one of two, only the
// first publisher and the first subscriber take part.
func (c *topicConductor) play(n uint32, policy pubsub.Policy, seed uint64, victims []int, rnd *rand.Rand, two bool) (h *topicHistory, v *violation) {
	c.t.Helper()
	clear(c.diary.Bytes()[notesAt:])
	for _, p := range c.performers {
		p.Send(fmt.Sprintf("%d %d %d %t", n, policy, seed, two))
	}
	for _, p := range c.performers {
		want(c.t, p, "ready")
	}
	c.diary.stage.Store(n * stages)
	var dead [topicProcesses]bool
	for _, i := range victims {
		i++ // for the first publisher others wait
		c.kill(i, 1+rnd.IntN(turnsMost))
		dead[i] = true
	}
	for i, p := range c.performers[:topicPublishers] {
		if !dead[i] {
			want(c.t, p, "done")
		}
	}
	c.diary.stage.Store(n*stages + hush)
	for end := time.Now().Add(10 * time.Second); ; {
		h = c.diary.history(&dead)
		h.policy = policy
		if two {
			h.slots = fifoSlots
		}
		if v = checkTopic(h); v == nil || !v.pending || time.Now().After(end) {
			break
		}
	}
	c.diary.stage.Store(n*stages + parts)
	for i, p := range c.performers {
		if dead[i] {
			c.start(i)
		} else if v == nil {
			want(c.t, p, "left")
		}
	}
	return h, v
}

// kill kills a process when it has begun so many operations, or does none for long.
func (c *topicConductor) kill(i, after int) {
	p := c.performers[i]
	for end := time.Now().Add(100 * time.Millisecond); c.diary.of(i)[after-1].done.Load() == 0 && time.Now().Before(end); {
	}
	p.Signal(syscall.SIGKILL)
	p.Wait()
}

// text is what was noted around a moment, as a person reads it, in the order in which it
// began.
func (c *topicConductor) text(at int64) string {
	type said struct {
		line
		process int
	}
	var all []said
	for p := range topicProcesses {
		for _, l := range noted(c.diary.of(p)) {
			all = append(all, said{l, p})
		}
	}
	slices.SortFunc(all, func(a, b said) int { return cmp.Compare(a.begin, b.begin) })
	const around = 60
	i, _ := slices.BinarySearchFunc(all, at, func(s said, at int64) int { return cmp.Compare(s.begin, at) })
	var b strings.Builder
	for _, s := range all[max(i-around, 0):min(i+around, len(all))] {
		end := "…"
		if s.end != forever {
			end = fmt.Sprint((s.end - at) / 1000)
		}
		fmt.Fprintf(&b, "%8d to %8s µs: %d %v\n", (s.begin-at)/1000, end, s.process, s.line)
	}
	return b.String()
}
