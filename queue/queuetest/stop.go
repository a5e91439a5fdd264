package queuetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/khodnevis/khodnevis/queue"
)

func handlerContext(ctx context.Context, q queue.Queue) error {
	if _, err := publish(ctx, q, message("k", "1")); err != nil {
		return err
	}
	t := newTape()
	return stopInFlight(ctx, q, 1, t, func(hctx context.Context, batch []queue.Delivery, _ <-chan struct{}) error {
		select {
		case <-hctx.Done():
			t.wrong("the context of the handler is done: %w", context.Cause(hctx))
		case <-time.After(watch):
		}
		return nil
	})
}

func handlerFinishes(ctx context.Context, q queue.Queue) error {
	if _, err := publish(ctx, q, message("k", "in flight when Consume was stopped")); err != nil {
		return err
	}
	t := newTape()
	err := stopInFlight(ctx, q, 1, t, func(_ context.Context, batch []queue.Delivery, ended <-chan struct{}) error {
		select {
		case <-ended:
			t.wrong("Consume returned while the handler had a batch in flight")
		case <-time.After(watch):
		}
		return nil
	})
	if err != nil {
		return err
	}
	return empty(ctx, q, "k")
}

func stopEndsDeliveries(ctx context.Context, q queue.Queue) error {
	ps, err := publish(ctx, q, numbered(6, "a", "b", "c")...)
	if err != nil {
		return err
	}
	t := newTape()
	done, cancel := context.WithCancel(ctx)
	cancel()
	c := consume(done, q, 1, t.record)
	if err := c.stop(); err != nil {
		return err
	}
	if n := len(t.deliveries()); n > 0 {
		return fmt.Errorf("%d messages were delivered by a Consume whose context was done from the start", n)
	}
	err = stopInFlight(ctx, q, 1, t, func(ctx context.Context, batch []queue.Delivery, _ <-chan struct{}) error {
		return t.record(ctx, batch)
	})
	if err != nil {
		return err
	}
	if n := len(t.deliveries()); n != 1 {
		return fmt.Errorf("%d batches were passed on after the context was done", n-1)
	}
	return receive(ctx, q, 1, t, ps)
}

func stopEndsRetries(ctx context.Context, q queue.Queue) error {
	ps, err := publish(ctx, q, message("k", "1"))
	if err != nil {
		return err
	}
	t := newTape()
	c := consume(ctx, q, 1, func(ctx context.Context, batch []queue.Delivery) error {
		return errors.Join(t.record(ctx, batch), errHandler)
	})
	err = c.await(t, "the third failure", func(got []queue.Delivery) bool { return len(got) >= 3 })
	if err := errors.Join(err, c.stop()); err != nil {
		return err
	}
	return receive(ctx, q, 1, newTape(), ps)
}

func unfinishedGoesOn(ctx context.Context, q queue.Queue) error {
	ps, err := publish(ctx, q, numbered(8, "a", "b")...)
	if err != nil {
		return err
	}
	t := newTape()
	err = stopInFlight(ctx, q, 4, t, func(context.Context, []queue.Delivery, <-chan struct{}) error {
		return errHandler
	})
	if err != nil {
		return err
	}
	return inTurn(ctx, q, t, make(due), ps)
}

func startsWithOldest(ctx context.Context, q queue.Queue) error {
	ps, err := publish(ctx, q, numbered(9, "a")...)
	if err != nil {
		return err
	}
	t, finished := newTape(), make(due)
	c := consume(ctx, q, 2, func(ctx context.Context, batch []queue.Delivery) error {
		if err := finished.check(batch); err != nil {
			t.wrong("first consumer: %w", err)
			return nil
		}
		if err := t.record(ctx, batch); err != nil || finished["a"] >= 4 {
			return errHandler
		}
		finished.finish(batch)
		return nil
	})
	err = c.await(t, "5 messages", holds(ps[:5]))
	if err := errors.Join(err, c.stop()); err != nil {
		return err
	}
	later, err := publish(ctx, q, message("a", "9"), message("a", "10")) // while nobody consumes
	if err != nil {
		return err
	}
	return inTurn(ctx, q, newTape(), finished, append(ps[finished["a"]:], later...))
}

// inTurn consumes numbered messages until all of positions are finished and reports whether one was
// left out.
func inTurn(ctx context.Context, q queue.Queue, t *tape, finished due, positions []queue.Position) error {
	c := consume(ctx, q, 4, func(ctx context.Context, batch []queue.Delivery) error {
		if err := finished.check(batch); err != nil {
			t.wrong("next consumer: %w", err)
			return nil
		}
		finished.finish(batch)
		return t.record(ctx, batch)
	})
	err := c.await(t, fmt.Sprintf("the %d unfinished messages", len(positions)), holds(positions))
	return errors.Join(err, c.stop(), t.found())
}

func finishedStaysFinished(ctx context.Context, q queue.Queue) error {
	ps, err := publish(ctx, q, numbered(30, "a", "b", "c")...)
	if err != nil {
		return err
	}
	if err := receive(ctx, q, 4, newTape(), ps); err != nil {
		return err
	}
	return empty(ctx, q, "a")
}

// stopInFlight runs a Consume, ends its context while the first batch is in flight, and waits for
// its return and for that of the handler. The handler h is called once the context is done; ended
// is closed when Consume has returned.
func stopInFlight(ctx context.Context, q queue.Queue, limit int, t *tape,
	h func(ctx context.Context, batch []queue.Delivery, ended <-chan struct{}) error,
) error {
	var (
		c        *consumer
		entered  = make(chan struct{}, 1)
		stopped  = make(chan struct{})
		inFlight sync.RWMutex // read-locked by the handlers
	)
	c = consume(ctx, q, limit, func(hctx context.Context, batch []queue.Delivery) error {
		inFlight.RLock()
		defer inFlight.RUnlock()
		select {
		case entered <- struct{}{}:
		default:
		}
		<-stopped // closed below, whatever happens
		return h(hctx, batch, c.ended)
	})
	err := c.signalled("the first batch", entered)
	c.cancel()
	close(stopped)
	err = errors.Join(err, c.stop())
	inFlight.Lock() // Consume should not return before, but may
	defer inFlight.Unlock()
	return errors.Join(err, t.found())
}
