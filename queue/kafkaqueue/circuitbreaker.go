package kafkaqueue

import (
	"context"
	"errors"
	"time"
)

const (
	confirmEvery   = time.Second     // how long a producer is used before the topic is looked for again
	usableFor      = 2 * time.Second // how long it may be used while that goes on
	probeEvery     = time.Second     // between confirmations while the circuit breaker is open
	confirmTimeout = 10 * time.Second
	maxFailures    = 5 // of a producer in a row, after which it is discarded
)

var errSlow = errors.New("the brokers did not answer in time")

// confirmation looks whether the topic is still there, and makes a producer unless there is one for
// that topic: a single flight for all calls that wait for it. One that fails opens the circuit
// breaker: for probeEvery, calls that have no usable producer fail at once.
type confirmation struct {
	done chan struct{}
	err  error // once done
}

// ready returns a producer whose topic was there a moment ago.
func (q *Queue) ready(ctx context.Context) (*producer, error) {
	for {
		p, c, err := q.tryReady()
		if p != nil || err != nil {
			return p, err
		}
		select {
		case <-c.done:
			if c.err != nil {
				return nil, c.err
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-q.life.Done():
			return nil, errClosed
		}
	}
}

// tryReady returns a producer, or the confirmation to wait for, or why there is no producer.
func (q *Queue) tryReady() (*producer, *confirmation, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now, p := time.Now(), q.producer
	if p != nil && now.Sub(p.confirmed) < confirmEvery {
		return p, nil, nil
	}
	if q.confirmation == nil && !now.Before(q.probeAt) {
		if !q.beginLocked() {
			return nil, nil, errClosed
		}
		q.confirmation = &confirmation{done: make(chan struct{})}
		go q.confirm(q.confirmation, p)
	}
	switch {
	case p != nil && now.Sub(p.confirmed) < usableFor:
		return p, nil, nil
	case q.confirmation != nil:
		return nil, q.confirmation, nil
	}
	return nil, nil, q.unavailable
}

// confirm confirms p or replaces it.
func (q *Queue) confirm(c *confirmation, p *producer) {
	defer q.running.Done()
	ctx, cancel := context.WithTimeoutCause(q.life, confirmTimeout, errSlow)
	defer cancel()
	began := time.Now()
	next := p
	t, err := q.topic(ctx)
	if err == nil && (p == nil || p.topic != t) {
		if err = q.requireDurable(ctx); err == nil {
			next, err = q.openProducer(ctx, t)
		}
	}
	if unwanted := q.confirmed(c, began, p, next, err); unwanted {
		next.abort()
	}
}

// confirmed ends a confirmation that began with p, and reports whether next is not needed any more.
func (q *Queue) confirmed(c *confirmation, began time.Time, p, next *producer, err error) (unwanted bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.confirmation = nil
	c.err = err
	close(c.done)
	switch {
	case err != nil:
		q.unavailable, q.probeAt = err, time.Now().Add(probeEvery)
	case q.life.Err() != nil:
		return next != p
	case next == p && q.producer != p: // discarded meanwhile
	default:
		if next != p && q.producer != nil {
			q.discardLocked(q.producer)
		}
		next.confirmed = began
		q.producer = next
	}
	return false
}

// discard gives p up, so that the next Publish makes another one.
func (q *Queue) discard(p *producer) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.discardLocked(p)
}

func (q *Queue) discardLocked(p *producer) {
	if q.producer != p || !q.beginLocked() {
		return
	}
	q.producer = nil
	go func() {
		defer q.running.Done()
		p.abort()
	}()
}
