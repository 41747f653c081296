package test

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	lane "github.com/memlane/memlane"
	"github.com/memlane/memlane/pubsub"
)

// inFolder starts memlane in a folder of domains.
func inFolder(t *testing.T, folder string, args ...string) *process {
	t.Helper()
	return start(t, append(args, "--folder", folder)...)
}

// write writes to the standard input of a process.
func (p *process) write(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(p.in.(io.Writer), text); err != nil {
		t.Fatal(err)
	}
}

// wantExit checks how a process ends.
func (p *process) wantExit(t *testing.T, code int, says string) {
	t.Helper()
	if got := p.exit(t); got != code || !strings.Contains(p.stderr.String(), says) {
		t.Errorf("%q: code %d, want %d; it says %q, want %q", p.Args, got, code, p.stderr.String(), says)
	}
}

// looks is what stat -o json says of a topic.
type looks struct {
	Publishers []struct {
		PID           int
		Policy        string
		Published     uint64
		Waiting       bool
		Blocked       uint64
		Subscriptions []struct {
			PID                 int
			Received, Lost, Lag uint64
			Answering, Peeks    bool
		}
	}
	Silent []struct {
		Role string
		PID  int
	} `json:"not_answering"`
}

// statOf returns what stat says of a topic; nothing if nobody takes part in it.
func statOf(t *testing.T, folder, topic string) (l looks) {
	t.Helper()
	out, stderr, code := run(t, "stat", topic, "-o", "json", "--folder", folder)
	if code == 3 {
		return l
	}
	var list []looks
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 1 {
		t.Fatalf("stat: code %d, %v, %s%s", code, err, out, stderr)
	}
	return list[0]
}

// subscribed waits until a publisher of a topic has so many subscriptions.
func subscribed(t *testing.T, folder, topic string, n int) {
	t.Helper()
	eventually(t, "they have subscribed", func() bool {
		l := statOf(t, folder, topic)
		return len(l.Publishers) == 1 && len(l.Publishers[0].Subscriptions) == n
	})
}

const many = 1_000_000

func manyLine(i int) string { return fmt.Sprintf("%d of a million lines", i) }

func manyLines() string {
	var b strings.Builder
	for i := range many {
		b.WriteString(manyLine(i))
		b.WriteByte('\n')
	}
	return b.String()
}

// wantMany reads all lines of a subscriber until it ends.
func wantMany(t *testing.T, p *process) {
	t.Helper()
	n := 0
	for ; p.out.Scan(); n++ {
		if p.out.Text() != manyLine(n) {
			t.Fatalf("line %d is %q", n, p.out.Text())
		}
	}
	if n != many {
		t.Errorf("%d lines; want %d", n, many)
	}
}

// One of two subscribers stops to read what it prints, so that the publisher waits
// for it, and is killed: the other one gets everything, in order.
func TestKilledSubscriberStopsNobody(t *testing.T) {
	folder := t.TempDir()
	// The publisher reads its lines when both are there.
	pub := inFolder(t, folder, "pub", "n", "--no-wait")
	one := inFolder(t, folder, "sub", "n", "--until-end")
	victim := inFolder(t, folder, "sub", "n")
	subscribed(t, folder, "n", 2)
	go func() {
		io.WriteString(pub.in.(io.Writer), manyLines())
		pub.in.Close()
	}()
	if got := victim.line(t); got != manyLine(0) {
		t.Errorf("the victim got %q", got)
	}
	read := make(chan bool)
	go func() {
		defer close(read)
		wantMany(t, one)
	}()
	eventually(t, "the publisher waits for the victim", func() bool {
		l := statOf(t, folder, "n")
		return len(l.Publishers) == 1 && l.Publishers[0].Waiting
	})
	victim.Process.Kill()
	pub.wantExit(t, 0, "1,000,000 messages")
	<-read
	one.wantExit(t, 0, "")
	if strings.Contains(one.stderr.String(), "lost") {
		t.Error(one.stderr.String())
	}
}

