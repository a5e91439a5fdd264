package auth

import (
	"context"
	"crypto/subtle"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// ErrBusy says that too many passwords are being hashed. It comes as a *BusyError, which says when to try again.
var ErrBusy = errors.New("auth: busy")

// BusyError is ErrBusy with advice.
type BusyError struct {
	// RetryAfter is when to try again: 1 to 5 seconds, drawn at random so that clients do not come back at once.
	RetryAfter time.Duration
}

// Error implements error.
func (e *BusyError) Error() string { return ErrBusy.Error() }

// Unwrap returns ErrBusy.
func (e *BusyError) Unwrap() error { return ErrBusy }

// hasher hashes passwords, so many at once and no more: each takes tens of milliseconds of a processor and its own memory.
type hasher struct {
	params  HashParams
	derive  func(phc, string) []byte
	slots   chan struct{}
	waiting atomic.Int64
	queue   int64
	wait    time.Duration
	// dummy is checked where there is no hash to check, so that an unknown name takes as long as a known one.
	dummy phc
}

func newHasher(cfg Config) *hasher {
	return &hasher{
		params: cfg.Hash,
		derive: phc.derive,
		slots:  make(chan struct{}, cfg.MaxHashes),
		queue:  int64(cfg.HashQueue),
		wait:   cfg.HashWait,
		dummy:  blankPHC(cfg.Hash),
	}
}

// hash returns the PHC string of a password, salted afresh.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	p := blankPHC(h.params)
	key, err := h.run(ctx, p, password)
	if err != nil {
		return "", err
	}
	p.key = key
	return p.String(), nil
}

// verify reports whether password has the hash p.
func (h *hasher) verify(ctx context.Context, p phc, password string) (bool, error) {
	key, err := h.run(ctx, p, password)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(key, p.key) == 1, nil
}

func (h *hasher) run(ctx context.Context, p phc, password string) ([]byte, error) {
	if err := h.acquire(ctx); err != nil {
		return nil, err
	}
	defer func() { <-h.slots }()
	return h.derive(p, password), nil
}

func (h *hasher) acquire(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case h.slots <- struct{}{}:
		return nil
	default:
	}
	if h.waiting.Add(1) > h.queue {
		h.waiting.Add(-1)
		return newBusyError()
	}
	defer h.waiting.Add(-1)
	timer := time.NewTimer(h.wait)
	defer timer.Stop()
	select {
	case h.slots <- struct{}{}:
		return nil
	case <-timer.C:
		return newBusyError()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func newBusyError() error {
	return &BusyError{RetryAfter: time.Second + rand.N(4*time.Second)}
}
