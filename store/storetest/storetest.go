// Package storetest is the conformance suite of stores: an adapter that passes it keeps every
// sentence of the ports content.Store, rating.Store and auth.Store, and of the rules across them in
// package store.
//
// The test of an adapter is one call of Run:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) store.Store { return open(t) }, storetest.Config{})
//	}
//
// # Isolation
//
// Checks name everything they make at random and expect nothing of what others have left, so that
// they pass on a database that was used before. While a check runs nobody else may work on its
// store: some methods, such as RefreshScores, take whatever there is to take. Run therefore asks
// for a store of its own for each check (a file, a schema, a prefix).
//
// # Reading
//
// Where a port leaves something open, the check that needs an answer says in its comment which one
// it takes.
package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/store"
)

// Check is one promise of a port and the test of it.
type Check struct {
	// Name is the port and, after a slash, what is checked; it is unique.
	Name string
	// Sentence is what the port promises, in its own words.
	Sentence string
	// Run returns what is wrong, or nil. It ends early, with an error, when ctx does.
	Run func(ctx context.Context, s store.Store) error
}

// Checks returns all checks, in an order in which a new adapter may be written.
func Checks() []Check {
	var all []Check
	for _, part := range [][]Check{Content(), Rating(), Auth(), Across()} {
		all = append(all, part...)
	}
	return all
}

// Config adjusts Run; the zero value is usable.
type Config struct {
	// Timeout is how long one check may take before it fails. Zero: two minutes, of which an idle
	// machine needs some seconds for the longest.
	Timeout time.Duration
}

// Run runs every check as a parallel subtest, and Installations. Open is called once for each
// store, and returns a store that nobody else works on; what it needs to close it leaves to
// t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) store.Store, cfg Config) {
	if cfg.Timeout == 0 {
		cfg.Timeout = 2 * time.Minute
	}
	for _, check := range Checks() {
		t.Run(check.Name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			ctx, cancel := context.WithTimeout(t.Context(), cfg.Timeout)
			defer cancel()
			if err := check.Run(ctx, s); err != nil {
				t.Errorf("%v\nthe port says: %s", err, check.Sentence)
			}
		})
	}
	t.Run("rating/installations", func(t *testing.T) {
		t.Parallel()
		a, b := open(t), open(t)
		ctx, cancel := context.WithTimeout(t.Context(), cfg.Timeout)
		defer cancel()
		if err := Installations(ctx, a, b); err != nil {
			t.Error(err)
		}
	})
}
