package queuetest

import (
	"context"
	"errors"
	"fmt"

	"github.com/khodnevis/khodnevis/queue"
)

// stands returns an error unless a position of key has one of the wanted standings.
func stands(ctx context.Context, l queue.Locator, key string, at queue.Position, wanted ...queue.Standing) error {
	got, err := l.Locate(ctx, key, at)
	if err != nil {
		return fmt.Errorf("locating %v: %w", at, err)
	}
	for _, w := range wanted {
		if got == w {
			return nil
		}
	}
	return fmt.Errorf("the standing of %v is %d, want one of %d", at, got, wanted)
}

func standing(ctx context.Context, q queue.Queue) error {
	l, ok := q.(queue.Locator)
	if !ok {
		return ErrAbsent
	}
	for n := range 5 {
		ps, err := publish(ctx, q, message("a", fmt.Sprint(n)))
		if err != nil {
			return err
		}
		next := ps[0]
		next.Offset++
		far := ps[0]
		far.Offset += 1 << 40
		if err := errors.Join(
			stands(ctx, l, "a", ps[0], queue.Published),
			stands(ctx, l, "a", next, queue.Unpublished),
			stands(ctx, l, "a", far, queue.Unpublished),
		); err != nil {
			return err
		}
	}
	return nil
}

func standingWaiting(ctx context.Context, q queue.Queue) error {
	l, ok := q.(queue.Locator)
	if !ok {
		return ErrAbsent
	}
	ps, err := publish(ctx, q, numbered(20, "a", "b")...)
	if err != nil {
		return err
	}
	all := func() error {
		var errs []error
		for i, m := range numbered(20, "a", "b") {
			errs = append(errs, stands(ctx, l, m.Key, ps[i], queue.Published))
		}
		return errors.Join(errs...)
	}
	if err := all(); err != nil {
		return err
	}
	t := newTape()
	failing := consume(ctx, q, 5, func(ctx context.Context, batch []queue.Delivery) error {
		return errors.Join(t.record(ctx, batch), errHandler)
	})
	err = failing.await(t, "a batch", func(got []queue.Delivery) bool { return len(got) > 0 })
	if err := errors.Join(err, all(), failing.stop(), all()); err != nil {
		return fmt.Errorf("with a handler that fails: %w", err)
	}
	t = newTape()
	c := consume(ctx, q, 5, t.record)
	if err := errors.Join(c.await(t, "20 messages", holds(ps)), c.stop()); err != nil {
		return err
	}
	for i, m := range numbered(20, "a", "b") {
		if err := stands(ctx, l, m.Key, ps[i], queue.Published, queue.Deleted); err != nil {
			return fmt.Errorf("of what is finished: %w", err)
		}
	}
	return nil
}

func standingElsewhere(ctx context.Context, q queue.Queue) error {
	l, ok := q.(queue.Locator)
	if !ok {
		return ErrAbsent
	}
	ps, err := publish(ctx, q, message("a", "0"))
	if err != nil {
		return err
	}
	var errs []error
	for _, stream := range []string{"", "x", "x:6", ":", "\x00\xff", ps[0].Stream + "0", "0" + ps[0].Stream} {
		errs = append(errs, stands(ctx, l, "a", queue.Position{Stream: stream, Offset: ps[0].Offset}, queue.Unknown))
	}
	return errors.Join(errs...)
}
