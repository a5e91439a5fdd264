package queuetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/khodnevis/khodnevis/queue"
)

var errHandler = errors.New("queuetest: the handler fails on purpose")

func sizeOfBatches(ctx context.Context, q queue.Queue) error {
	for _, limit := range []int{7, 1} {
		ps, err := publish(ctx, q, numbered(25, "a", "b", "c")...)
		if err != nil {
			return err
		}
		t := newTape()
		if err := receive(ctx, q, limit, t, ps); err != nil {
			return err
		}
		for _, n := range t.batches {
			if n < 1 || n > limit {
				return fmt.Errorf("a batch of %d messages with the limit %d", n, limit)
			}
		}
	}
	return nil
}

func limitOutOfBounds(ctx context.Context, q queue.Queue) error {
	for _, limit := range []int{-1, 0, queue.MaxBatch + 1} {
		failed := make(chan error, 1)
		consuming, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() { failed <- q.Consume(consuming, limit, newTape().record) }()
		select {
		case err := <-failed:
			if err == nil {
				return fmt.Errorf("the limit %d is taken and nil returned", limit)
			}
		case <-ctx.Done():
			return fmt.Errorf("the limit %d is taken: Consume went on", limit)
		}
	}
	return nil
}

func oneAfterTheOther(ctx context.Context, q queue.Queue) error {
	ps, err := publish(ctx, q, numbered(30, "a", "b", "c", "d", "e")...)
	if err != nil {
		return err
	}
	t := newTape()
	var inFlight atomic.Int32
	c := consume(ctx, q, 3, func(ctx context.Context, batch []queue.Delivery) error {
		if n := inFlight.Add(1); n > 1 {
			t.wrong("one Consume has %d batches in flight at once", n)
		}
		defer inFlight.Add(-1)
		pause := time.NewTimer(2 * time.Millisecond) // so that another one has an opportunity
		defer pause.Stop()
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
		return t.record(ctx, batch)
	})
	err = c.await(t, "30 messages", holds(ps))
	return errors.Join(err, c.stop(), t.found())
}

func noWaiting(ctx context.Context, q queue.Queue) error {
	t := newTape()
	c := consume(ctx, q, 100, t.record)
	var all []queue.Position
	for i := range 3 {
		ps, err := publish(ctx, q, message("k", fmt.Sprint(i)))
		if err == nil {
			all = append(all, ps...)
			err = c.await(t, "a single message", holds(all))
		}
		if err != nil {
			return errors.Join(err, c.stop())
		}
	}
	return c.stop()
}

func failedComesAgain(ctx context.Context, q queue.Queue) error {
	first, err := publish(ctx, q, numbered(9, "a", "b", "c")...)
	if err != nil {
		return err
	}
	t, due := newTape(), make(due)
	calls := 0
	failed := make(chan struct{})
	c := consume(ctx, q, 4, func(ctx context.Context, batch []queue.Delivery) error {
		calls++
		if err := due.check(batch); err != nil {
			t.wrong("after %d calls of the handler: %w", calls, err)
			return nil
		}
		switch calls {
		case 1:
			close(failed)
			return errHandler
		case 2, 4, 5:
			return errHandler
		}
		due.finish(batch)
		return t.record(ctx, batch)
	})
	err = c.signalled("the first batch", failed)
	if err == nil {
		var later []queue.Position
		later, err = publish(ctx, q, message("a", "3"), message("b", "3"), message("c", "3"))
		first = append(first, later...)
	}
	if err == nil {
		err = c.await(t, "12 messages after failures", holds(first))
	}
	return errors.Join(err, c.stop(), t.found())
}

func neverGivesUp(ctx context.Context, q queue.Queue) error {
	ps, err := publish(ctx, q, message("k", "poison"), message("k", "behind it"))
	if err != nil {
		return err
	}
	t := newTape()
	failures := 0
	c := consume(ctx, q, 1, func(ctx context.Context, batch []queue.Delivery) error {
		if body := string(batch[0].Body); failures < 6 {
			if body != "poison" {
				t.wrong("after %d failures the message was given up: %q came", failures, body)
				return nil
			}
			failures++
			return errHandler
		}
		return t.record(ctx, batch)
	})
	err = c.await(t, "a message that failed six times", holds(ps))
	return errors.Join(err, c.stop())
}

