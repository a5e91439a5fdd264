// Package store is the union of the three ports that one database serves, and the rules that reach
// across them.
//
// An adapter is a type with the methods of content.Store, rating.Store and auth.Store over one
// database. Each of these ports is made of named slices of at most six methods, so that an adapter
// can be written and read slice by slice. A host that brings its own contents and users needs the
// slices of rating.Store alone. An adapter holds no rules: the services check, decide, and make
// identifiers and times; the adapter keeps what it is given and answers queries.
//
// Adapters of this module: sqlitestore (the embedded default, one file), pgstore (PostgreSQL),
// memstore (nothing survives the process). For another database, package kvstore makes a Store of
// any ordered key-value store. A new adapter is right when it passes the suite in package
// storetest.
//
// # Rules across the ports
//
// The lists of contents filter and order by numbers that belong to ratings (score, rank, count): as
// they are published, at the moment of the query. A deleted content takes its ratings and their
// numbers along, and a rating of it that comes later is refused. A deleted user's contents and
// ratings stay. What shall become of the ratings is recorded together with the deletion, as by
// RecordErasure: either both happen or neither.
//
// # Errors
//
// An adapter translates its driver's errors, by code: what the ports name gets their sentinels; a
// database that does not answer or has no room wraps ErrUnavailable; values that the database will
// never take wrap ErrUnstorable.
//
// # Deadlines
//
// A request has one deadline for all that is done for it: that of the context. A method returns
// when the deadline of its context has passed, with an error that wraps ErrUnavailable or
// context.DeadlineExceeded, also if the database has fallen silent or somebody holds a lock.
// Workers and jobs set no deadline; an adapter bounds their calls by timeouts of its own.
//
// # Concurrency
//
// Every method may be called concurrently, and, for a database that processes share, from several
// of them.
package store

import (
	"context"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/internal/errs"
	"github.com/khodnevis/khodnevis/rating"
)

// ErrUnavailable says that the database does not answer or has no room: trying again later may
// succeed.
var ErrUnavailable = errs.ErrUnavailable

// ErrUnstorable says that the database will never take what it was given, however often it is
// tried.
var ErrUnstorable = errs.ErrUnstorable

// Store is what an adapter implements.
type Store interface {
	content.Store
	rating.Store
	auth.Store
}

// Breaker is implemented by stores with a circuit breaker, which keeps calls away from a database
// that does not answer.
type Breaker interface {
	// Down reports whether the circuit breaker is open: calls fail at once, but for a few that try
	// the database again.
	Down() bool
}

// Rebuilder is implemented by stores whose rows an upgrade of the schema may leave to be computed
// anew, which takes too long for the start of a server.
type Rebuilder interface {
	// Rebuild computes what is left, while the store serves, and returns nil when nothing is left.
	// It can be stopped at any time, and goes on from there when it is called again. Several
	// processes may call it at once.
	Rebuild(ctx context.Context) error
}

// Pinger is implemented by stores that can tell whether their database answers.
type Pinger interface {
	Ping(ctx context.Context) error
}
