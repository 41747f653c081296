package meet_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/memlane/memlane/internal/meet"
)

// Two processes meet, talk, hand over a file, part, and meet again under another
// port.
func TestTwoProcesses(t *testing.T) {
	dir := domain(t)
	a, b := start(t, nil, dir), start(t, nil, dir)
	a.must("add p publisher a/topic")
	b.must("add s subscriber a/topic")
	// The later one has found when Add returns; the earlier one finds at that time.
	atB := b.read
	pub, sub := a.id+"/1", b.id+"/1"
	if want := fmt.Sprintf("s found publisher %s %q", pub, "settings of p"); !slices.Equal(atB, []string{want}) {
		t.Fatalf("when Add returned, the subscriber had been told %q; want %q", atB, want)
	}
	b.read = nil
	a.want("p found subscriber " + sub)

	a.must("send p "+sub+" 65535 text content", "send p "+sub+" 2 more")
	b.want(fmt.Sprintf("s heard %s 65535 %q", pub, "text"))
	b.want(`s file "content" <nil>`)
	b.want(fmt.Sprintf("s heard %s 2 %q", pub, "more"))
	b.must("send s " + pub + " 3 back")
	a.want(fmt.Sprintf("p heard %s 3 %q", sub, "back"))

	// A second pair over the same connection; other names do not meet.
	b.must("add o observer a/topic", "add x publisher other")
	b.want("o found publisher " + pub)
	b.want("o found subscriber " + sub)
	b.want("s found observer " + b.id + "/2")
	a.want("p found observer " + b.id + "/2")

	b.must("remove s")
	b.want("s lost " + pub)
	b.want("s lost " + b.id + "/2")
	b.want("o lost " + sub)
	a.want("p lost " + sub)
	b.must("add s2 subscriber a/topic")
	a.want("p found subscriber " + b.id + "/4")
	b.want("s2 found publisher " + pub)
	b.want("s2 found observer " + b.id + "/2")
	b.want("o found subscriber " + b.id + "/4")

	a.must("close")
	a.want("p lost " + b.id + "/2")
	a.want("p lost " + b.id + "/4")
	b.want("o lost " + pub)
	b.want("s2 lost " + pub)
	a.nothing()
	b.nothing()
	b.must("close")
	for _, folder := range []string{"sockets", "ports"} {
		left, err := os.ReadDir(filepath.Join(dir, folder))
		if err != nil || len(left) > 0 {
			t.Errorf("left in %s: %v, %v", folder, left, err)
		}
	}
}

// Who runs, and has only not come to answer, is waited for, by who has no patience with
// those that are stopped.
func TestSlowIsWaitedFor(t *testing.T) {
	for range 5 {
		dir := domain(t)
		a, b := start(t, nil, dir), start(t, nil, dir, "hasty")
		for i := range 5 {
			a.must(fmt.Sprintf("add p%d publisher topic%d", i, i))
			b.read = nil
			b.must(fmt.Sprintf("add s%d subscriber topic%d", i, i))
			if want := fmt.Sprintf("s%d found publisher %s/%d %q", i, a.id, i+1, fmt.Sprint("settings of p", i)); !slices.Contains(b.read, want) {
				t.Errorf("when Add returned, the subscriber had been told %q; want %q", b.read, want)
			}
		}
	}
}

// Many processes open at once and add both roles in random order: every port finds
// every port of the other role of everybody, itself included, exactly once, and what
// they send each other from Found comes once and in order. What is right is said
// here, from the ids that they print.
func TestManyAtOnce(t *testing.T) {
	const many, greetings = 16, 3
	dir := domain(t)
	var all []*participant
	for range many {
		all = append(all, start(t, nil, dir))
	}
	subID, pubID := map[string]string{}, map[string]string{}
	for _, p := range all {
		orders := []string{fmt.Sprintf("add p publisher topic %d", greetings), fmt.Sprintf("add s subscriber topic %d", greetings)}
		subID[p.id], pubID[p.id] = "2", "1"
		if rand.IntN(2) == 0 {
			slices.Reverse(orders)
			subID[p.id], pubID[p.id] = "1", "2"
		}
		for _, order := range orders {
			p.Send(order)
		}
	}
	for _, p := range all {
		found, heard := map[string]int{}, map[string][]string{}
		for len(found) < 2*many || len(heard) < 2*many || total(heard) < 2*many*greetings {
			line := strings.Fields(p.Line())
			switch {
			case line[1] == "found":
				found[line[0]+" "+line[2]+" "+line[3]]++
			case line[1] == "heard":
				heard[line[0]+" "+line[2]] = append(heard[line[0]+" "+line[2]], line[3])
			case line[0] == "=" && line[2] == "<nil>":
			default:
				t.Fatalf("%s says %q", p.id, line)
			}
		}
		for _, other := range all {
			for _, want := range []string{
				"p subscriber " + other.id + "/" + subID[other.id],
				"s publisher " + other.id + "/" + pubID[other.id],
			} {
				if found[want] != 1 {
					t.Errorf("%s found %q %d times", p.id, want, found[want])
				}
				port, where := want[:1], want[strings.LastIndexByte(want, ' '):]
				if got := heard[port+where]; !slices.Equal(got, []string{"0", "1", "2"}) {
					t.Errorf("%s heard %q from %q", p.id, got, want)
				}
			}
		}
		if got := p.do("troubles"); got != "<nil>" {
			t.Errorf("%s has troubles: %s", p.id, got)
		}
		p.read = slices.DeleteFunc(p.read, func(line string) bool { return line == "= add <nil>" })
		p.nothing()
	}
}

func total(m map[string][]string) (n int) {
	for _, list := range m {
		n += len(list)
	}
	return n
}

// Two that begin at the same moment, again and again.
func TestPairAtOnce(t *testing.T) {
	dir := domain(t)
	a, b := start(t, nil, dir), start(t, nil, dir)
	const topics = 10
	for range 50 {
		// On the first topic they connect; on the others they have one already.
		for i := range topics {
			topic := strconv.Itoa(i)
			a.Send("add p publisher " + topic + " 1")
			b.Send("add s subscriber " + topic + " 1")
			atA, atB := b.id+"/"+strconv.Itoa(i+1), a.id+"/"+strconv.Itoa(i+1)
			a.want("p found subscriber " + atA)
			b.want("s found publisher " + atB)
			a.want("p heard " + atA + " 0")
			b.want("s heard " + atB + " 0")
			a.want("= add <nil>")
			b.want("= add <nil>")
		}
		a.nothing()
		b.nothing()
		list, err := meet.List(dir)
		if err != nil || len(list) != 2*topics {
			t.Errorf("listed %d entries, %v", len(list), err)
		}
		old := a.id
		a.id = strings.TrimSuffix(a.do("again"), " <nil>")
		for i := topics; i > 0; i-- { // 10 before 1, with which it begins
			b.want("s lost " + old + "/" + strconv.Itoa(i))
		}
		b.id = strings.TrimSuffix(b.do("again"), " <nil>")
		a.read, b.read = nil, nil
	}
}