func pauses(ctx context.Context, q queue.Queue) error {
	ps, err := publish(ctx, q, message("k", "1"))
	if err != nil {
		return err
	}
	t := newTape()
	var failed time.Time
	failures := 0
	c := consume(ctx, q, 1, func(ctx context.Context, batch []queue.Delivery) error {
		if pause := time.Since(failed); pause < time.Millisecond {
			t.wrong("it came again after %v", pause)
			return nil
		}
		if failures == 3 {
			return t.record(ctx, batch)
		}
		failures++
		failed = time.Now()
		return errHandler
	})
	err = c.await(t, "a message that failed three times", holds(ps))
	return errors.Join(err, c.stop())
}

func wholeBatchAgain(ctx context.Context, q queue.Queue) error {
	ps, err := publish(ctx, q, numbered(12, "a", "b", "c", "d")...)
	if err != nil {
		return err
	}
	t := newTape()
	failed := false
	c := consume(ctx, q, 6, func(ctx context.Context, batch []queue.Delivery) error {
		if !failed {
			failed = true
			return errHandler
		}
		return t.record(ctx, batch)
	})
	err = c.await(t, "12 messages, some of them in a batch that failed", holds(ps))
	return errors.Join(err, c.stop())
}

func handlerMemory(ctx context.Context, q queue.Queue) error {
	m := queue.Message{Key: "k", Body: []byte("as published"), Header: map[string]string{"name": "value"}}
	ps, err := publish(ctx, q, m, message("k", "another"), message("k", "and one more"))
	if err != nil {
		return err
	}
	t := newTape()
	var kept, snapshots [][]queue.Delivery
	c := consume(ctx, q, 1, func(ctx context.Context, batch []queue.Delivery) error {
		if len(kept) == 0 && string(batch[0].Body) == "as published" {
			copy(batch[0].Body, "overwritten!")
			batch[0].Header["name"], batch[0].Header["new"] = "overwritten", "added"
			kept, snapshots = append(kept, batch), append(snapshots, copies(batch))
			batch[0].Key = "overwritten" // the queue must know by itself what to deliver again
			snapshots[0][0].Key = "overwritten"
			return errHandler
		}
		kept, snapshots = append(kept, batch), append(snapshots, copies(batch))
		return t.record(ctx, batch)
	})
	err = c.await(t, "3 messages", holds(ps))
	if err := errors.Join(err, c.stop()); err != nil {
		return err
	}
	for _, d := range t.deliveries() {
		if d.Position == ps[0] {
			if err := same(m, d.Message); err != nil {
				return fmt.Errorf("after a handler changed its batch and failed: %w", err)
			}
		}
	}
	for i, batch := range kept {
		for j, d := range batch {
			if err := same(snapshots[i][j].Message, d.Message); err != nil {
				return fmt.Errorf("in a batch that the handler kept: %w", err)
			}
			if snapshots[i][j].Position != d.Position {
				return fmt.Errorf("in a batch that the handler kept %v became %v", snapshots[i][j].Position, d.Position)
			}
		}
	}
	return nil
}

func lag(ctx context.Context, q queue.Queue) error {
	l, ok := q.(queue.Lagger)
	if !ok {
		return ErrAbsent
	}
	if err := lags(ctx, l, 0); err != nil {
		return err
	}
	ps, err := publish(ctx, q, numbered(20, "a", "b")...)
	if err != nil {
		return err
	}
	if err := lags(ctx, l, 20); err != nil {
		return err
	}
	t := newTape()
	failing := consume(ctx, q, 5, func(ctx context.Context, batch []queue.Delivery) error {
		return errors.Join(t.record(ctx, batch), errHandler)
	})
	err = failing.await(t, "a batch", func(got []queue.Delivery) bool { return len(got) > 0 })
	if err := errors.Join(err, failing.stop(), lags(ctx, l, 20)); err != nil {
		return fmt.Errorf("with a handler that fails: %w", err)
	}
	t = newTape()
	c := consume(ctx, q, 5, t.record)
	err = c.await(t, "20 messages", holds(ps))
	if err == nil {
		err = lags(ctx, l, 0)
	}
	if err := errors.Join(err, c.stop()); err != nil {
		return err
	}
	return lags(ctx, l, 0)
}

