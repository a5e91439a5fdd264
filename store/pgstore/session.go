package pgstore

import (
	"context"
	"fmt"
	"time"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/store/internal/rows"
)

const sessionColumns = `id, user_id, label, generation, siblings, version, created_at, rotated_at, idle_at,
	expires_at`

const (
	addTokens = `INSERT INTO khodnevis.tokens (hash, session_id, kind, generation, expires_at)
		SELECT t.hash, session.id, t.kind, t.generation, t.expires_at
		FROM session, unnest($2::bytea[], $3::text[], $4::bigint[], $5::timestamptz[])
			AS t (hash, kind, generation, expires_at)`

	createSession = `WITH session AS (INSERT INTO khodnevis.sessions (` + sessionColumns + `)
			VALUES ($1, $6, $7, $8, $9, $10, $11, $12, $13, $14) RETURNING id),
		added AS (` + addTokens + `) SELECT id FROM session`

	rotateSession = `WITH session AS (UPDATE khodnevis.sessions
			SET label = $6, generation = $7, siblings = $8, version = $9, rotated_at = $10, idle_at = $11,
				expires_at = $12
			WHERE id = $1 AND version = $9 - 1 RETURNING id),
		spent AS (DELETE FROM khodnevis.tokens USING session
			WHERE session_id = session.id AND kind IN ('access', 'refresh') AND tokens.generation < $13),
		added AS (` + addTokens + `) SELECT id FROM session`

	sessionIsThere = `SELECT id FROM khodnevis.sessions WHERE id = $1`
)

// CreateSession implements auth.Store. The foreign key holds the user while the session is made.
func (s *Store) CreateSession(ctx context.Context, n auth.Session, tokens []auth.Token) error {
	_, again, err := s.write(ctx, createSession, n.ID, append(tokenArgs(tokens),
		n.User, n.Label, n.Generation, n.Siblings, n.Version, n.CreatedAt, n.RotatedAt, n.IdleAt, n.ExpiresAt)...)
	switch e := pq.As(err, pqerror.UniqueViolation); {
	case orphan(err):
		err = auth.ErrNotFound
	case e != nil && e.Table == "sessions":
		err = auth.ErrConflict
	}
	return wrap(unsure(again, err), "create session of user %s", n.User)
}

// tokenArgs are what addTokens takes.
func tokenArgs(tokens []auth.Token) []any {
	hashes, kinds := make(pq.ByteaArray, len(tokens)), make(pq.StringArray, len(tokens))
	generations, ends := make(pq.Int64Array, len(tokens)), make(pq.StringArray, len(tokens))
	for i, t := range tokens {
		hashes[i], kinds[i], generations[i] = t.Hash[:], string(t.Kind), t.Generation
		ends[i] = t.ExpiresAt.Format(time.RFC3339Nano)
	}
	return []any{hashes, kinds, generations, ends}
}

const grantByToken = `SELECT ` + rows.GrantColumns + ` FROM khodnevis.tokens t
	JOIN khodnevis.sessions n ON n.id = t.session_id JOIN khodnevis.users u ON u.id = n.user_id WHERE t.hash = $1`

// GrantByToken implements auth.Store.
func (s *Store) GrantByToken(ctx context.Context, hash auth.Hash) (auth.Grant, error) {
	var found []rows.Grant
	err := s.search(ctx, &found, grantByToken, hash[:])
	if err == nil && len(found) == 0 {
		err = auth.ErrNotFound
	}
	if err != nil {
		return auth.Grant{}, fmt.Errorf("pgstore: grant by token: %w", err)
	}
	return found[0].Of(hash), nil
}

// RotateSession implements auth.Store.
func (s *Store) RotateSession(ctx context.Context, n auth.Session, tokens []auth.Token) error {
	rotated, again, err := s.write(ctx, rotateSession, n.ID, append(tokenArgs(tokens),
		n.Label, n.Generation, n.Siblings, n.Version, n.RotatedAt, n.IdleAt, n.ExpiresAt,
		n.Generation-auth.KeptGenerations)...)
	if err == nil && len(rotated) == 0 {
		err = s.missed(ctx, sessionIsThere, n.ID, auth.ErrNotFound, auth.ErrConflict)
	}
	return wrap(unsure(again, err), "rotate session %s from version %d", n.ID, n.Version-1)
}

const sessionsByUser = `SELECT ` + sessionColumns +
	` FROM khodnevis.sessions WHERE user_id = $1 ORDER BY created_at DESC, id DESC`

// SessionsByUser implements auth.Store.
func (s *Store) SessionsByUser(ctx context.Context, user string) ([]auth.Session, error) {
	var found []rows.Session
	if err := s.search(ctx, &found, sessionsByUser, user); err != nil {
		return nil, fmt.Errorf("pgstore: sessions of user %s: %w", user, err)
	}
	return rows.All(found, rows.Session.Session), nil
}

const deleteSessions = `DELETE FROM khodnevis.sessions WHERE id = ANY(ARRAY(SELECT id FROM khodnevis.sessions
	WHERE user_id = $1 AND ($2::text = '' OR id = $2) AND ($3::text = '' OR id <> $3) ORDER BY id FOR UPDATE))
	RETURNING id`

// DeleteSessions implements auth.Store. The rows are locked in the order of their identifiers, so
// that two calls for one user wait for each other instead of dying.
func (s *Store) DeleteSessions(ctx context.Context, f auth.SessionFilter) (int, error) {
	ended, again, err := s.write(ctx, deleteSessions, f.User, f.Only, f.Except)
	if len(ended) == 0 && again && err == nil {
		err = auth.ErrNotFound // by this run
	}
	if err = unsure(again, err); err != nil {
		return 0, fmt.Errorf("pgstore: delete sessions of user %s: %w", f.User, err)
	}
	return len(ended), nil
}

// sweepTokens removes some expired access tokens. It is run until there are no more, so that it may
// be run once too often.
const sweepTokens = `DELETE FROM khodnevis.tokens WHERE hash = ANY(ARRAY(SELECT hash FROM khodnevis.tokens
	WHERE kind = 'access' AND expires_at < $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))`

// SweepSessions implements auth.Store. It skips rows that are locked.
func (s *Store) SweepSessions(ctx context.Context, before time.Time, limit int) (int, error) {
	var n int
	err := s.transact(ctx, func(tx transaction) (err error) {
		n, err = tx.exec(`DELETE FROM khodnevis.sessions WHERE id = ANY(ARRAY(SELECT id FROM khodnevis.sessions
			WHERE least(idle_at, expires_at) < $1 ORDER BY least(idle_at, expires_at)
				LIMIT $2 FOR UPDATE SKIP LOCKED))`, before, limit)
		return err
	})
	const chunk = 5000
	for swept := chunk; err == nil && swept == chunk; {
		swept, err = s.exec(ctx, sweepTokens, before, chunk)
	}
	if err != nil {
		return 0, fmt.Errorf("pgstore: sweep sessions: %w", err)
	}
	return n, nil
}
