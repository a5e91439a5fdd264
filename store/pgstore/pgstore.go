// Package pgstore is a store in PostgreSQL (15 or later), for any number of processes.
//
// A host opens its own *sqlx.DB, or lets Open do it, passes it to New and calls Migrate once.
// Everything lives in a schema of its own, so that the tables stand beside those of the host in one
// database.
//
// # Deadlines
//
// The driver ignores a context once the server has gone silent. So two things bound a call: every
// method returns at most 50 ms after its context is done, whatever the driver does, and the
// connections that Open makes, as well as those of a host that uses Dialer, give up on a server
// that says nothing. A call whose context has no deadline is bounded by the latter. A write whose
// caller left may still be done. After five calls in a row without an answer a circuit breaker
// opens: every call fails at once, but for one a second that tries again.
//
// # Errors
//
// Errors of the database are distinguished by SQLSTATE. Transient ones wrap store.ErrUnavailable:
// no connection, a server that starts, stops or takes no writes (a standby,
// default_transaction_read_only), no room, timeouts, and deadlocks that occurred several times in a
// row. Those of values that the server will never take (class 22, broken checks, limits) wrap
// store.ErrUnstorable.
//
// # Limits
//
// A list that no index serves reads about Query.MaxRows rows in each of the ways that it is tried
// in, or fails with ErrTooBroad. Beside them, a search for several words reads as much of the index
// of words as these words fill. After a deletion of a content with many ratings, lists pass over
// what SweepRatings has not removed yet.
//
// # Concurrency
//
// Lists and counts take a part of the connections only (Config.Lists), and wait for their turn for
// half of their time, so that reads by key never wait for a list.
//
// A Store may be used concurrently. Statements that run often are prepared once a connection;
// behind a pooler that lends connections for one transaction, PostgreSQL's sessions are not what
// they seem, and Migrate returns ErrPooled.
package pgstore

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/khodnevis/khodnevis/internal/breaker"
	"github.com/khodnevis/khodnevis/internal/lru"
	"github.com/khodnevis/khodnevis/internal/semaphore"
	"github.com/khodnevis/khodnevis/store"
)

// Config adjusts a Store; the zero value is usable.
type Config struct {
	// Schema is the schema that the tables live in: 1 to 63 lower-case letters, digits and
	// underscores, not beginning with a digit. Default "khodnevis". Stores with different schemas
	// share nothing.
	Schema string
	// Lists is how many connections lists and counts take at once, at most; those that read many
	// rows take half of them. Default: a quarter of the handle's MaxOpenConns, or 4 if it has no
	// bound; always at least 1.
	Lists int
}

var schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

func (c Config) orDefault() Config {
	if c.Schema == "" {
		c.Schema = "khodnevis"
	}
	return c
}

func (c Config) validate() error {
	if !schemaName.MatchString(c.Schema) || strings.HasPrefix(c.Schema, "pg_") {
		return fmt.Errorf("pgstore: the schema %q must be 1 to 63 of a-z, 0-9 and _, and begin with neither "+
			"a digit nor pg_", c.Schema)
	}
	if c.Lists < 0 {
		return fmt.Errorf("pgstore: Config.Lists is %d, must be positive", c.Lists)
	}
	return nil
}

// Store keeps everything in one schema of a database.
type Store struct {
	db       *sqlx.DB
	schema   string
	prefix   string // the quoted schema and a dot
	attempts int    // how often a transaction is tried that the database gives up in favour of another
	prepared statements
	starts   knownStarts
	lists    semaphore.Semaphore // of connections that lists take
	scans    semaphore.Semaphore // of lists and counts that look at many rows
	breaker  breaker.Breaker
	lost     atomic.Int64 // operations that nobody waits for any more, and that hold a connection
	// reconnected is when the idle connections were closed last, in nanoseconds since 1970.
	reconnected atomic.Int64
}

var (
	_ store.Store     = (*Store)(nil)
	_ store.Pinger    = (*Store)(nil)
	_ store.Breaker   = (*Store)(nil)
	_ store.Rebuilder = (*Store)(nil)
)

// New returns a Store over db, which stays the host's: the caller closes it. It does not
// talk to the server.
func New(db *sqlx.DB, cfg Config) (*Store, error) {
	if db == nil {
		return nil, errors.New("pgstore: New needs a database")
	}
	if cfg = cfg.orDefault(); cfg.Lists == 0 {
		cfg.Lists = 4
		if conns := db.Stats().MaxOpenConnections; conns > 0 {
			cfg.Lists = max(conns/4, 1)
		}
	}
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Store{db: db, lists: semaphore.New(cfg.Lists), scans: semaphore.New(cfg.Lists / 2), schema: cfg.Schema,
		starts: knownStarts{byContent: lru.New[string, time.Time](keptStarts, nil)},
		prefix: pq.QuoteIdentifier(cfg.Schema) + ".", attempts: 4}, nil
}

// Down implements store.Breaker.
func (s *Store) Down() bool { return s.breaker.Open() }

// Ping implements store.Pinger.
func (s *Store) Ping(ctx context.Context) error {
	err := s.within(ctx, s.db.PingContext)
	return wrap(err, "ping")
}