func age(ctx context.Context, q queue.Queue) error {
	a, ok := q.(queue.Ager)
	if !ok {
		return ErrAbsent
	}
	if err := ages(ctx, a, time.Time{}, time.Time{}); err != nil {
		return err
	}
	before := time.Now()
	first, err := publish(ctx, q, message("a", "0"))
	if err != nil {
		return err
	}
	after := time.Now()
	if err := ages(ctx, a, before, after); err != nil {
		return err
	}
	select {
	case <-time.After(10 * slack): // so that the two ages differ by more than what is forgiven
	case <-ctx.Done():
		return ctx.Err()
	}
	second, err := publish(ctx, q, message("b", "0"))
	if err != nil {
		return err
	}
	if err := ages(ctx, a, before, after); err != nil {
		return fmt.Errorf("with a younger message: %w", err)
	}
	t := newTape()
	failing := consume(ctx, q, 5, func(ctx context.Context, batch []queue.Delivery) error {
		return errors.Join(t.record(ctx, batch), errHandler)
	})
	err = failing.await(t, "a batch", func(got []queue.Delivery) bool { return len(got) > 0 })
	if err := errors.Join(err, failing.stop(), ages(ctx, a, before, after)); err != nil {
		return fmt.Errorf("with a handler that fails: %w", err)
	}
	t = newTape()
	c := consume(ctx, q, 5, t.record)
	err = c.await(t, "2 messages", holds(append(first, second...)))
	if err := errors.Join(err, c.stop()); err != nil {
		return err
	}
	return ages(ctx, a, time.Time{}, time.Time{})
}

// slack is how much an age may be off, for the sake of logs that cut times.
const slack = 5 * time.Millisecond

// ages waits until Age is that of a message published between before and after, which are zero for
// none.
func ages(ctx context.Context, a queue.Ager, before, after time.Time) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		var least, most time.Duration
		if !after.IsZero() {
			least = time.Since(after) - slack
		}
		got, retention, err := a.Age(ctx)
		if !before.IsZero() {
			most = time.Since(before) + slack
		}
		if err == nil && retention < 0 {
			return fmt.Errorf("got the retention %v", retention)
		}
		if err == nil && least <= got && got <= most {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("got the age %v with the error %v, want %v to %v", got, err, least, most)
		}
	}
}

// lags waits until Lag is want.
func lags(ctx context.Context, l queue.Lagger, want int64) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		n, err := l.Lag(ctx)
		if err == nil && n == want {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("got the lag %d with the error %v, want %d", n, err, want)
		}
	}
}

// numbered returns n messages spread over keys, each with its number within its key as body.
func numbered(n int, keys ...string) []queue.Message {
	msgs := make([]queue.Message, n)
	for i := range msgs {
		msgs[i] = message(keys[i%len(keys)], fmt.Sprint(i/len(keys)))
	}
	return msgs
}

// due knows which numbered message of each key is the oldest unfinished one.
type due map[string]int

// check reports whether batch skips a message that is not finished. Finished ones may come again.
func (d due) check(batch []queue.Delivery) error {
	next := maps.Clone(d)
	for _, m := range batch {
		n, err := strconv.Atoi(string(m.Body))
		if err != nil || n > next[m.Key] {
			return fmt.Errorf("message %q of the key %q was delivered where message %d was due", m.Body, m.Key, next[m.Key])
		}
		next.pass(m.Key, n)
	}
	return nil
}

// finish records that the handler has taken batch.
func (d due) finish(batch []queue.Delivery) {
	for _, m := range batch {
		if n, err := strconv.Atoi(string(m.Body)); err == nil {
			d.pass(m.Key, n)
		}
	}
}

func (d due) pass(key string, n int) {
	d[key] = max(d[key], n+1)
}
