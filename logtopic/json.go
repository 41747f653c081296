package logtopic

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"runtime"
	"strconv"
	"time"
	"unicode/utf8"
)

// appendAttr adds an attribute; those that are empty, and empty groups, not at all.
func appendAttr(b []byte, a slog.Attr) []byte {
	v := a.Value
	if v.Kind() == slog.KindLogValuer {
		v = v.Resolve()
	}
	switch v.Kind() {
	case slog.KindGroup:
		attrs := v.Group()
		if a.Key == "" { // they belong to the group that this one is in
			for _, inner := range attrs {
				b = appendAttr(b, inner)
			}
			return b
		}
		before := len(b)
		b = append(appendKey(b, a.Key), '{')
		begin := len(b)
		for _, inner := range attrs {
			b = appendAttr(b, inner)
		}
		if len(b) == begin {
			return b[:before]
		}
		return append(b, '}')
	case slog.KindAny:
		if a.Key == "" && v.Any() == nil {
			return b
		}
		return appendAny(appendKey(b, a.Key), v.Any())
	}
	b = appendKey(b, a.Key)
	switch v.Kind() {
	case slog.KindString:
		return appendString(b, v.String())
	case slog.KindInt64:
		return strconv.AppendInt(b, v.Int64(), 10)
	case slog.KindUint64:
		return strconv.AppendUint(b, v.Uint64(), 10)
	case slog.KindFloat64:
		return appendFloat(b, v.Float64())
	case slog.KindBool:
		return strconv.AppendBool(b, v.Bool())
	case slog.KindDuration:
		return strconv.AppendInt(b, int64(v.Duration()), 10)
	case slog.KindTime:
		return appendTime(b, v.Time())
	}
	panic(fmt.Sprintf("a value of kind %v", v.Kind())) // there are no others
}

// appendKey adds a key, behind what there is.
func appendKey(b []byte, key string) []byte {
	if len(b) == 0 || b[len(b)-1] != '{' { // with which no value ends
		b = append(b, ',')
	}
	return append(appendString(b, key), ':')
}

// appendAny adds a value that only package json knows, as slog's JSONHandler does.
func appendAny(b []byte, v any) (out []byte) {
	defer func() {
		if r := recover(); r != nil {
			// Mostly it is a method that does not expect nil.
			if p := reflect.ValueOf(v); p.Kind() == reflect.Pointer && p.IsNil() {
				out = append(b, "null"...)
				return
			}
			out = appendString(b, fmt.Sprint("!PANIC: ", r))
		}
	}()
	if err, ok := v.(error); ok {
		if _, ok := v.(json.Marshaler); !ok {
			return appendString(b, err.Error())
		}
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return appendString(b, "!ERROR: "+err.Error())
	}
	return append(b, bytes.TrimSuffix(text.Bytes(), []byte("\n"))...)
}

// appendString adds a string.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	begin := len(b)
	b = append(b, s...)
	if !isPlain(b[begin:]) {
		b = appendEscaped(b[:begin], s)
	}
	return append(b, '"')
}

// isPlain says whether text is ASCII that needs no escapes; eight bytes at a time.
func isPlain(b []byte) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for ; len(b) >= 8; b = b[8:] {
		w := binary.LittleEndian.Uint64(b)
		quote, slash := w^ones*'"', w^ones*'\\'
		// A byte of x that is 0 borrows from its highest bit in x - ones; so does one below
		// a space in w - ones*' '.
		if ((w-ones*' ')|(quote-ones)|(slash-ones)|w)&high != 0 {
			return false
		}
	}
	for _, c := range b {
		if !isPlainByte(c) {
			return false
		}
	}
	return true
}

func isPlainByte(c byte) bool { return ' ' <= c && c < utf8.RuneSelf && c != '"' && c != '\\' }

// appendEscaped adds what is in a string's quotes. What is not UTF-8 becomes U+FFFD.
func appendEscaped(b []byte, s string) []byte {
	const digits = "0123456789abcdef"
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
			i += n
			continue
		}
		i++
		switch {
		case isPlainByte(c):
			b = append(b, c)
		case c == '"', c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\r':
			b = append(b, '\\', 'r')
		case c == '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		}
	}
	return b
}

// appendFloat adds a float as package json does, and as strings what JSON does not have.
func appendFloat(b []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(b, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(b, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(b, `"-Infinity"`...)
	}
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(b, f, format, -1, 64)
}

// appendTime adds a time as RFC 3339 has it, with as many digits as it has.
func appendTime(b []byte, t time.Time) []byte {
	b = t.AppendFormat(append(b, '"'), time.RFC3339Nano)
	return append(b, '"')
}

// appendLevel adds a level as its String method has it.
func appendLevel(b []byte, l slog.Level) []byte {
	switch l {
	case slog.LevelDebug:
		return append(b, `"DEBUG"`...)
	case slog.LevelInfo:
		return append(b, `"INFO"`...)
	case slog.LevelWarn:
		return append(b, `"WARN"`...)
	case slog.LevelError:
		return append(b, `"ERROR"`...)
	}
	return appendString(b, l.String())
}

// appendSource adds where a record was logged, if it says so.
func appendSource(b []byte, r *slog.Record) []byte {
	if r.PC == 0 {
		return b
	}
	f, _ := runtime.CallersFrames([]uintptr{r.PC}).Next()
	b = appendString(append(b, `,"source":{"function":`...), f.Function)
	b = appendString(append(b, `,"file":`...), f.File)
	b = strconv.AppendInt(append(b, `,"line":`...), int64(f.Line), 10)
	return append(b, '}')
}
