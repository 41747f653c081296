package pubsub

import (
	"fmt"
	"os"

	"github.com/memlane/memlane/internal/format"
	"github.com/memlane/memlane/internal/ring"
)

// limit is what a number of a config has to keep to: 0, which is the default, to most.
type limit struct {
	name     string
	is, most int64 // most is 0 if there is no limit but 0
}

// checkLimits returns what is wrong with the first number that is. They are looked at as
// they were given: what is rounded up, or replaced by the least, looks right.
func checkLimits(limits ...limit) error {
	for _, l := range limits {
		to := "or more"
		if l.most != 0 {
			to = fmt.Sprint("to ", l.most)
		}
		if l.is < 0 || l.most != 0 && l.is > l.most {
			return fmt.Errorf("%w: %s is %d; want 0, which is the default, %s", os.ErrInvalid, l.name, l.is, to)
		}
	}
	return nil
}

// check returns what is wrong with the config, and if nothing is, what it is for a ring.
func (c *PublisherConfig) check() (ring.Config, error) {
	err := checkLimits(
		limit{"Slots", int64(c.Slots), ring.SlotsMost},
		limit{"SlotBytes", int64(c.SlotBytes), ring.SlotBytesMost},
		limit{"ArenaBytes", int64(c.ArenaBytes), maxArena},
		limit{"ArenaLimit", int64(c.ArenaLimit), maxArena},
	)
	var f ring.Format
	if err == nil {
		f, err = format.Of(c.Schema, c.ContentType)
	}
	if err != nil {
		return ring.Config{}, err
	}
	rc := c.ring()
	rc.Format = f
	if err := rc.Check(); err != nil {
		return rc, fmt.Errorf("%w: %w", os.ErrInvalid, err)
	}
	return rc, nil
}

// check returns what is wrong with the config, and if nothing is, what it asks for.
func (c *SubscriberConfig) check() (ring.Format, error) {
	if err := checkLimits(limit{"History", int64(c.History), 0}, limit{"Quota", c.Quota, 0}); err != nil {
		return ring.Format{}, err
	}
	return format.Of(c.Schema, c.ContentType)
}
