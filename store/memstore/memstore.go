// Package memstore is a store in the memory of one process, for tests and for trying things out:
// nothing survives.
//
// It is package kvstore over an Engine in memory, and what that says of its methods holds.
package memstore

import (
	"time"

	"github.com/khodnevis/khodnevis/store/kvstore"
)

// Config adjusts a Store; the zero value is usable.
type Config struct {
	// Now is the clock of rating.Stats.AsOf and of the leases. Nil: time.Now.
	Now func() time.Time
}

// Store implements store.Store.
type Store = kvstore.Store

// New returns an empty store.
func New(cfg Config) *Store { return kvstore.New(NewEngine(), kvstore.Config{Now: cfg.Now}) }
