package main

import (
	"cmp"
	"fmt"
	"io/fs"
	"mime"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/memlane/memlane/cmd/memlane/internal/mcap"
	"github.com/memlane/memlane/schema"
	"github.com/spf13/cobra"
)

// What is in recordings: docs/RECORDING.md.

// Metadata of channels, by these keys, and of files, by that name.
const (
	ofPublisher   = "memlane.publisher"    // its number, in hexadecimal
	ofPID         = "memlane.pid"          // of its process
	ofDomain      = "memlane.domain"       //
	ofSchema      = "memlane.schema"       // as spec/schema.md has it
	ofContentType = "memlane.content_type" //
	lossesName    = "memlane.losses"
)

// mediaTypes are the message encodings that have a media type.
var mediaTypes = map[string]string{
	"json":       "application/json",
	"protobuf":   "application/protobuf",
	"cbor":       "application/cbor",
	"msgpack":    "application/msgpack",
	"flatbuffer": "application/flatbuffers",
}

// encodingOf returns the message encoding of a content type; "": it has none.
func encodingOf(contentType string) string {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return ""
	}
	for encoding, m := range mediaTypes {
		if media == m {
			return encoding
		}
	}
	return ""
}

// formatOf returns what the messages of a channel are: a schema, or a content type, or
// neither.
func (r *recording) formatOf(c *mcap.Channel) (*schema.Schema, string, error) {
	if text, is := c.Metadata[ofSchema]; is {
		s, err := schema.Parse([]byte(text))
		if err != nil {
			return nil, "", fmt.Errorf("channel %d of %q: %w", c.ID, c.Topic, err)
		}
		return s, "", nil
	}
	if contentType, is := c.Metadata[ofContentType]; is {
		return nil, contentType, nil
	}
	contentType := mediaTypes[c.MessageEncoding]
	if d := r.Schema(c.SchemaID); d != nil && d.Encoding == "protobuf" && contentType != "" {
		// It is empty for a name that cannot be one.
		contentType = cmp.Or(mime.FormatMediaType(contentType, map[string]string{"message": d.Name}), contentType)
	}
	return nil, contentType, nil
}

// recordingFlags are those of the commands that read a recording.
type recordingFlags struct {
	topics   []string
	from, to patience
}

func (f *recordingFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&f.topics, "topics", nil, "only these `topics`, with commas between them")
	cmd.Flags().Var(&f.from, "from", "only what was recorded so long after the beginning, or later")
	cmd.Flags().Var(&f.to, "to", "only what was recorded before so long after the beginning")
}

// recording is a file that is read.
type recording struct {
	*mcap.Reader
	file      *os.File
	channels  []*mcap.Channel // that are wanted
	selection mcap.Selection
}

// open opens a recording, and says what is wrong with it.
func (f *recordingFlags) open(path string, say func(format string, args ...any)) (*recording, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*recording, error) {
		file.Close()
		return nil, fmt.Errorf("%s: %w", printable(path), err)
	}
	st, err := file.Stat()
	if err != nil {
		return fail(err)
	}
	if !st.Mode().IsRegular() {
		return fail(fmt.Errorf("%w: it is no file; recordings are read by their index, and not from pipes", fs.ErrInvalid))
	}
	r := &recording{file: file}
	if r.Reader, err = mcap.Open(file, st.Size()); err != nil {
		return fail(err)
	}
	if d := r.Damage(); d != nil {
		say("%s: %v; what there is, is read", printable(path), d)
	}
	if err := r.want(f); err != nil {
		return fail(err)
	}
	for topic, lost := range r.losses() {
		say("%s: the recorder has lost %d messages of %q", printable(path), lost, topic)
	}
	return r, nil
}

// losses returns how many messages the recorder has lost, of topics that are wanted.
func (r *recording) losses() map[string]uint64 {
	lost := map[string]uint64{}
	for _, m := range r.Metadata() {
		n, err := strconv.ParseUint(m.Values["lost"], 10, 64)
		topic := m.Values["topic"]
		if m.Name == lossesName && err == nil && slices.ContainsFunc(r.channels, func(c *mcap.Channel) bool { return c.Topic == topic }) {
			lost[topic] += n
		}
	}
	return lost
}

// want selects the topics and times that the flags say.
func (r *recording) want(f *recordingFlags) error {
	var there []string
	for _, c := range r.Channels() {
		if f.topics == nil || slices.Contains(f.topics, c.Topic) {
			r.channels = append(r.channels, c)
		}
		if !slices.Contains(there, c.Topic) {
			there = append(there, c.Topic)
		}
	}
	for _, topic := range f.topics {
		if !slices.Contains(there, topic) {
			return fmt.Errorf("there is no topic %q in it: %w; there are %.1000q", topic, fs.ErrNotExist, there)
		}
	}
	if f.topics != nil {
		r.selection.Wants = func(c *mcap.Channel) bool { return slices.Contains(f.topics, c.Topic) }
	}
	start, _ := r.Span()
	r.selection.From = start + uint64(f.from.limit)
	if f.to.set {
		r.selection.To = start + uint64(f.to.limit)
	}
	return nil
}

func (r *recording) close() { r.file.Close() }

// several says whether there are channels of more than one topic.
func (r *recording) several() bool {
	return slices.ContainsFunc(r.channels, func(c *mcap.Channel) bool { return c.Topic != r.channels[0].Topic })
}

// rateFlag is --rate.
type rateFlag float64

func (r *rateFlag) Type() string   { return "Nx|0" }
func (r *rateFlag) String() string { return strconv.FormatFloat(float64(*r), 'g', -1, 64) + "x" }
func (r *rateFlag) Set(text string) error {
	n, err := strconv.ParseFloat(strings.TrimSuffix(text, "x"), 64)
	if err != nil || !(n >= 0 && n < 1e9) {
		return fmt.Errorf("give how many times as fast, such as 2x or 0.5x, or 0 for as fast as possible")
	}
	*r = rateFlag(n)
	return nil
}
