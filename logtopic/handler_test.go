package logtopic_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/slogtest"
	"time"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/logtopic"
	"github.com/memlane/memlane/pubsub"
)

func TestMain(m *testing.M) {
	proctest.Main(m, map[string]proctest.Helper{
		"log":  logForEver,
		"drop": logAndDrop,
		"read": read,
	})
}

var background = context.Background()

// open opens the domain of a test, which is in a folder of its own.
func open(t testing.TB, folder string) *memlane.Domain {
	t.Helper()
	d, err := memlane.Open("test", &memlane.Config{Folder: folder})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// soon ends when a test waits in vain.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(background, 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// pair is a handler, and who receives what it publishes.
func pair(t testing.TB, c *logtopic.Config) (*logtopic.Handler, *pubsub.Subscriber) {
	t.Helper()
	d := open(t, t.TempDir())
	h, err := logtopic.NewHandler(d, "logs", c)
	if err != nil {
		t.Fatal(err)
	}
	s, err := pubsub.Subscribe(d, "logs", &pubsub.SubscriberConfig{ContentType: logtopic.ContentType})
	if err != nil {
		t.Fatal(err)
	}
	return h, s
}

// next returns the next record, decoded.
func next(t testing.TB, s *pubsub.Subscriber) map[string]any {
	t.Helper()
	m, err := s.TryReceive()
	if err != nil {
		t.Fatal(err)
	}
	record := map[string]any{}
	if err := json.Unmarshal(m.Data, &record); err != nil || bytes.ContainsRune(m.Data, '\n') {
		t.Fatalf("%v: %s", err, m.Data)
	}
	return record
}

func TestSlogtest(t *testing.T) {
	var s *pubsub.Subscriber
	slogtest.Run(t, func(t *testing.T) slog.Handler {
		var h *logtopic.Handler
		h, s = pair(t, nil)
		return h
	}, func(t *testing.T) map[string]any { return next(t, s) })
}

// secret is never logged as it is.
type secret string

func (secret) LogValue() slog.Value { return slog.GroupValue(slog.String("is", "hidden")) }

// fragile is an error whose method does not expect nil.
type fragile struct{ text string }

func (f *fragile) Error() string { return f.text }

// nothing is a group that is empty, which only its value knows.
type nothing struct{}

func (nothing) LogValue() slog.Value { return slog.GroupValue() }

type broken struct{}

func (broken) MarshalJSON() ([]byte, error) { panic("it is broken") }

// What a record says is what slog's JSONHandler makes of it, but for whose it is.
func TestSameAsJSONHandler(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 890, time.FixedZone("east", 3600))
	for name, log := range map[string]func(l *slog.Logger){
		"nothing": func(l *slog.Logger) { l.Info("") },
		"kinds":   func(l *slog.Logger) { l.Info("m", "s", "t", "i", -1, "u", uint64(math.MaxUint64), "b", true) },
		"times":   func(l *slog.Logger) { l.Info("m", "t", now, "d", time.Hour) },
		"floats": func(l *slog.Logger) {
			l.Info("m", "a", 0.1, "b", 1e-7, "c", 1e21, "d", math.Copysign(0, -1), "e", math.MaxFloat64)
		},
		"levels": func(l *slog.Logger) {
			l.Debug("a")
			l.Warn("b")
			l.Error("c")
			l.Log(background, slog.LevelWarn+1, "d")
		},
		"any":      func(l *slog.Logger) { l.Info("m", "m", map[string]int{"a<b": 1}, "s", []string{"x"}, "n", nil) },
		"bytes":    func(l *slog.Logger) { l.Info("m", "b", []byte{1, 2}, "raw", json.RawMessage(`{ "a": 1 }`)) },
		"error":    func(l *slog.Logger) { l.Info("m", "err", fmt.Errorf("open: %w", os.ErrNotExist)) },
		"no value": func(l *slog.Logger) { l.Info("m", []any{"alone"}...) },
		"escapes": func(l *slog.Logger) {
			l.Info("\"\\\n\r\t\b\x00\x1b[31m", "k\"\n", "12345678\"", "q", `1234"678`, "s", `1234\678`, "long", strings.Repeat("plain ", 9)+"\\")
		},
		"languages":     func(l *slog.Logger) { l.Info("größer als 日本", "schlüssel", "\u2028", "x", "1234567é") },
		"not UTF-8":     func(l *slog.Logger) { l.Info("a\xffb", "k", "\xc3") },
		"valuer":        func(l *slog.Logger) { l.Info("m", "s", secret("x"), "e", secret("y")) },
		"groups":        func(l *slog.Logger) { l.Info("m", slog.Group("g", "a", 1, slog.Group("h", "b", 2)), "c", 3) },
		"empty groups":  func(l *slog.Logger) { l.Info("m", slog.Group("g", slog.Group("h")), slog.Attr{}, "c", 3) },
		"inline group":  func(l *slog.Logger) { l.Info("m", slog.Group("", "a", 1), "c", 3) },
		"empty key":     func(l *slog.Logger) { l.Info("m", "", 1) },
		"with":          func(l *slog.Logger) { l.With("a", 1).With("b", 2).Info("m", "c", 3) },
		"with group":    func(l *slog.Logger) { l.With("a", 1).WithGroup("g").With("b", 2).WithGroup("h").Info("m", "c", 3) },
		"unused groups": func(l *slog.Logger) { l.With("a", 1).WithGroup("g").WithGroup("h").Info("m") },
		"only empty":    func(l *slog.Logger) { l.With("a", 1).WithGroup("g").Info("m", slog.Group("h")) },
		"group later":   func(l *slog.Logger) { l.WithGroup("g").With("a", 1).Info("m") },
		"one of two": func(l *slog.Logger) {
			// Of different ones, with room behind what they have in common.
			g := l.With("long enough for some room behind", 1).WithGroup("g").WithGroup("h").WithGroup("i")
			a, b, c, d := g.WithGroup("j"), g.WithGroup("k"), l.With("long enough for some room behind", 1), g.With("a", 1)
			e, f, h, i := c.With("b", 2), c.With("c", 3), d.With("b", 4), d.With("c", 5)
			for _, l := range []*slog.Logger{a, b, c, d, e, f, g, h, i} {
				l.Info("m", "x", 1)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h, s := pair(t, &logtopic.Config{Level: slog.LevelDebug})
			var text bytes.Buffer
			log(slog.New(h))
			log(slog.New(slog.NewJSONHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug})))
			lines := json.NewDecoder(&text)
			for lines.More() {
				want := map[string]any{}
				if err := lines.Decode(&want); err != nil {
					t.Fatal(err)
				}
				got := next(t, s)
				if got["program"] != filepath.Base(os.Args[0]) || got["pid"] != float64(os.Getpid()) {
					t.Errorf("it is of %v %v", got["program"], got["pid"])
				}
				for _, r := range []map[string]any{got, want} {
					if at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(r["time"])); err != nil || time.Since(at).Abs() > time.Hour {
						t.Errorf("at %v", r["time"])
					}
					delete(r, "time")
				}
				delete(got, "program")
				delete(got, "pid")
				if !reflect.DeepEqual(got, want) {
					t.Errorf("%v\nwant %v", got, want)
				}
			}
			if _, err := s.TryReceive(); err != pubsub.ErrEmpty {
				t.Errorf("there is more: %v", err)
			}
		})
	}
}