// The same of a subscriber that is stopped, which then goes on: nobody has lost
// anything. Meanwhile stat says who it is.
func TestStoppedSubscriberIsWaitedFor(t *testing.T) {
	folder := t.TempDir()
	pub := inFolder(t, folder, "pub", "n", "--no-wait")
	sub := inFolder(t, folder, "sub", "n", "--until-end")
	subscribed(t, folder, "n", 1)
	sub.Process.Signal(syscall.SIGSTOP)
	go func() {
		io.WriteString(pub.in.(io.Writer), manyLines())
		pub.in.Close()
	}()
	var l looks
	eventually(t, "the publisher waits", func() bool {
		l = statOf(t, folder, "n")
		return len(l.Publishers) == 1 && l.Publishers[0].Waiting
	})
	p := l.Publishers[0]
	if p.PID != pub.Process.Pid || p.Policy != "block" || p.Blocked == 0 || len(p.Subscriptions) != 1 {
		t.Fatalf("%+v", l)
	}
	s := p.Subscriptions[0]
	if s.PID != sub.Process.Pid || s.Answering || s.Received+s.Lag != p.Published || s.Lag == 0 || s.Lost != 0 {
		t.Errorf("the subscription: %+v of %+v", s, p)
	}
	if len(l.Silent) != 1 || l.Silent[0].PID != sub.Process.Pid || l.Silent[0].Role != "subscriber" {
		t.Errorf("not answering: %+v", l.Silent)
	}
	sub.Process.Signal(syscall.SIGCONT)
	wantMany(t, sub)
	sub.wantExit(t, 0, "")
	pub.wantExit(t, 0, "1,000,000 messages")
}

// Under drop-oldest a stopped subscriber is not waited for, and is told exactly what
// it has lost.
func TestSubscriberIsToldWhatItLost(t *testing.T) {
	folder := t.TempDir()
	pub := inFolder(t, folder, "pub", "n", "--policy", "drop-oldest", "--no-wait")
	sub := inFolder(t, folder, "sub", "n", "--until-end")
	subscribed(t, folder, "n", 1)
	sub.Process.Signal(syscall.SIGSTOP)
	pub.write(t, manyLines())
	pub.in.Close()
	pub.wantExit(t, 0, "waited 0 times")
	sub.Process.Signal(syscall.SIGCONT)
	printed := 0
	for ; sub.out.Scan(); printed++ {
	}
	if got := sub.exit(t); got != 0 {
		t.Errorf("code %d", got)
	}
	lost := 0
	for _, m := range regexp.MustCompile(`lost (\d+) messages of publisher [0-9a-f]{16} of "n": too slow`).FindAllStringSubmatch(sub.stderr.String(), -1) {
		n, _ := strconv.Atoi(m[1])
		lost += n
	}
	if lost == 0 || printed+lost != many {
		t.Errorf("printed %d, lost %d, of %d: %s", printed, lost, many, sub.stderr.String())
	}
}

// A line goes its way at once, though the input has not ended, and what has no end
// yet does not.
func TestLinesAreNotDelayed(t *testing.T) {
	folder := t.TempDir()
	pub := inFolder(t, folder, "pub", "n")
	sub := inFolder(t, folder, "sub", "n")
	for i := range 100 {
		pub.write(t, fmt.Sprintf("%d\nhalf ", i))
		want := fmt.Sprintf("half %d", i)
		if i == 0 {
			want = "0"
		}
		if got := sub.line(t); got != want {
			t.Fatalf("%q, want %q", got, want)
		}
	}
	// Who comes late gets what is still there, if asked to.
	late := inFolder(t, folder, "sub", "n", "--history", "2", "--count", "2")
	if one, two := late.line(t), late.line(t); one != "half 98" || two != "half 99" {
		t.Errorf("the last two are %q and %q", one, two)
	}
	late.wantExit(t, 0, "")
	all, _, code := run(t, "sub", "n", "--history", "all", "--timeout", "0", "--folder", folder)
	if strings.Count(all, "\n") != 100 || code != 0 {
		t.Errorf("code %d, %q", code, all)
	}
	peek := inFolder(t, folder, "sub", "n", "--peek", "--history", "1", "--raw")
	eventually(t, "it peeks", func() bool {
		subs := statOf(t, folder, "n").Publishers[0].Subscriptions
		for _, s := range subs {
			if s.Peeks && s.PID == peek.Process.Pid && s.Received == 1 {
				return true
			}
		}
		return false
	})
	pub.in.Close()
	pub.wantExit(t, 0, "101 messages") // with the half one
	if got := sub.line(t); got != "half " {
		t.Errorf("%q", got)
	}
}

