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
// A store for a host that brings its own contents and users has the methods of rating.Store alone:
//
//	storetest.Run(t, func(t *testing.T) rating.Store { return open(t) }, storetest.Config{})
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
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store"

	"github.com/khodnevis/khodnevis/internal/suite"
)

// Check is one promise of a port and the test of it.
type Check struct {
	// Name is the port and, after a slash, what is checked; it is unique.
	Name string
	// Sentence is what the port promises, in its own words.
	Sentence string
	// Run returns what is wrong, or nil. It ends early, with an error, when ctx does. A panic of
	// the store is an error too. ErrAbsent: the store lacks the optional power that is checked.
	Run func(ctx context.Context, s store.Store) error
}

// ErrAbsent says that a store lacks an optional power, such as rating.Auditor, so that the check of
// it has checked nothing.
var ErrAbsent = suite.ErrAbsent

// Checks returns all checks, in an order in which a new adapter may be written.
func Checks() []Check {
	all := slices.Concat(contentChecks(), ratingChecks(), authChecks(), acrossChecks())
	for i, c := range all {
		all[i].Run = func(ctx context.Context, s store.Store) error {
			return suite.Recovered(func() error { return c.Run(ctx, s) })
		}
	}
	return all
}

// Config adjusts Run; the zero value is usable.
type Config struct {
	// Timeout is how long one check may take before it fails. Zero: two minutes, of which an idle
	// machine needs some seconds for the longest.
	Timeout time.Duration
}

// partial is a store that has some of the ports. The others are nil: a check that calls them
// panics, and fails.
type partial struct {
	contents
	ratings
	accounts
	all any // with its optional powers
}

type (
	contents = content.Store
	ratings  = rating.Store
	accounts = auth.Store
)

// whole returns s as a store.Store, and false if s lacks a port that the check needs.
func whole(s any, check string) (store.Store, bool) {
	if full, ok := s.(store.Store); ok {
		return full, true
	}
	p := partial{all: s}
	var has struct{ contents, ratings, accounts bool }
	p.contents, has.contents = s.(content.Store)
	p.ratings, has.ratings = s.(rating.Store)
	p.accounts, has.accounts = s.(auth.Store)
	switch port, _, _ := strings.Cut(check, "/"); port {
	case "content":
		return p, has.contents
	case "rating":
		return p, has.ratings
	case "auth":
		return p, has.accounts
	}
	return nil, false
}

// power returns an optional power of a store.
func power[P any](s store.Store) (P, error) {
	var all any = s
	if p, ok := s.(partial); ok {
		all = p.all
	}
	has, ok := all.(P)
	if !ok {
		return has, ErrAbsent
	}
	return has, nil
}

// Run runs every check as a parallel subtest, and Installations. Open is called once for each
// store, and returns a store that nobody else works on; what it needs to close it leaves to
// t.Cleanup. S is store.Store, or one of content.Store, rating.Store and auth.Store: the checks of
// the ports that a store lacks are skipped, and so are those of its missing optional powers.
func Run[S any](t *testing.T, open func(t *testing.T) S, cfg Config) {
	if cfg.Timeout == 0 {
		cfg.Timeout = 2 * time.Minute
	}
	run := func(name, sentence string, stores int, check func(context.Context, ...store.Store) error) {
		suite.Run(t, name, sentence, cfg.Timeout, func(t *testing.T) []store.Store {
			opened := make([]store.Store, stores)
			for i := range opened {
				s := open(t)
				var ok bool
				if opened[i], ok = whole(s, name); !ok {
					t.Skipf("%T has no such methods", s)
				}
			}
			return opened
		}, func(ctx context.Context, opened []store.Store) error { return check(ctx, opened...) })
	}
	for _, c := range Checks() {
		run(c.Name, c.Sentence, 1, func(ctx context.Context, s ...store.Store) error { return c.Run(ctx, s[0]) })
	}
	run("rating/installations", "and another one in every other database.", 2,
		func(ctx context.Context, s ...store.Store) error { return Installations(ctx, s[0], s[1]) })
}
