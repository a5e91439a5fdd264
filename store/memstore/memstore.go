// Package memstore is a store in the memory of one process, for tests and for trying things out: nothing survives.
//
// It does what store.Store asks for in the plainest way, and so it is also the one to read first before writing another.
// A page of contents or users costs a look at each of them; a page of ratings a look at those of its content or rater, and
// without either, unless it is ordered by key, at all.
//
// # Concurrency
//
// One lock guards everything. The function handed to RefreshScores runs under it and must not call the store.
package memstore

import (
	"context"
	"crypto/rand"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store"
)

// Config adjusts a Store; the zero value is usable.
type Config struct {
	// Now is the clock of rating.Stats.AsOf and of the leases of ticks. Nil: time.Now.
	Now func() time.Time
}

// Store keeps everything in maps.
type Store struct {
	now          func() time.Time
	installation string

	mu       sync.RWMutex
	contents map[string]*entry
	deleted  set[string] // identifiers of contents that were deleted
	made     map[creationKey]content.Creation

	rated    map[string]*rated          // by content
	raters   map[string]set[string]     // the contents that a rater has rows of
	changed  set[string]                // contents whose buckets changed since their last fold
	windows  map[string][]rating.Window // by content, ascending by ID
	openings map[string]time.Time       // by content
	epochs   map[string]int64           // by stream
	ticks    map[string]tick            // by job
	departed map[string]rating.Departure

	rejected     []rating.Rejected // ascending by ID
	rejectedID   int64             // the last one given
	rejectedName set[rejectedName] // of those in rejected

	users    map[string]auth.User
	names    map[string]string // from the canonical name to the identifier, of deleted users too
	sessions map[string]*session
	logins   map[string]set[string] // the sessions of a user
	tokens   map[auth.Hash]auth.Token
}

var (
	_ store.Store  = (*Store)(nil)
	_ store.Pinger = (*Store)(nil)
)

// New returns an empty store.
func New(cfg Config) *Store {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Store{
		now:          cfg.Now,
		installation: strings.ToLower(rand.Text()),
		contents:     map[string]*entry{},
		deleted:      set[string]{},
		made:         map[creationKey]content.Creation{},
		rated:        map[string]*rated{},
		raters:       map[string]set[string]{},
		changed:      set[string]{},
		windows:      map[string][]rating.Window{},
		openings:     map[string]time.Time{},
		epochs:       map[string]int64{},
		ticks:        map[string]tick{},
		departed:     map[string]rating.Departure{},
		rejectedName: set[rejectedName]{},
		users:        map[string]auth.User{},
		names:        map[string]string{},
		sessions:     map[string]*session{},
		logins:       map[string]set[string]{},
		tokens:       map[auth.Hash]auth.Token{},
	}
}

// Ping implements store.Pinger.
func (s *Store) Ping(ctx context.Context) error { return ctx.Err() }

// lock opens a method that writes. Nobody waits for long here, but a caller whose context is done must not find its work done.
func (s *Store) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	return nil
}

// rlock opens a method that reads.
func (s *Store) rlock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.RLock()
	return nil
}

type set[T comparable] map[T]struct{}

func (s set[T]) add(v T) { s[v] = struct{}{} }

func (s set[T]) has(v T) bool {
	_, ok := s[v]
	return ok
}

// link adds v to the set at key, which need not exist yet.
func link(index map[string]set[string], key, v string) {
	if index[key] == nil {
		index[key] = set[string]{}
	}
	index[key].add(v)
}

// unlink is the inverse of link.
func unlink(index map[string]set[string], key, v string) {
	delete(index[key], v)
	if len(index[key]) == 0 {
		delete(index, key)
	}
}

// least returns the first limit of items in the order of compare. It looks once at each and sorts only those that may be among them.
func least[T any](items iter.Seq[T], limit int, compare func(a, b T) int) []T {
	var (
		best []T
		full bool // best[limit-1] is the last that may still be meant
	)
	cut := func() {
		slices.SortFunc(best, compare)
		if full = len(best) >= limit; full {
			best = best[:limit]
		}
	}
	for item := range items {
		if full && compare(item, best[limit-1]) >= 0 {
			continue
		}
		if best = append(best, item); len(best)/2 > limit {
			cut()
		}
	}
	cut()
	return best
}

// unique returns each of items once, in the order of their first occurrence.
func unique[T comparable](items []T) iter.Seq[T] {
	return func(yield func(T) bool) {
		seen := make(set[T], len(items))
		for _, item := range items {
			if seen.has(item) {
				continue
			}
			seen.add(item)
			if !yield(item) {
				return
			}
		}
	}
}