// A group is left out though only its values know that nothing is in it, where JSONHandler
// has an empty one.
func TestResolvedToNothing(t *testing.T) {
	h, s := pair(t, nil)
	log := slog.New(h).WithGroup("g")
	log.Info("m", "h", nothing{}, "i", nothing{})
	log.With("h", nothing{}).Info("m")
	for range 2 {
		if g, there := next(t, s)["g"]; there {
			t.Errorf("there is %v", g)
		}
	}
}

// Values that JSON does not have, or that fail, are strings that say so.
func TestValuesThatFail(t *testing.T) {
	h, s := pair(t, &logtopic.Config{Program: "a \"name\""})
	var none *fragile
	slog.New(h).Info("m", "nan", math.NaN(), "up", math.Inf(1), "down", math.Inf(-1), "nil", none, "panic", broken{}, "func", func() {})
	got := next(t, s)
	delete(got, "time")
	want := map[string]any{"level": "INFO", "msg": "m", "program": `a "name"`, "pid": float64(os.Getpid()), "nan": "NaN", "up": "Infinity",
		"down": "-Infinity", "nil": nil, "panic": "!PANIC: it is broken", "func": "!ERROR: json: unsupported type: func()"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v\nwant %v", got, want)
	}
}

func TestSource(t *testing.T) {
	h, s := pair(t, &logtopic.Config{AddSource: true})
	pc, file, line, _ := runtime.Caller(0)
	slog.New(h).Info("m")
	got, _ := next(t, s)["source"].(map[string]any)
	if want := map[string]any{"function": runtime.FuncForPC(pc).Name(), "file": file, "line": float64(line + 1)}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	// Who makes a record may not say where.
	if err := h.Handle(background, slog.NewRecord(time.Now(), slog.LevelInfo, "m", 0)); err != nil {
		t.Fatal(err)
	}
	if got, there := next(t, s)["source"]; there {
		t.Errorf("it is from %v", got)
	}
}

