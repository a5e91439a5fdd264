package pgstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
)

var (
	// ErrPooled says that a pooler between this program and the database lends its sessions for one
	// transaction at a time, such as PgBouncer with pool_mode=transaction. What is prepared is then
	// missing in the next session, or something else is found there in its place.
	ErrPooled = errors.New("pgstore: a pooler lends sessions of the database by transaction, which the store " +
		"does not work with: set it to pool by session (pool_mode=session in PgBouncer), or connect without it")
	// ErrRights says that the database role may not do what the store does. docs/operations.md
	// lists what it must be granted.
	ErrRights = errors.New("pgstore: the database role lacks rights")
)

// probes is how often a connection is looked at: a pooler under load may give it the same session
// by chance.
const probes = 3

// Check reports what the store lacks once it is migrated: ErrRights, with the rights that are
// missing; and timeouts of Open that are not in force. A program calls it when it begins.
func (s *Store) Check(ctx context.Context) error {
	if err := s.within(ctx, s.check); err != nil {
		return fmt.Errorf("pgstore: check: %w", err)
	}
	return nil
}

func (s *Store) check(ctx context.Context) error {
	var unset []string
	if err := s.db.SelectContext(ctx, &unset, `SELECT name FROM pg_settings WHERE setting = '0'
		AND name IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout')
			ORDER BY name`); err != nil {
		return err
	}
	if len(unset) > 0 {
		return fmt.Errorf("%s is 0: a pooler keeps it from the database; set it by ALTER ROLE … SET",
			strings.Join(unset, ", "))
	}
	var missing []string
	if err := s.db.SelectContext(ctx, &missing, `SELECT action || ' on ' || t.oid::regclass
		FROM pg_class t CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) action
		WHERE t.relnamespace = to_regnamespace(`+pq.QuoteLiteral(strings.TrimSuffix(s.prefix, "."))+`)
		AND t.relkind = 'r' AND t.relname <> 'migrations' AND NOT has_table_privilege(t.oid, action)
			ORDER BY t.relname, action`); err != nil {
		return err
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w: %s", ErrRights, strings.Join(missing, ", "))
	}
	return nil
}

// looking is held while two connections are taken: of two who each have one, neither would get
// another.
var looking sync.Mutex

// ownSessions returns ErrPooled if connections do not lead to sessions of their own. It looks at
// two at once: no session belongs to both, nor does one change its session while the other one
// holds what it left.
func (s *Store) ownSessions(ctx context.Context) error {
	if s.db.Stats().MaxOpenConnections == 1 {
		return nil // a handle with one connection cannot be looked at this way
	}
	looking.Lock()
	defer looking.Unlock()
	first, err := s.db.Connx(ctx)
	if err != nil {
		return err
	}
	defer first.Close() //nolint:errcheck // it goes back
	second, err := s.db.Connx(ctx)
	if err != nil {
		return err
	}
	defer second.Close() //nolint:errcheck // it goes back
	for range probes {
		if err := distinct(ctx, first, second); err != nil {
			return err
		}
	}
	return nil
}

func distinct(ctx context.Context, first, second *sqlx.Conn) error {
	const session = `SELECT pg_backend_pid()`
	var before, other, after int
	if err := first.GetContext(ctx, &before, session); err != nil {
		return err
	}
	tx, err := second.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // there is nothing in it
	if err := tx.GetContext(ctx, &other, session); err != nil {
		return err
	}
	if before == other {
		return ErrPooled
	}
	if err := first.GetContext(ctx, &after, session); err != nil {
		return err
	}
	if before != after {
		return ErrPooled
	}
	return nil
}

// forbidden gives the database's refusal for want of rights the meaning of ErrRights.
func forbidden(err error) error {
	if pq.As(err, pqerror.InsufficientPrivilege) == nil {
		return err
	}
	return fmt.Errorf("%w: %w", ErrRights, err)
}
