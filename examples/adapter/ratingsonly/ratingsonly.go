// Package ratingsonly is an example of an adapter for a host that keeps its contents and its users
// itself: a store with the methods of rating.Store and no others. Its test is the public suite,
// which skips what the store lacks.
package ratingsonly

import (
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store/kvstore"
)

// Store implements rating.Store, and neither content.Store nor auth.Store. A store on another
// database implements the slices of rating.Store where this one embeds them.
type Store struct{ rating.Store }

var _ rating.Store = Store{}

// New returns the store in engine, an ordered key-value store.
func New(engine kvstore.Engine) Store { return Store{kvstore.New(engine, kvstore.Config{})} }
