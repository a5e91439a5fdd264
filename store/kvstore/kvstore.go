// Package kvstore implements store.Store on any ordered, transactional key-value store. A new
// database needs an Engine, which has two methods, and its Tx, which has four.
//
// # Layout
//
// A row is a value under the name of its table and its identifiers. An index is a set of keys
// without values: what a list is ordered by or a row is found by, then the identifiers of the row.
// A page of a list, a search, a claim and a sweep read the keys of their page only, however many
// keys there are. Filters that no index serves read more; Query.MaxRows bounds how many.
//
// # Errors
//
// A key longer than MaxKey and a value longer than MaxValue wrap store.ErrUnstorable. An error of
// the Engine is returned with its cause.
//
// # Concurrency
//
// Every method runs one transaction of the Engine, or a few. RefreshScores calls its function
// within a transaction.
package kvstore

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/khodnevis/khodnevis/store"
)

// Config adjusts a Store; the zero value is usable.
type Config struct {
	// Now is the clock of rating.Stats.AsOf and of leases. Nil: time.Now.
	Now func() time.Time
}

// Store implements store.Store over an Engine. Nothing else may write into the Engine.
type Store struct {
	engine Engine
	now    func() time.Time
}

var (
	_ store.Store  = (*Store)(nil)
	_ store.Pinger = (*Store)(nil)
)

// New returns the store in engine, which is empty or was written by a Store.
func New(engine Engine, cfg Config) *Store {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Store{engine: engine, now: cfg.Now}
}

// Ping implements store.Pinger.
func (s *Store) Ping(ctx context.Context) error {
	_, err := view(ctx, s, "ping", func(*tx) (struct{}, error) { return struct{}{}, nil })
	return err
}

// view reads in one snapshot. Errors begin with what, the name of the operation.
func view[T any](ctx context.Context, s *Store, what string, read func(*tx) (T, error)) (T, error) {
	return transact(ctx, s, s.engine.View, what, read)
}

// update writes all or nothing. The engine may run write more than once, so write has no effect but
// through its tx and its results.
func update[T any](ctx context.Context, s *Store, what string, write func(*tx) (T, error)) (T, error) {
	return transact(ctx, s, s.engine.Update, what, write)
}

// write is update without a result.
func (s *Store) write(ctx context.Context, what string, write func(*tx) error) error {
	_, err := update(ctx, s, what, func(t *tx) (struct{}, error) { return struct{}{}, write(t) })
	return err
}

func transact[T any](
	ctx context.Context, s *Store, run func(context.Context, func(Tx) error) error,
	what string, do func(*tx) (T, error),
) (T, error) {
	var result, nothing T
	err := run(ctx, func(kv Tx) (err error) {
		t := &tx{ctx: ctx, kv: kv, now: s.now().UTC()}
		result, err = do(t)
		if t.failed() {
			return t.err
		}
		return err
	})
	if err != nil {
		return nothing, fmt.Errorf("kvstore: %s: %w", what, err)
	}
	return result, nil
}

// Installation implements rating.Store. The first call makes the identity.
func (s *Store) Installation(ctx context.Context) (string, error) {
	id, err := view(ctx, s, "installation", func(t *tx) (string, error) {
		id, _ := identity.get(t)
		return id, nil
	})
	if err != nil || id != "" {
		return id, err
	}
	random := strings.ToLower(rand.Text())
	return update(ctx, s, "installation", func(t *tx) (string, error) {
		if id, ok := identity.get(t); ok {
			return id, nil
		}
		identity.put(t, random)
		return random, nil
	})
}

// unique returns each of items once, in the order of their first occurrence.
func unique[T comparable](items []T) []T {
	var found []T
	seen := make(map[T]bool, len(items))
	for _, item := range items {
		if !seen[item] {
			seen[item] = true
			found = append(found, item)
		}
	}
	return found
}
