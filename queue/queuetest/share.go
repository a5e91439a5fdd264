package queuetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/khodnevis/khodnevis/queue"
)

func consumersShare(ctx context.Context, q queue.Queue) error {
	const rounds, each = 10, 12
	all, tapes := newTape(), [2]*tape{newTape(), newTape()}
	turn := &turns{finished: make(due), held: make(map[string]bool)}
	var consumers [2]*consumer
	for i, own := range tapes {
		consumers[i] = consume(ctx, q, 5, func(ctx context.Context, batch []queue.Delivery) error {
			if err := turn.begin(batch); err != nil {
				all.wrong("with two consumers: %w", err)
				return nil
			}
			defer turn.end(batch)
			return errors.Join(own.record(ctx, batch), all.record(ctx, batch))
		})
	}
	stop := func() error { return errors.Join(consumers[0].stop(), consumers[1].stop()) }
	keys := []string{"a", "b", "c", "d"}
	msgs := numbered(rounds*each, keys...)
	var positions []queue.Position
	for r := range rounds {
		ps, err := publish(ctx, q, msgs[r*each:(r+1)*each]...)
		if err == nil {
			positions = append(positions, ps...)
			err = consumers[r%2].await(all, fmt.Sprintf("%d messages", len(positions)), holds(positions))
		}
		if err != nil {
			return errors.Join(err, stop())
		}
	}
	select { // a copy for the other consumer may be on its way
	case <-time.After(watch):
	case <-ctx.Done():
	}
	if err := errors.Join(stop(), all.found()); err != nil {
		return err
	}
	twice := len(firsts(tapes[0].deliveries())) + len(firsts(tapes[1].deliveries())) - len(positions)
	if twice == len(positions) {
		return fmt.Errorf("each of the %d messages was delivered to both consumers", twice)
	}
	return nil
}

func keyInFlightOnce(ctx context.Context, q queue.Queue) error {
	first, err := publish(ctx, q, message("k", "in flight"))
	if err != nil {
		return err
	}
	t := newTape()
	var released atomic.Bool
	entered, release := make(chan struct{}), make(chan struct{})
	var once, letGo sync.Once
	free := func() { letGo.Do(func() { released.Store(true); close(release) }) }
	defer free()
	holding := consume(ctx, q, 1, func(hctx context.Context, batch []queue.Delivery) error {
		once.Do(func() { close(entered) })
		select {
		case <-release:
		case <-ctx.Done():
		}
		return t.record(hctx, batch)
	})
	if err := holding.signalled("the first message", entered); err != nil {
		free()
		return errors.Join(err, holding.stop())
	}
	other := consume(ctx, q, 1, func(ctx context.Context, batch []queue.Delivery) error {
		if !released.Load() {
			t.wrong("%q came to a second consumer while the first one had a message of its key in flight", batch[0].Body)
		}
		return t.record(ctx, batch)
	})
	next, err := publish(ctx, q, message("k", "behind it"))
	if err == nil {
		select {
		case <-time.After(watch):
		case <-ctx.Done():
		}
		free()
		err = other.await(t, "both messages", holds(append(first, next...)))
	}
	free()
	return errors.Join(err, holding.stop(), other.stop(), t.found())
}

// turns watches numbered messages that several consumers handle.
type turns struct {
	mu       sync.Mutex
	finished due
	held     map[string]bool // keys in flight
}

// begin reports whether batch is out of turn or has a key that is in flight elsewhere.
func (t *turns) begin(batch []queue.Delivery) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.finished.check(batch); err != nil {
		return err
	}
	for _, d := range batch {
		if t.held[d.Key] {
			return fmt.Errorf("the key %q is in two hands", d.Key)
		}
	}
	for _, d := range batch {
		t.held[d.Key] = true
	}
	return nil
}

func (t *turns) end(batch []queue.Delivery) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.finished.finish(batch)
	for _, d := range batch {
		delete(t.held, d.Key)
	}
}
