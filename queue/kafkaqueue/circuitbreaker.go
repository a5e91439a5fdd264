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

// ready returns a producer whose topic was there a moment ago. If a confirmation fails, the circuit
// breaker opens: for probeEvery, calls that have no usable producer fail at once.
func (q *Queue) ready(ctx context.Context) (*producer, error) {
	for {
		q.mu.Lock()
		p, err, now := q.producer, q.unavailable, time.Now()
		open := now.Before(q.probeAt)
		fresh := p != nil && now.Sub(p.confirmed) < confirmEvery
		usable := p != nil && now.Sub(p.confirmed) < usableFor
		q.mu.Unlock()
		switch {
		case fresh, usable && open:
			return p, nil
		case open:
			return nil, err
		}
		confirmed := q.confirmations.DoChan("", func() (any, error) { return nil, q.confirm() })
		if usable {
			return p, nil
		}
		select {
		case c := <-confirmed:
			if c.Err != nil {
				return nil, c.Err
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-q.life.Done():
			return nil, errClosed
		}
	}
}

// confirm looks whether the topic is still there, and makes a producer unless there is one for that
// topic. It is a single flight for all calls that need it.
func (q *Queue) confirm() error {
	if !q.begin() {
		return errClosed
	}
	defer q.running.Done()
	ctx, cancel := context.WithTimeoutCause(q.life, confirmTimeout, errSlow)
	defer cancel()
	q.mu.Lock()
	p, began := q.producer, time.Now()
	q.mu.Unlock()
	t, err := q.topic(ctx)
	next := p
	if err == nil && (p == nil || p.topic != t) {
		if err = q.requireDurable(ctx); err == nil {
			next, err = q.openProducer(ctx, t)
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case err != nil:
		q.unavailable, q.probeAt = err, time.Now().Add(probeEvery)
	case next == p: // which may have been discarded meanwhile
		p.confirmed = began
	case q.life.Err() != nil:
		q.running.Go(next.abort)
	default:
		q.discardLocked(p)
		next.confirmed = began
		q.producer = next
	}
	return err
}

// discard gives p up, so that the next Publish makes another one.
func (q *Queue) discard(p *producer) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.discardLocked(p)
}

func (q *Queue) discardLocked(p *producer) {
	if p != nil && q.producer == p && q.life.Err() == nil {
		q.producer = nil
		q.running.Go(p.abort)
	}
}
