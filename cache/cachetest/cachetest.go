// Package cachetest is the suite that every implementation of cache.Cache, and of cache.Counter,
// must pass. Each check quotes the sentence of package cache that it is about.
//
//	func TestCache(t *testing.T) {
//		cachetest.Run(t, func(t *testing.T) cache.Cache { return open(t) }, cachetest.Config{})
//	}
//
// A cache may forget anything at any time; one that forgot everything would keep the contract and
// be of no use. So the suite expects more than the port promises: that a fresh cache keeps what one
// check stores, at most cache.MaxBatch small items and 2 MiB, until the check is over.
package cachetest

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/cache"

	"github.com/khodnevis/khodnevis/internal/suite"
)

// Config is for caches that need time.
type Config struct {
	// Timeout bounds each check. Default 10 s.
	Timeout time.Duration
}

// Check is one thing that a cache promises.
type Check struct {
	Name     string
	Sentence string // as it stands in package cache
	// Run reports what is wrong with c, a cache in which nothing has been kept, before ctx is done.
	// Checks of counts have nothing to say of a cache that is no cache.Counter.
	Run func(ctx context.Context, c cache.Cache) error
}

// Checks is the suite in reading order. It is not to be changed.
var Checks = []Check{
	{"what is missing", "A missing key is missing from the map and no error.", missing},
	{"answers", "GetMany returns those of keys that are there, under their keys", answers},
	{"a key twice", "a key may be given twice.", keyTwice},
	{"nothing", "A call without keys or items does nothing.", nothing},
	{"round trip", "Every adapter takes what is within them", roundTrip},
	{"largest call", "Every adapter takes what is within them", largestCall},
	{"out of bounds", "the rest it refuses with an error that wraps ErrInvalid, or takes as it is and never shortened.",
		outOfBounds},
	{"empty value", "a value of no bytes is a value", emptyValue},
	{"older versions", "An item never replaces one of a greater Version", olderVersions},
	{"equal and newer versions", "one of an equal or smaller Version it does replace", newerVersions},
	{"great versions", "Version orders the values of one key", greatVersions},
	{"order in one call", "Of several items with one key in one call, the same holds in their order.", orderInOneCall},
	{"deleted", "DeleteMany forgets keys together with their versions.", deleted},
	{"deleting what is missing", "Forgetting what is not there is no error.", deletedMissing},
	{"end of a TTL", "TTL is how long the item may be served, exact to a millisecond.", ttlEnds},
	{"version past its TTL", "An item past its TTL is missing, and its version is forgotten.", ttlForgetsVersion},
	{"no TTL", "Zero: as long as the cache likes.", ttlZero},
	{"TTL of an answer", "In an answer of GetMany it is zero.", ttlOfAnswer},
	{"TTL of what is replaced", "TTL included", ttlReplaced},
	{"TTL of what is not replaced", "and leaves its TTL as it is", ttlLeft},
	{"memory of the writer", "values are copied in and out", writerMemory},
	{"memory of the reader", "or the caller could change what others read.", readerMemory},
	{"many callers", "Every method may be called concurrently.", manyCallers},
	{"newest of many writers", "whoever wrote them and in whichever order they arrive.", newestOfMany},
	{"sum", "Add adds n, which may be negative, to the count of key and returns the sum.", counted(sum)},
	{"end of a count", "and ends ttl after it began, however often and with whichever ttl it is added to.",
		counted(countEnds)},
	{"reading a count", "Adding 0 reads it and begins none.", counted(countRead)},
	{"counts and items",
		"Counts have keys of their own: an item of the same key is another thing, and DeleteMany leaves counts alone.",
		counted(countKeys)},
	{"many counting", "counts that all processes share.", counted(manyCounting)},
}

// ErrAbsent is the error of a check of counts, if the cache is no cache.Counter.
var ErrAbsent = suite.ErrAbsent

// Run runs every check as a parallel subtest. Open is called in the subtest and must return an
// empty cache each time; what several of them share, such as a server, is closed by t.Cleanup of
// the test around Run and not by defer, because parallel subtests end after their parent's
// function. The checks of counts are skipped for a cache that is no cache.Counter.
func Run(t *testing.T, open func(t *testing.T) cache.Cache, cfg Config) {
	t.Helper()
	if cfg.Timeout <= 0 {
		cfg.Timeout = 10 * time.Second
	}
	for _, check := range Checks {
		suite.Run(t, check.Name, check.Sentence, cfg.Timeout, open, check.Run)
	}
}

func set(ctx context.Context, c cache.Cache, items ...cache.Item) error {
	if err := c.SetMany(ctx, items); err != nil {
		return fmt.Errorf("setting %d items: %w", len(items), err)
	}
	return nil
}

// get returns what c has of keys, checked for what every answer must be.
func get(ctx context.Context, c cache.Cache, keys ...string) (map[string]cache.Item, error) {
	asked := make(map[string]bool, len(keys))
	for _, key := range keys {
		asked[key] = true
	}
	found, err := c.GetMany(ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("getting %d keys: %w", len(keys), err)
	}
	for key, item := range found {
		if !asked[key] || item.Key != key {
			return nil, fmt.Errorf("asked for %.80q, got %.80q under the key %.80q", keys, item.Key, key)
		}
	}
	return found, nil
}

// has reports whether c has not exactly want under their keys. TTLs are not compared.
func has(ctx context.Context, c cache.Cache, want ...cache.Item) error {
	keys := make([]string, len(want))
	for i, item := range want {
		keys[i] = item.Key
	}
	found, err := get(ctx, c, keys...)
	if err != nil {
		return err
	}
	for _, w := range want {
		got, ok := found[w.Key]
		switch {
		case !ok:
			return fmt.Errorf("the key %.80q is missing", w.Key)
		case got.Version != w.Version:
			return fmt.Errorf("the key %.80q has the version %d, want %d", w.Key, got.Version, w.Version)
		case !bytes.Equal(got.Value, w.Value):
			return fmt.Errorf("the key %.80q has the value %.80q (%d bytes), want %.80q (%d bytes)", w.Key, got.Value,
				len(got.Value), w.Value, len(w.Value))
		}
	}
	return nil
}

// hasNot reports whether c has something under keys.
func hasNot(ctx context.Context, c cache.Cache, keys ...string) error {
	found, err := get(ctx, c, keys...)
	if err != nil {
		return err
	}
	for key, item := range found {
		return fmt.Errorf("the key %.80q has the value %.80q of version %d, want none", key, item.Value, item.Version)
	}
	return nil
}

func item(key, value string, version int64) cache.Item {
	return cache.Item{Key: key, Value: []byte(value), Version: version}
}
