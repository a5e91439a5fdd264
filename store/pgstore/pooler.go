package pgstore

import (
	"context"
	"sync"

	"github.com/jmoiron/sqlx"
)

// probes is how often a connection is probed: a pooler under load may lend it the same session by
// chance.
const probes = 6

// probing is held while two connections are taken: two callers that each hold one connection might
// wait for each other.
var probing sync.Mutex

// ownSessions returns ErrPooled if connections do not lead to sessions of their own. It probes two
// at once: they must not share a session, and neither may change its session while the other one is
// in a transaction.
func (s *Store) ownSessions(ctx context.Context) error {
	if s.db.Stats().MaxOpenConnections == 1 {
		return nil // a handle with one connection cannot be probed this way
	}
	probing.Lock()
	defer probing.Unlock()
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