func TestLevel(t *testing.T) {
	level := new(slog.LevelVar)
	h, s := pair(t, &logtopic.Config{Level: level})
	log := slog.New(h).With("a", 1)
	log.Debug("not this")
	level.Set(slog.LevelDebug)
	log.Debug("this")
	if got := next(t, s); got["msg"] != "this" {
		t.Errorf("got %v", got)
	}
}

// What any message and key become is what package json makes of them.
func FuzzRecord(f *testing.F) {
	h, s := pair(f, nil)
	proctest.Fuzz(f, [][]byte{[]byte("plain, and longer than a word"), []byte("\"\\\n\x00\x1f\x20\x7f\x80"), []byte("esc\x1bape!"), []byte("1234567\xe2\x80\xa8é\xff"), {}}, func(b []byte) error {
		text := string(b)
		r := slog.NewRecord(time.Time{}, slog.LevelInfo, text, 0)
		r.AddAttrs(slog.String("k"+text, text))
		if err := h.Handle(background, r); err != nil {
			return err
		}
		m, err := s.TryReceive()
		if err != nil {
			return err
		}
		encoded, err := json.Marshal(text)
		if err != nil {
			return err
		}
		var want string
		got := map[string]any{}
		if err := errors.Join(json.Unmarshal(encoded, &want), json.Unmarshal(m.Data, &got)); err != nil {
			return fmt.Errorf("%w: %s", err, m.Data)
		}
		if got["msg"] != want || got["k"+want] != want {
			return fmt.Errorf("%q is %s", text, m.Data)
		}
		return nil
	})
}

// chatty logs when it is logged.
type chatty struct{ log *slog.Logger }

func (c chatty) LogValue() slog.Value {
	c.log.Info("inner")
	return slog.StringValue("outer")
}

// Many goroutines log at once, with values that log too: each record is whole, those of a
// goroutine are in order, and what is received and lost is what was logged.
func TestManyGoroutines(t *testing.T) {
	const goroutines, each = 8, 20_000
	h, s := pair(t, &logtopic.Config{Slots: 64})
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer h.Close()
		var all sync.WaitGroup
		for g := range goroutines {
			all.Go(func() {
				log := slog.New(h).With("goroutine", g)
				for i := range each {
					log.Info("outer", "number", i, "v", chatty{log})
				}
			})
		}
		all.Wait()
	}()
	var received, lost uint64
	last := map[float64]float64{}
	soon := soon(t)
	for received+lost < 2*goroutines*each {
		m, err := s.Receive(soon)
		var lagged *pubsub.LaggedError
		if errors.As(err, &lagged) {
			lost += lagged.Lost
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		received++
		r := map[string]any{}
		if err := json.Unmarshal(m.Data, &r); err != nil {
			t.Fatalf("%v: %s", err, m.Data)
		}
		if r["msg"] == "inner" {
			continue
		}
		g, i := r["goroutine"].(float64), r["number"].(float64)
		if before, ok := last[g]; ok && i <= before || r["v"] != "outer" {
			t.Fatalf("after %v of %v comes %s", before, g, m.Data)
		}
		last[g] = i
	}
	<-done
	if _, err := s.TryReceive(); err != pubsub.ErrEmpty || h.Dropped() != 0 {
		t.Errorf("there is more: %v; %d dropped", err, h.Dropped())
	}
}

