package queuetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/khodnevis/khodnevis/queue"
)

const (
	// leave is how long a check that has timed out waits for Consume to return before it leaves it
	// behind.
	leave = time.Second
	// watch is how long a check looks whether something that must not happen happens. A right queue
	// cannot fail by it.
	watch = 100 * time.Millisecond
)

// tape records what a handler was given.
type tape struct {
	mu      sync.Mutex
	got     []queue.Delivery
	batches []int         // their sizes
	fault   error         // the first thing that a handler found wrong
	changed chan struct{} // closed and replaced with every change
}

func newTape() *tape { return &tape{changed: make(chan struct{})} }

func (t *tape) record(_ context.Context, batch []queue.Delivery) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.got = append(t.got, copies(batch)...)
	t.batches = append(t.batches, len(batch))
	t.change()
	return nil
}

// wrong fails the check from within a handler.
func (t *tape) wrong(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fault == nil {
		t.fault = fmt.Errorf(format, args...)
	}
	t.change()
}

func (t *tape) change() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// deliveries returns what was recorded, which only grows.
func (t *tape) deliveries() []queue.Delivery {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clip(t.got)
}

// found returns what a handler found wrong.
func (t *tape) found() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.fault
}

// news returns the channel that the next change closes.
func (t *tape) news() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.changed
}

// consumer is one Consume that runs beside the check.
type consumer struct {
	check  context.Context // of the whole check
	ctx    context.Context // of Consume
	cancel context.CancelFunc
	ended  chan struct{} // closed when Consume has returned err
	err    error
}

func consume(ctx context.Context, q queue.Queue, limit int, h queue.Handler) *consumer {
	c := &consumer{check: ctx, ended: make(chan struct{})}
	c.ctx, c.cancel = context.WithCancel(ctx)
	go func() {
		defer close(c.ended)
		err := q.Consume(c.ctx, limit, h)
		switch {
		case c.ctx.Err() == nil:
			c.err = fmt.Errorf("got %v from Consume before its context was done", err)
		case err != nil:
			c.err = fmt.Errorf("got %w from Consume when its context was done; it must return nil", err)
		}
	}()
	return c
}

// stop ends Consume and reports what was wrong with its end.
func (c *consumer) stop() error {
	c.cancel()
	select {
	case <-c.ended:
		return c.err
	case <-c.check.Done():
	}
	select {
	case <-c.ended:
		return c.err
	case <-time.After(leave):
		return errors.New("a Consume does not end after its context is done")
	}
}

// await waits until enough holds for what the tape has of consumer c.
func (c *consumer) await(t *tape, want string, enough func([]queue.Delivery) bool) error {
	for {
		changed := t.news()
		if err := t.found(); err != nil {
			return err
		}
		got := t.deliveries()
		if enough(got) {
			return nil
		}
		select {
		case <-changed:
		case <-c.ended:
			if c.err != nil {
				return c.err
			}
			return c.late(want, got)
		case <-c.ctx.Done():
			return c.late(want, got)
		}
	}
}

func (c *consumer) late(want string, got []queue.Delivery) error {
	return fmt.Errorf("timed out waiting for %s after %d deliveries", want, len(got))
}

// signalled waits until signal is closed or sent on.
func (c *consumer) signalled(want string, signal <-chan struct{}) error {
	select {
	case <-signal:
		return nil
	case <-c.ended:
		if c.err != nil {
			return c.err
		}
	case <-c.ctx.Done():
	}
	return fmt.Errorf("timed out waiting for %s", want)
}

// receive runs one Consume with handler record until every one of positions has been delivered to
// t, and stops it.
func receive(ctx context.Context, q queue.Queue, limit int, t *tape, positions []queue.Position) error {
	c := consume(ctx, q, limit, t.record)
	err := c.await(t, fmt.Sprintf("%d messages", len(positions)), holds(positions))
	return errors.Join(err, c.stop())
}

// holds reports whether deliveries contain all of positions. Offsets may repeat between keys, so
// they are counted with them.
func holds(positions []queue.Position) func([]queue.Delivery) bool {
	return func(got []queue.Delivery) bool {
		if len(got) < len(positions) {
			return false
		}
		return len(missing(positions, got)) == 0
	}
}

// missing returns those of positions that were not delivered, counting equal positions of different
// messages.
func missing(positions []queue.Position, got []queue.Delivery) []queue.Position {
	there := make(map[queue.Position]int)
	for _, d := range firsts(got) {
		there[d.Position]++
	}
	var out []queue.Position
	for _, p := range positions {
		if there[p]--; there[p] < 0 {
			out = append(out, p)
		}
	}
	return out
}

// place tells messages apart: positions of different keys may be equal.
type place struct {
	key string
	queue.Position
}

// firsts leaves out what was delivered before: at least once is what the queue promises.
func firsts(got []queue.Delivery) []queue.Delivery {
	seen := make(map[place]bool, len(got))
	var out []queue.Delivery
	for _, d := range got {
		if p := (place{d.Key, d.Position}); !seen[p] {
			seen[p] = true
			out = append(out, d)
		}
	}
	return out
}

// bodies returns the bodies of one key in the order of their first delivery.
func bodies(got []queue.Delivery, key string) []string {
	var out []string
	for _, d := range firsts(got) {
		if d.Key == key {
			out = append(out, string(d.Body))
		}
	}
	return out
}

// same compares messages; nil and empty are the same.
func same(a, b queue.Message) error {
	switch {
	case a.Key != b.Key:
		return fmt.Errorf("key %.80q became %.80q", a.Key, b.Key)
	case !bytes.Equal(a.Body, b.Body):
		return fmt.Errorf("key %.80q: body %.80q (%d bytes) became %.80q (%d bytes)", a.Key, a.Body, len(a.Body), b.Body,
			len(b.Body))
	case !maps.Equal(a.Header, b.Header):
		return fmt.Errorf("key %.80q: header %.200v became %.200v", a.Key, a.Header, b.Header)
	}
	return nil
}

// copies returns deliveries that share no memory with batch.
func copies(batch []queue.Delivery) []queue.Delivery {
	out := slices.Clone(batch)
	for i := range out {
		out[i].Body, out[i].Header = slices.Clone(out[i].Body), maps.Clone(out[i].Header)
	}
	return out
}
