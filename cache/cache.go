// Package cache is the port to a place that answers fast and may forget.
//
// # Errors
//
// A cache may forget anything at any time. Callers treat its errors as misses and go on; nothing that must not be lost is
// kept only here.
//
// # Concurrency
//
// Every method may be called concurrently. An implementation shares no memory with its caller: values are copied in and out,
// or the caller could change what others read.
//
// # Optional powers
//
// A cache that counts across processes implements Counter; without it rate limits are kept in process.
package cache

import (
	"context"
	"time"
)

// Bounds of an item. Every adapter keeps what is within them and may refuse the rest with an error.
const (
	MaxKey   = 512     // bytes of Item.Key
	MaxValue = 1 << 20 // bytes of Item.Value
	MaxBatch = 10_000  // items or keys of one call
)

// Item is something to remember for a while.
type Item struct {
	// Key is 1 to MaxKey bytes.
	Key string
	// Value is at most MaxValue bytes; a value of no bytes is a value.
	Value []byte
	// Version orders the values of one key, whoever wrote them and in whichever order they arrive.
	Version int64
	// TTL is how long the item may be served, exact to a millisecond, at least one. Zero: as long as the cache likes.
	// In an answer of GetMany it is zero.
	TTL time.Duration
}

// A Cache may forget anything at any time; callers treat its errors as misses and go on.
type Cache interface {
	// GetMany returns those of keys that are there. A missing key is missing from the map and no error. An item past its TTL is missing.
	GetMany(ctx context.Context, keys []string) (map[string]Item, error)
	// SetMany remembers items. An item never replaces one of a greater Version; one of an equal Version it does replace.
	// Of several items with one key in one call, the same holds in their order.
	SetMany(ctx context.Context, items []Item) error
	// DeleteMany forgets keys together with their versions. Forgetting what is not there is no error.
	DeleteMany(ctx context.Context, keys []string) error
}

// Counter is optional: counts that all processes share.
type Counter interface {
	// Add adds n to the count of key and returns the sum. The count begins at zero when key is new, and ends ttl after it
	// began, however often it is added to. Adding 0 reads it.
	Add(ctx context.Context, key string, n int64, ttl time.Duration) (int64, error)
}
