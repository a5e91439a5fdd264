package auth

import (
	"context"
	"crypto/subtle"
	"errors"
	"math/rand/v2"
	"net/netip"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/khodnevis/khodnevis/internal/counter"
)

// The fair share of the slots and waiting places that one network, or one user who is logged in,
// may take.
const (
	shareOfQueue = 8 // an eighth of Config.HashQueue
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

func newBusyError() error {
	return &BusyError{RetryAfter: time.Second + rand.N(4*time.Second)}
}

// hasher hashes a bounded number of passwords at once: each takes tens of milliseconds of a
// processor and its own memory.
type hasher struct {
	params HashParams
	derive func(phc, string) []byte
	slots  chan struct{} // one for each hash in flight
	wait   time.Duration // for a slot
	// limiter counts the callers that hash or wait to hash: in total, and of each network and user.
	limiter *counter.Limiter
	// dummy is checked where there is no hash to check, so that an unknown name takes as long as a
	// known one.
	dummy phc
}

func newHasher(cfg Config) *hasher {
	total := cfg.MaxHashes + cfg.HashQueue
	share := max(leastShare, cfg.HashQueue/shareOfQueue)
	if cfg.LimitsOff {
		share = total
	}
	return &hasher{
		params: cfg.Hash,
		derive: func(p phc, password string) []byte {
			n := uint32(len(p.key))
			return argon2.IDKey([]byte(password), p.salt, p.params.Time, p.params.Memory, p.params.Threads, n)
		},
		slots:   make(chan struct{}, cfg.MaxHashes),
		wait:    cfg.HashWait,
		limiter: counter.NewLimiter(int64(total), int64(share)),
		dummy:   blankPHC(cfg.Hash),
	}
}

// sharers are the network and the user whose fair share of the hasher a call takes.
type sharers []counter.Group

// sharersOf returns the network of an address, its IPv4 /24 or IPv6 /48, and the users given. The
// network is wider than what guesses are counted by, because one customer may have a whole /48, and
// a neighbour who is refused loses no more than a second.
func sharersOf(ip netip.Addr, users ...string) sharers {
	groups := counter.GroupsOf(ip)
	all := sharers{{Name: groups[len(groups)-1].Name, Factor: 1}}
	for _, u := range users {
		all = append(all, counter.Group{Name: u, Factor: 1})
	}
	return all
}

// hash returns the PHC string of a password, salted afresh.
func (h *hasher) hash(ctx context.Context, who sharers, password string) (string, error) {
	p := blankPHC(h.params)
	key, err := h.run(ctx, who, p, password)
	if err != nil {
		return "", err
	}
	p.key = key
	return p.String(), nil
}

// verify reports whether password has the hash p.
func (h *hasher) verify(ctx context.Context, who sharers, p phc, password string) (bool, error) {
	key, err := h.run(ctx, who, p, password)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(key, p.key) == 1, nil
}

// admits reports whether a call would be let in now.
func (h *hasher) admits(who sharers) bool { return h.limiter.Fits(1, who...) }

// run hashes. The error is ErrBusy if who have their share already, or no slot became free in time.
func (h *hasher) run(ctx context.Context, who sharers, p phc, password string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if ok, _ := h.limiter.Acquire(1, who...); !ok {
		return nil, newBusyError()
	}
	defer h.limiter.Release(1, who...)
	timer := time.NewTimer(h.wait)
	defer timer.Stop()
	select {
	case h.slots <- struct{}{}:
	case <-timer.C:
		return nil, newBusyError()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-h.slots }()
	return h.derive(p, password), nil
}