func TestSubscriberEndsWithItsReader(t *testing.T) {
	folder := t.TempDir()
	sub := exec.Command(memlane, "sub", "n", "--folder", folder)
	var stderr strings.Builder
	sub.Stderr = &stderr
	out, err := sub.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := sub.Start(); err != nil {
		t.Fatal(err)
	}
	defer sub.Process.Kill()
	pub := inFolder(t, folder, "pub", "n")
	pub.write(t, "one\n")
	readUntil(t, out, "one\n")
	out.Close()
	pub.write(t, manyLines())
	pub.in.Close()
	pub.wantExit(t, 0, "1,000,001 messages")
	sub.Wait()
	said := strings.TrimSuffix(stderr.String(), "memlane: waiting for a publisher of \"n\"\n")
	if code := sub.ProcessState.ExitCode(); code != 141 || said != "" {
		t.Errorf("code %d: %s", code, said)
	}
}

func TestPubSubInterrupted(t *testing.T) {
	catchInterrupt(t)
	folder := t.TempDir()
	pub := inFolder(t, folder, "pub", "n")
	sub := inFolder(t, folder, "sub", "n")
	counting := inFolder(t, folder, "sub", "n", "--count", "1000")
	subscribed(t, folder, "n", 2)
	pub.write(t, "one\ntwo\nthr")
	if one, two := sub.line(t), sub.line(t); one != "one" || two != "two" {
		t.Errorf("%q, %q", one, two)
	}
	counting.line(t)
	sub.Process.Signal(os.Interrupt)
	sub.wantExit(t, 0, "")
	counting.Process.Signal(os.Interrupt)
	counting.wantExit(t, 130, "")
	pub.Process.Signal(os.Interrupt)
	pub.wantExit(t, 130, "2 messages, 6 bytes")

	// While the publisher waits for the first subscriber, or for a slow one.
	waiting := inFolder(t, folder, "pub", "m")
	eventually(t, "there is a publisher", func() bool { return len(statOf(t, folder, "m").Publishers) == 1 })
	waiting.Process.Signal(os.Interrupt)
	waiting.wantExit(t, 130, "waiting for a first subscriber")
	stopped := inFolder(t, folder, "sub", "s")
	blocked := inFolder(t, folder, "pub", "s")
	subscribed(t, folder, "s", 1)
	stopped.Process.Signal(syscall.SIGSTOP)
	go io.WriteString(blocked.in.(io.Writer), manyLines())
	eventually(t, "the publisher waits", func() bool { return statOf(t, folder, "s").Publishers[0].Waiting })
	blocked.Process.Signal(os.Interrupt)
	blocked.wantExit(t, 130, "waited 1 times")
}

// Who was killed is shown as stale, until somebody else opens the domain.
func TestListMarksTheDead(t *testing.T) {
	folder := t.TempDir()
	sub := inFolder(t, folder, "sub", "n", "--domain", "shop")
	eventually(t, "it has subscribed", func() bool {
		out, _, code := run(t, "ls", "--folder", folder)
		return code == 0 && regexp.MustCompile(`(?m)^shop +n +0 +1 *$`).MatchString(out)
	})
	sub.Process.Kill()
	sub.exit(t)
	want(t, 0, "1 stale", "ls", "--folder", folder, "--domain", "shop")
	want(t, 3, "nobody takes part in it", "stat", "n", "--folder", folder, "--domain", "shop")
	run(t, "sub", "other", "--timeout", "0", "--folder", folder, "--domain", "shop")
	if out, _, _ := run(t, "ls", "--folder", folder); strings.Contains(out, "shop") {
		t.Errorf("somebody is left: %s", out)
	}
}

