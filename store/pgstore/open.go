package pgstore

import (
	"cmp"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// OpenConfig adjusts Open; the zero value is usable.
type OpenConfig struct {
	// MaxConns bounds the connections, which are kept. Default 16.
	MaxConns int
	// ConnectTimeout bounds opening a connection, from the name of the server to the password.
	// Several hosts share it. Default 2 seconds.
	ConnectTimeout time.Duration
	// StatementTimeout is when the server ends a statement; a second later the connection gives up
	// on a server that does not say so. Migrations take longer than that if they must. Default 8
	// seconds.
	StatementTimeout time.Duration
	// LockTimeout is how long a statement waits for a lock. Default 3 seconds.
	LockTimeout time.Duration
	// IdleTimeout is when the server ends a transaction whose process has stopped talking, with the
	// locks that it holds. Default 5 seconds.
	IdleTimeout time.Duration
}

// timeout is one of OpenConfig.
type timeout struct {
	name     string
	value    *time.Duration
	fallback time.Duration
}

func (c *OpenConfig) timeouts() []timeout {
	return []timeout{
		{"ConnectTimeout", &c.ConnectTimeout, 2 * time.Second},
		{"StatementTimeout", &c.StatementTimeout, 8 * time.Second},
		{"LockTimeout", &c.LockTimeout, 3 * time.Second}, {"IdleTimeout", &c.IdleTimeout, 5 * time.Second},
	}
}

func (c OpenConfig) orDefault() OpenConfig {
	c.MaxConns = cmp.Or(c.MaxConns, 16)
	for _, t := range c.timeouts() {
		*t.value = cmp.Or(*t.value, t.fallback)
	}
	return c
}

func (c OpenConfig) validate() error {
	var errs []error
	if c.MaxConns < 1 {
		errs = append(errs, fmt.Errorf("pgstore: OpenConfig.MaxConns is %d, must be at least 1", c.MaxConns))
	}
	for _, t := range c.timeouts() {
		if *t.value < time.Millisecond {
			errs = append(errs, fmt.Errorf("pgstore: OpenConfig.%s is %s, must be at least 1ms", t.name, *t.value))
		}
	}
	return errors.Join(errs...)
}

// silence is how long a connection waits for a server that says nothing.
func (c OpenConfig) silence() time.Duration { return c.StatementTimeout + time.Second }

// Open returns a database handle for New; the caller closes it. It does not talk to the
// server, so that a program can start before its database. The connection string is a URL,
// postgres://user:password@host:port/database?parameter=value, or pairs such as host=…
// password='…'; the parameters are those of lib/pq, and others are an error. Several hosts,
// separated by commas, are tried in their order; with target_session_attrs=read-write, a standby
// among them is passed over. Without sslmode it means "require": the traffic is encrypted and a
// server that cannot is refused, but its certificate is not checked; sslmode=verify-full checks it,
// sslmode=disable is for a server on the same machine or network. No error quotes a value of it.
//
// The settings of cfg replace those of the connection string. What else the connections get, unless
// the connection string has it: random_page_cost=1.1, because what is read is cached or on a
// solid-state disk, and jit=off, because no statement here runs for as long as compiling it takes.
// Parameters that are bytes are sent as they are (binary_parameters=yes), which saves a round trip
// with each statement that is not prepared. As many connections are kept idle as may be open:
// database/sql keeps two by default, and opens the others anew again and again.
func Open(dsn string, cfg OpenConfig) (*sqlx.DB, error) {
	cfg = cfg.orDefault()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	settings, err := parse(dsn)
	if err != nil {
		return nil, err
	}
	// The driver gives as much to each host.
	settings.ConnectTimeout = cfg.ConnectTimeout / time.Duration(1+len(settings.Multi))
	settings.BinaryParameters = true // a statement that is not prepared takes one round trip, not two
	runtime := map[string]string{"random_page_cost": "1.1", "jit": "off"}
	for name, value := range settings.Runtime {
		runtime[name] = value
	}
	runtime["statement_timeout"] = milliseconds(cfg.StatementTimeout)
	runtime["lock_timeout"] = milliseconds(cfg.LockTimeout)
	runtime["idle_in_transaction_session_timeout"] = milliseconds(cfg.IdleTimeout)
	settings.Runtime = runtime
	made, err := pq.NewConnectorConfig(settings)
	if err != nil {
		return nil, fmt.Errorf("pgstore: connection string: %w", err)
	}
	made.Dialer(Dialer{Silence: cfg.silence()})
	db := sql.OpenDB(connector{made, opened{made.Driver(), settings}})
	db.SetMaxOpenConns(cfg.MaxConns)
	db.SetMaxIdleConns(cfg.MaxConns)
	db.SetConnMaxLifetime(time.Hour) // sooner or later the pool follows a name that points elsewhere
	return sqlx.NewDb(db, "postgres"), nil
}

// connector is the driver's, of a handle that Open made.
type connector struct {
	*pq.Connector
	driver opened
}

// Driver implements driver.Connector.
func (c connector) Driver() driver.Driver { return c.driver }

// opened is the driver of a handle that Open made, and knows how to make another one.
type opened struct {
	driver.Driver
	settings pq.Config
}

// migrationSilence is how long a server may say nothing while a step of a migration runs. A server
// that is gone is noticed sooner, by keep-alive.
const migrationSilence = time.Hour

// forMigration returns a handle of one connection without a bound on statements.
func (o opened) forMigration() (*sqlx.DB, error) {
	made, err := pq.NewConnectorConfig(o.settings)
	if err != nil {
		return nil, err
	}
	made.Dialer(Dialer{Silence: migrationSilence})
	db := sql.OpenDB(made)
	db.SetMaxOpenConns(1)
	return sqlx.NewDb(db, "postgres"), nil
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
