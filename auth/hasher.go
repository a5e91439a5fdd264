package auth

import (
	"context"
	"crypto/subtle"
	"errors"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/khodnevis/khodnevis/internal/counter"
)

// The share of the waiting places that one holder may have, those who hash already among them.
const (
	shareOfQueue = 8 // an eighth
	leastShare   = 2
)

// ErrBusy says that too many passwords are being hashed. It comes as a *BusyError, which says when
// to try again.
var ErrBusy = errors.New("auth: busy")

// BusyError is ErrBusy with advice.
type BusyError struct {
	// RetryAfter is when to try again: 1 to 5 seconds, drawn at random so that clients do not come
	// back at once.
	RetryAfter time.Duration
}

// Error implements error.
func (e *BusyError) Error() string { return ErrBusy.Error() }

// Unwrap returns ErrBusy.
func (e *BusyError) Unwrap() error { return ErrBusy }

// hasher hashes passwords, so many at once and no more: each takes tens of milliseconds of a
// processor and its own memory.
type hasher struct {
	params  HashParams
	derive  func(phc, string) []byte
	slots   chan struct{}
	waiting atomic.Int64
	queue   int64
	wait    time.Duration
	// share is how many places one holder may have; 0: as many as there are.
	share int
	mu    sync.Mutex
	held  map[string]int
	// dummy is checked where there is no hash to check, so that an unknown name takes as long as a
	// known one.
	dummy phc
}

func newHasher(cfg Config) *hasher {
	h := &hasher{
		params: cfg.Hash,
		derive: func(p phc, password string) []byte {
			return argon2.IDKey([]byte(password), p.salt, p.params.Time, p.params.Memory, p.params.Threads, uint32(len(p.key)))
		},
		slots: make(chan struct{}, cfg.MaxHashes),
		queue: int64(cfg.HashQueue),
		wait:  cfg.HashWait,
		held:  map[string]int{},
		dummy: blankPHC(cfg.Hash),
	}
	if !cfg.LimitsOff {
		h.share = max(leastShare, cfg.HashQueue/shareOfQueue)
	}
	return h
}

// holders are those whose share a hash takes a place of.
type holders []string

// holdersAt returns the network of an address: its IPv4 /24 or IPv6 /48. That is wider than what
// failures are counted by, since a customer may have all of a /48, and a neighbour who finds no
// place loses a second.
func holdersAt(ip netip.Addr) holders {
	groups := counter.GroupsOf(ip)
	return holders{groups[len(groups)-1].Name}
}

// hash returns the PHC string of a password, salted afresh.
func (h *hasher) hash(ctx context.Context, who holders, password string) (string, error) {
	p := blankPHC(h.params)
	key, err := h.run(ctx, who, p, password)
	if err != nil {
		return "", err
	}
	p.key = key
	return p.String(), nil
}

// verify reports whether password has the hash p.
func (h *hasher) verify(ctx context.Context, who holders, p phc, password string) (bool, error) {
	key, err := h.run(ctx, who, p, password)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(key, p.key) == 1, nil
}

func (h *hasher) run(ctx context.Context, who holders, p phc, password string) ([]byte, error) {
	if !h.hold(who) {
		return nil, newBusyError()
	}
	defer h.release(who)
	if err := h.acquire(ctx); err != nil {
		return nil, err
	}
	defer func() { <-h.slots }()
	return h.derive(p, password), nil
}

// room reports whether who would find a place now.
func (h *hasher) room(who holders) bool {
	if len(h.slots) == cap(h.slots) && h.waiting.Load() >= h.queue {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.shares(who)
}

// shares reports whether each of who has less than its share.
func (h *hasher) shares(who holders) bool {
	for _, w := range who {
		if h.share > 0 && h.held[w] >= h.share {
			return false
		}
	}
	return true
}

// hold takes a place of the share of each of who, or none.
func (h *hasher) hold(who holders) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.shares(who) {
		return false
	}
	for _, w := range who {
		h.held[w]++
	}
	return true
}

func (h *hasher) release(who holders) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range who {
		if h.held[w]--; h.held[w] == 0 {
			delete(h.held, w)
		}
	}
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
