package test

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// Metrics tells of processes that know nothing of it, until it is interrupted.
func TestMetrics(t *testing.T) {
	folder := t.TempDir()
	sub, pub := inFolder(t, folder, "sub", "n"), inFolder(t, folder, "pub", "n")
	pub.write(t, "one\ntwo\n")
	sub.line(t)
	sub.line(t)
	m := inFolder(t, folder, "metrics", "--listen", "127.0.0.1:0")
	url := strings.TrimPrefix(m.line(t), "serving ")
	get := func(url string) (string, int) {
		t.Helper()
		r, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body), r.StatusCode
	}
	body, code := get(url)
	for _, want := range []string{
		`memlane_messages_published_total\{domain="default",pid="\d+",publisher="[0-9a-f]{16}",topic="n"\} 2`,
		`memlane_participants\{domain="default",state="alive"\} 2`,
		`memlane_messages_lost_total\{.*topic="n"\} 0`,
		`# TYPE memlane_messages_received_total counter`,
	} {
		if code != 200 || !regexp.MustCompile(`(?m)^`+want+`$`).MatchString(body) {
			t.Errorf("code %d, no line %s in\n%s", code, want, body)
		}
	}
	if _, code := get(strings.TrimSuffix(url, "metrics")); code != 404 {
		t.Errorf("elsewhere it is %d", code)
	}
	want(t, 1, "give another address with --listen", "metrics", "--listen", strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/metrics"), "--folder", folder)
	m.Process.Signal(syscall.SIGINT)
	m.wantExit(t, 0, "")
}