// What cannot be published is dropped, counted and told, whatever the reason.
func TestDropped(t *testing.T) {
	h, s := pair(t, &logtopic.Config{ArenaLimit: 64 << 10})
	log := slog.New(h)
	with := log.With("a", 1).WithGroup("g")
	want := func(n uint64) {
		t.Helper()
		if got := h.Dropped(); got != n {
			t.Errorf("%d dropped, not %d", got, n)
		}
		with.Info("next", "b", 2)
		told, _ := next(t, s)["!dropped"].(float64)
		if uint64(told) != n {
			t.Errorf("%v are told, not %d", told, n)
		}
	}
	want(0)
	// Too large.
	large := strings.Repeat("x", 64<<10)
	log.Info(large)
	want(1)
	with.Info("m", "b", large)
	log.Info("m", "b", large)
	want(3)
	r := slog.NewRecord(time.Now(), slog.LevelInfo, large, 0)
	if err := h.Handle(background, r); !errors.Is(err, pubsub.ErrTooLarge) || !strings.HasPrefix(err.Error(), "logtopic: a record is dropped: ") {
		t.Error(err)
	}
	want(4)
	want(4)
	// Because a reader has borrowed what there is.
	log.Info(large[:6<<10])
	held, err := s.Borrow(background)
	if err != nil {
		t.Fatal(err)
	}
	r.Message = large[:40<<10]
	if err := h.Handle(background, r); !errors.Is(err, pubsub.ErrArenaFull) {
		t.Error(err)
	}
	want(5)
	held.Release()
	if err := h.Handle(background, r); err != nil {
		t.Error(err)
	}
	if got := next(t, s)["msg"]; got != r.Message {
		t.Errorf("got %v", got)
	}
	want(5)
	// After the end.
	for range 2 {
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
	log.Info("m")
	if err := h.Handle(background, r); !errors.Is(err, pubsub.ErrClosed) || h.Dropped() != 7 {
		t.Errorf("%v, %d dropped", err, h.Dropped())
	}
}

// A handler is closed while goroutines log: what is received is what was not dropped.
func TestClosing(t *testing.T) {
	for range 50 {
		h, s := pair(t, nil)
		var logged atomic.Uint64
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				log := slog.New(h)
				for h.Dropped() == 0 {
					log.Info("m")
					logged.Add(1)
				}
			})
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		all.Wait()
		var received uint64
		for s.Publishers() > 0 {
			_, err := s.TryReceive()
			var lagged *pubsub.LaggedError
			switch {
			case err == nil:
				received++
			case errors.As(err, &lagged):
				received += lagged.Lost
			case err != pubsub.ErrEmpty:
				t.Fatal(err)
			}
		}
		if received+h.Dropped() != logged.Load() {
			t.Fatalf("%d received or lost, %d dropped, of %d", received, h.Dropped(), logged.Load())
		}
		s.Close()
	}
}

// The domain is closed before the handler: records are dropped, and counted.
func TestDroppedAfterDomain(t *testing.T) {
	d := open(t, t.TempDir())
	h, err := logtopic.NewHandler(d, "logs", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	r := slog.NewRecord(time.Now(), slog.LevelInfo, "m", 0)
	if err := h.Handle(background, r); !errors.Is(err, pubsub.ErrClosed) || h.Dropped() != 1 {
		t.Errorf("%v, %d dropped", err, h.Dropped())
	}
}

func TestConfig(t *testing.T) {
	d := open(t, t.TempDir())
	for _, c := range []logtopic.Config{{Slots: -1}, {SlotBytes: -1}, {ArenaLimit: -1}} {
		if _, err := logtopic.NewHandler(d, "logs", &c); !errors.Is(err, os.ErrInvalid) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	var failed *pubsub.Error
	if _, err := logtopic.NewHandler(d, "", nil); !errors.As(err, &failed) {
		t.Error(err)
	}
}

// A subscriber that wants something else is told.
func TestContentType(t *testing.T) {
	d := open(t, t.TempDir())
	if _, err := logtopic.NewHandler(d, "logs", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := pubsub.Subscribe(d, "logs", &pubsub.SubscriberConfig{ContentType: "text/plain"}); !errors.Is(err, pubsub.ErrRefused) {
		t.Error(err)
	}
}