// What the dead have left is removed, the domain's folder too if that was all, and
// nothing of the living.
func TestClean(t *testing.T) {
	folder := t.TempDir()
	subscribes := func(domain string) *process {
		p := inFolder(t, folder, "sub", "n", "--domain", domain)
		eventually(t, "it has subscribed", func() bool {
			out, _, code := run(t, "ls", "--folder", folder)
			return code == 0 && regexp.MustCompile(`(?m)^`+domain+` +n +0 +1\b`).MatchString(out)
		})
		return p
	}
	dead, alsoDead := subscribes("empty"), subscribes("used")
	alive := subscribes("alive")
	another := inFolder(t, folder, "sub", "other", "--domain", "used")
	eventually(t, "another one is there", func() bool {
		out, _, _ := run(t, "ls", "--folder", folder)
		return strings.Contains(out, "other")
	})
	for _, p := range []*process{dead, alsoDead} {
		p.Process.Kill()
		p.exit(t)
	}
	alive.Process.Signal(syscall.SIGSTOP) // which is not death
	want(t, 0, "1 stale", "ls", "--folder", folder)
	cleans := func(t *testing.T, removed string, args ...string) {
		t.Helper()
		out, stderr, code := run(t, append([]string{"clean", "--folder", folder}, args...)...)
		for _, want := range []string{`empty +participant [0-9a-f]{16} +subscriber of n +`, `empty +folder, nobody is in it +- +`, `used +participant [0-9a-f]{16} +subscriber of n +`} {
			if !regexp.MustCompile(`(?m)^` + want + removed + `$`).MatchString(out) {
				t.Errorf("no line %q in\n%s", want+removed, out)
			}
		}
		if code != 0 || strings.Contains(out, "alive") || strings.Contains(out, "other") || strings.Contains(stderr, "--yes") != (removed == "no") {
			t.Errorf("code %d: %s%s", code, out, stderr)
		}
	}
	cleans(t, "no")
	cleans(t, "no")
	cleans(t, "yes", "--yes")
	want(t, 0, "DOMAIN", "clean", "--folder", folder)
	if out, _, _ := run(t, "ls", "--folder", folder); strings.Contains(out, "stale") || strings.Contains(out, "empty") || !strings.Contains(out, "alive") || !strings.Contains(out, "other") {
		t.Errorf("after that there is %s", out)
	}
	for domain, want := range map[string]bool{"empty": false, "used": true, "alive": true} {
		if _, err := os.Stat(filepath.Join(folder, domain+".domain")); (err == nil) != want {
			t.Errorf("the folder of %s: %v", domain, err)
		}
	}
	alive.Process.Signal(syscall.SIGCONT)
	pub := inFolder(t, folder, "pub", "n", "--domain", "alive")
	io.WriteString(pub.in.(io.Writer), "still here\n")
	pub.in.Close()
	if line := alive.line(t); line != "still here" {
		t.Errorf("it gets %q", line)
	}
	another.Process.Kill()
	want(t, 0, "DOMAIN", "clean", "--yes", "--folder", folder, "--domain", "never")
	want(t, 2, "a domain's name", "clean", "--yes", "--folder", folder, "--domain", "a/b")
}

// The two programs of the README.
func TestPubSubExamples(t *testing.T) {
	folder := t.TempDir()
	built := t.TempDir()
	build := exec.Command("go", "build", "-o", built+string(os.PathSeparator), "./examples/pubsub/...")
	build.Dir = ".."
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	env := append(os.Environ(), "MEMLANE_DIR="+folder)
	subscriber, publisher := exec.Command(built+"/subscriber"), exec.Command(built+"/publisher")
	subscriber.Env, publisher.Env = env, env
	sub := startCommand(t, subscriber)
	pub := startCommand(t, publisher)
	for i := range 3 {
		if got, want := sub.line(t), fmt.Sprintf("%d espresso %d", i, i); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	pub.wantExit(t, 0, "")
}

// A subscriber whose publisher has another schema is shown as refused, and why.
func TestStatShowsRefusals(t *testing.T) {
	folder := t.TempDir()
	d, err := lane.Open("default", &lane.Config{Folder: folder})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := pubsub.SubscribeOf[uint64](d, "n", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := pubsub.PublishOf[float64](d, "n", nil); err != nil {
		t.Fatal(err)
	}
	out, stderr, code := run(t, "stat", "n", "--folder", folder)
	for _, want := range []string{`(?m)^ .* - +refused$`, `(?m)refuses subscriber [0-9a-f]{16}: the whole: the publisher has f64, the subscriber u64$`} {
		if code != 0 || !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("code %d, %s%s; want %s", code, out, stderr, want)
		}
	}
	if strings.Contains(out, "no publisher") {
		t.Errorf("it has one: %s", out)
	}
}
