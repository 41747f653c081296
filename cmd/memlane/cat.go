package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/memlane/memlane/cmd/memlane/internal/mcap"
	"github.com/memlane/memlane/schema"
	"github.com/spf13/cobra"
)

// recordedJSON is how cat -o json shows a message, one object a line.
type recordedJSON struct {
	Topic     string          `json:"topic"`
	Publisher string          `json:"publisher"` // in hexadecimal; "": unknown
	Sequence  uint32          `json:"sequence"`  // how many its publisher had published before, modulo 2³²
	Time      time.Time       `json:"time"`      // when it was recorded
	Published time.Time       `json:"published"`
	Encoding  string          `json:"encoding"`         // "": unknown
	Value     json.RawMessage `json:"value,omitempty"`  // of a message that has a schema, or is JSON
	Text      *string         `json:"text,omitempty"`   // of another one that is UTF-8
	Base64    []byte          `json:"base64,omitempty"` // of others
}

func newCat() *cobra.Command {
	c := cat{output: "table"}
	cmd := &cobra.Command{
		Use:   "cat FILE",
		Short: "Print the messages of a recording as lines",
		Long: `Cat prints the messages of a recording, a file of the format MCAP that "memlane record"
or another tool has written, by the time when they were recorded: each as a line, as
"memlane sub" does, and of several topics each line begins with the topic and a tab.

With --json, values that have a schema are printed as JSON. With -o json each message is an
object: with its topic, times, and what is known of it.

Of a recording whose end is missing, because the recorder was killed or there was no
room, all is printed that is there, and that is said. If anything else is wrong with it,
that is said, the code is 1, and what can be read is printed all the same.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if c.raw && (c.json || c.output.json()) || c.json && c.output.json() {
				return usagef("--raw, --json and -o json: give one of them")
			}
			c.out, c.stderr = bufio.NewWriterSize(cmd.OutOrStdout(), 64<<10), cmd.ErrOrStderr()
			return c.run(cmd.Context(), args[0])
		},
	}
	c.flags.add(cmd)
	c.output.add(cmd)
	cmd.Flags().BoolVar(&c.raw, "raw", false, "print messages as they are, and nothing between them")
	cmd.Flags().BoolVar(&c.json, "json", false, "print values as JSON, if they have a schema")
	return cmd
}

type cat struct {
	flags   recordingFlags
	output  format
	raw     bool
	json    bool
	out     *bufio.Writer
	stderr  io.Writer
	r       *recording
	several bool
	schemas map[uint16]*schema.Schema // of channels; nil: it has none
	decoded []byte
}

// errPartly: something was wrong with a recording, and was said.
var errPartly = errors.New("not all of the recording can be read")

func (c *cat) say(format string, args ...any) {
	fmt.Fprintf(c.stderr, "memlane: "+format+"\n", args...)
}

func (c *cat) run(ctx context.Context, path string) error {
	var err error
	if c.r, err = c.flags.open(path, c.say); err != nil {
		return err
	}
	defer c.r.close()
	c.several = c.r.several()
	c.schemas = map[uint16]*schema.Schema{}
	for _, channel := range c.r.channels {
		if c.schemas[channel.ID], _, err = c.r.formatOf(channel); err != nil {
			c.say("%s: %v", printable(path), err)
		}
	}
	whole := c.r.Damage() == nil || errors.Is(c.r.Damage(), mcap.ErrUnfinished)
	for m, err := range c.r.Messages(c.r.selection) {
		switch {
		case ctx.Err() != nil:
			return errors.Join(context.Cause(ctx), c.out.Flush())
		case err != nil:
			c.say("%s: %v", printable(path), err)
			whole = false
		default:
			if err := c.print(m); err != nil {
				return err
			}
		}
	}
	if err := c.out.Flush(); err != nil {
		return err
	}
	if !whole {
		return fmt.Errorf("%s: %w", printable(path), errPartly)
	}
	return nil
}

func (c *cat) print(m *mcap.Message) error {
	channel := c.r.Channel(m.Channel)
	data, s := m.Data, c.schemas[m.Channel]
	if s != nil && (c.json || c.output.json()) {
		var err error
		if c.decoded, err = s.AppendJSON(c.decoded[:0], m.Data); err != nil {
			c.say("message %d of %q is not printed: %v", m.Sequence, channel.Topic, err)
			return nil
		}
		data = c.decoded
	}
	if c.output.json() {
		return json.NewEncoder(c.out).Encode(recorded(channel, m, data, s != nil))
	}
	if c.several && !c.raw {
		c.out.WriteString(channel.Topic)
		c.out.WriteByte('\t')
	}
	_, err := c.out.Write(data)
	if !c.raw {
		err = c.out.WriteByte('\n')
	}
	return err
}

// recorded is a message as JSON. Data is its own, or its value's.
func recorded(c *mcap.Channel, m *mcap.Message, data []byte, value bool) *recordedJSON {
	j := &recordedJSON{Topic: c.Topic, Publisher: c.Metadata[ofPublisher], Sequence: m.Sequence,
		Time: time.Unix(0, int64(m.LogTime)).UTC(), Published: time.Unix(0, int64(m.PublishTime)).UTC(), Encoding: c.MessageEncoding}
	switch {
	case value || c.MessageEncoding == "json" && json.Valid(data):
		j.Value = data
	case utf8.Valid(data):
		text := string(data)
		j.Text = &text
	default:
		j.Base64 = data
	}
	return j
}
