// Package cache is the port to a place that answers fast and may forget.
//
// # Errors
//
// A cache may forget anything at any time. Callers treat its errors as misses and go on; nothing
// that must not be lost is kept only here.
//
// # Concurrency
//
// Every method may be called concurrently. An implementation shares no memory with its caller:
// values are copied in and out, or the caller could change what others read.
//
// # Optional powers
//
// A cache that counts across processes implements Counter; without it, rate limits are kept in
// process. A cache with a circuit breaker implements Breaker, and metrics report its state.
package cache

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Bounds of an item. Every adapter takes what is within them; the rest it refuses with an error
// that wraps ErrInvalid, or takes as it is and never shortened.
const (
	MaxKey   = 512              // bytes of Item.Key
	MaxValue = 1 << 20          // bytes of Item.Value
	MinTTL   = time.Millisecond // of an Item.TTL that is not zero, and of a count
	MaxBatch = 10_000           // items or keys of one call
)

// ErrInvalid says that a call is outside the bounds; it has kept nothing.
var ErrInvalid = errors.New("cache: invalid")

// Item is something to remember for a while.
type Item struct {
	// Key is 1 to MaxKey bytes of any kind.
	Key string
	// Value is at most MaxValue bytes; a value of no bytes is a value, and may come back as nil.
	Value []byte
	// Version orders the values of one key, whoever wrote them and in whichever order they arrive.
	Version int64
	// TTL is how long the item may be served, exact to a millisecond. Zero: as long as the cache
	// likes. In an answer of GetMany it is zero.
	TTL time.Duration
}

// A Cache may forget anything at any time; callers treat its errors as misses and go on. A call
// without keys or items does nothing.
type Cache interface {
	// GetMany returns those of keys that are there, under their keys; a key may be given twice. A
	// missing key is missing from the map and no error. An item past its TTL is missing, and its
	// version is forgotten.
	GetMany(ctx context.Context, keys []string) (map[string]Item, error)
	// SetMany remembers items. An item never replaces one of a greater Version, and leaves its TTL
	// as it is; one of an equal or smaller Version it does replace, TTL included. Of several items
	// with one key in one call, the same holds in their order.
	SetMany(ctx context.Context, items []Item) error
	// DeleteMany forgets keys together with their versions. Forgetting what is not there is no error.
	DeleteMany(ctx context.Context, keys []string) error
}

// Counter is optional: counts that all processes share.
type Counter interface {
	// Add adds n, which may be negative, to the count of key and returns the sum. The count begins
	// at zero when key is new, and ends ttl after it began, however often and with whichever ttl it
	// is added to. Adding 0 reads it and begins none. Counts have keys of their own: an item of the
	// same key is another thing, and DeleteMany leaves counts alone.
	Add(ctx context.Context, key string, n int64, ttl time.Duration) (int64, error)
}

// Breaker is optional: a cache with a circuit breaker, which keeps calls away from a server that
// does not answer.
type Breaker interface {
	// Down reports whether the circuit breaker is open: calls fail at once, except a few that try the
	// server again.
	Down() bool
}

// Validate reports items outside the bounds with an error that wraps ErrInvalid.
func Validate(items ...Item) error {
	if len(items) > MaxBatch {
		return fmt.Errorf("%w: %d items at once, at most %d", ErrInvalid, len(items), MaxBatch)
	}
	for i, item := range items {
		switch {
		case item.Key == "" || len(item.Key) > MaxKey:
			return fmt.Errorf("%w: item %d: the key has %d bytes, must have 1 to %d", ErrInvalid, i, len(item.Key), MaxKey)
		case len(item.Value) > MaxValue:
			return fmt.Errorf("%w: item %d: the value has %d bytes, at most %d", ErrInvalid, i, len(item.Value), MaxValue)
		case item.TTL != 0 && item.TTL < MinTTL:
			return fmt.Errorf("%w: item %d: the TTL is %v, must be zero or at least %v", ErrInvalid, i, item.TTL, MinTTL)
		}
	}
	return nil
}
