package pgstore

import (
	"context"
	"errors"
	"fmt"
	"strings"

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

// Check reports what the store lacks once it is migrated: ErrRights, with the rights that are
// missing; and timeouts of Open that are not in force. A program calls it when it begins.
func (s *Store) Check(ctx context.Context) error {
	err := s.within(ctx, s.check)
	return wrap(err, "check")
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

// forbidden wraps ErrRights around the error of a missing right.
func forbidden(err error) error {
	if pq.As(err, pqerror.InsufficientPrivilege) == nil {
		return err
	}
	return fmt.Errorf("%w: %w", ErrRights, err)
}
