package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"
)

// recordText makes the lines of records, as slog's TextHandler does: what is in a group has
// its name before it. Its fields are of the last one.
type recordText struct {
	matches []match

	line    []byte
	at, lev []byte // the texts of its time and level; nil: it has none
	program []byte
	pid     []byte
	dropped uint64

	found  uint64 // which of matches it has, by bits
	key    []byte // of what is being read
	scalar []byte // the text of a string with escapes
}

const (
	// lineMost is how long a line can be: a hostile record has long names of groups.
	lineMost = 16 << 20
	// depthMost is how many groups can be within each other; what is deeper is printed as
	// it is.
	depthMost = 16
	// matchesMost is how many --match there can be: found has a bit of each.
	matchesMost = 64
)

// read reads a record, and makes its line.
func (r *recordText) read(b []byte) error {
	r.line, r.at, r.lev, r.program, r.pid, r.dropped, r.found, r.key = r.line[:0], nil, nil, nil, nil, 0, 0, r.key[:0]
	if !json.Valid(b) {
		return errors.New("it is not JSON")
	}
	s := jsonText{b: b}
	if s.space(); b[s.at] != '{' {
		return errors.New("it is JSON, but no object")
	}
	r.object(&s, 0)
	if len(r.line) > lineMost {
		return fmt.Errorf("its line has more than %d bytes", lineMost)
	}
	return nil
}

// object adds the fields of an object.
func (r *recordText) object(s *jsonText, depth int) {
	outer := len(r.key)
	s.at++ // {
	for s.space(); len(r.line) <= lineMost && s.b[s.at] != '}'; s.space() {
		if s.b[s.at] == ',' {
			s.at++
			s.space()
		}
		r.key = append(r.key[:outer], r.unquote(s.value())...)
		s.space()
		s.at++ // :
		s.space()
		if s.b[s.at] == '{' && depth < depthMost && !s.emptyObject() {
			r.key = append(r.key, '.')
			r.object(s, depth+1)
		} else {
			r.field(s.value(), depth)
		}
	}
	s.at++ // }
	r.key = r.key[:outer]
}

// field adds one that is no group. What has its place in a record counts where it is first.
func (r *recordText) field(value []byte, depth int) {
	text := value
	if value[0] == '"' {
		text = r.unquote(value)
	}
	if depth == 0 {
		switch string(r.key) {
		case "time":
			first(&r.at, text)
		case "level":
			first(&r.lev, text)
		case "program":
			first(&r.program, text)
		case "pid":
			first(&r.pid, text)
		case "!dropped":
			r.dropped, _ = strconv.ParseUint(string(text), 10, 64)
			return
		}
	}
	for i, m := range r.matches {
		if string(r.key) == m.key && string(text) == m.text {
			r.found |= 1 << i
		}
	}
	if len(r.line) > 0 {
		r.line = append(r.line, ' ')
	}
	r.line = appendText(r.line, r.key)
	r.line = append(r.line, '=')
	r.line = appendText(r.line, text)
}

func first(p *[]byte, text []byte) {
	if *p == nil {
		*p = append([]byte{}, text...)
	}
}

// unquote returns the text of a string, until the next one.
func (r *recordText) unquote(quoted []byte) []byte {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1]
	}
	var text string
	json.Unmarshal(quoted, &text) // it is valid
	r.scalar = append(r.scalar[:0], text...)
	return r.scalar
}

// appendText adds text, in quotes if it would be taken for something else without, or if it
// had the terminal do something.
func appendText(b, text []byte) []byte {
	if isWord(text) {
		return append(b, text...)
	}
	return strconv.AppendQuote(b, string(text))
}

func isWord(text []byte) bool {
	for i := 0; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf {
			if c <= ' ' || c == '"' || c == '=' || c == 0x7f {
				return false
			}
			i++
			continue
		}
		r, n := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return false
		}
		i += n
	}
	return len(text) > 0
}

// level returns the record's, if it has one.
func (r *recordText) level() (l slog.Level, ok bool) {
	return l, r.lev != nil && l.UnmarshalText(r.lev) == nil
}

// time returns when it was logged, if it says so.
func (r *recordText) time() (time.Time, bool) {
	t, err := time.Parse(time.RFC3339Nano, string(r.at))
	return t, err == nil
}

// process names the process that the record is of.
func (r *recordText) process(publisher uint64) string {
	switch {
	case r.pid == nil:
		return fmt.Sprintf("publisher %016x", publisher)
	case r.program == nil:
		return "process " + graphic(string(r.pid))
	}
	return graphic(string(r.program)) + "[" + graphic(string(r.pid)) + "]"
}

// matched says whether it has all that was asked for.
func (r *recordText) matched() bool { return r.found == 1<<len(r.matches)-1 }

// jsonText is valid JSON that is read from its beginning.
type jsonText struct {
	b  []byte
	at int
}

func (s *jsonText) space() {
	for s.at < len(s.b) && (s.b[s.at] == ' ' || s.b[s.at] == '\n' || s.b[s.at] == '\t' || s.b[s.at] == '\r') {
		s.at++
	}
}

func (s *jsonText) emptyObject() bool {
	rest := jsonText{s.b, s.at + 1}
	rest.space()
	return rest.b[rest.at] == '}'
}

// value returns the value, or key, that begins here, as it is written.
func (s *jsonText) value() []byte {
	begin, depth := s.at, 0
	for s.at < len(s.b) {
		switch c := s.b[s.at]; c {
		case '"':
			for s.at++; s.b[s.at] != '"'; s.at++ {
				if s.b[s.at] == '\\' {
					s.at++
				}
			}
			s.at++
		case '{', '[':
			depth++
			s.at++
		case '}', ']':
			if depth > 0 {
				depth--
				s.at++
			}
		case ',', ':', ' ', '\n', '\t', '\r':
			if depth > 0 {
				s.at++
			}
		default:
			s.at++
			continue // the number or word goes on
		}
		if depth == 0 {
			break
		}
	}
	return s.b[begin:s.at]
}
