package pgstore

import (
	"context"
	"fmt"
	"time"

	"github.com/lib/pq"

	"github.com/khodnevis/khodnevis/auth"
)

// sessionRow is a row of sessions.
type sessionRow struct {
	ID         string    `db:"id"`
	User       string    `db:"user_id"`
	Label      string    `db:"label"`
	Generation int64     `db:"generation"`
	Siblings   int       `db:"siblings"`
	Version    int64     `db:"version"`
	CreatedAt  time.Time `db:"created_at"`
	RotatedAt  time.Time `db:"rotated_at"`
	IdleAt     time.Time `db:"idle_at"`
	ExpiresAt  time.Time `db:"expires_at"`
}

func (r sessionRow) session() auth.Session {
	return auth.Session{ID: r.ID, User: r.User, Label: r.Label, Generation: r.Generation, Siblings: r.Siblings, Version: r.Version,
		CreatedAt: r.CreatedAt.UTC(), RotatedAt: r.RotatedAt.UTC(), IdleAt: r.IdleAt.UTC(), ExpiresAt: r.ExpiresAt.UTC()}
}

const sessionColumns = `id, user_id, label, generation, siblings, version, created_at, rotated_at, idle_at, expires_at`

// CreateSession implements auth.Store. The foreign key holds the user while the session is made.
func (s *Store) CreateSession(ctx context.Context, n auth.Session, tokens []auth.Token) error {
	err := s.transact(ctx, func(tx transaction) error {
		_, err := tx.exec(`INSERT INTO khodnevis.sessions (`+sessionColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
			n.ID, n.User, n.Label, n.Generation, n.Siblings, n.Version, n.CreatedAt, n.RotatedAt, n.IdleAt, n.ExpiresAt)
		switch {
		case orphan(err):
			return auth.ErrNotFound
		case taken(err):
			return auth.ErrConflict
		case err != nil:
			return err
		}
		return tx.addTokens(tokens)
	})
	if err != nil {
		return fmt.Errorf("pgstore: create session of user %s: %w", n.User, err)
	}
	return nil
}

func (tx transaction) addTokens(tokens []auth.Token) error {
	for _, t := range tokens {
		if _, err := tx.exec(`INSERT INTO khodnevis.tokens (hash, session_id, kind, generation, expires_at) VALUES ($1, $2, $3, $4, $5)`,
			t.Hash[:], t.Session, string(t.Kind), t.Generation, t.ExpiresAt); err != nil {
			return err
		}
	}
	return nil
}

// grantRow is a token with its session and its user. What all three have has a name of its own.
type grantRow struct {
	Hash       []byte     `db:"hash"`
	Kind       string     `db:"kind"`
	Generation int64      `db:"token_generation"`
	ExpiresAt  time.Time  `db:"token_expires_at"`
	Session    sessionRow `db:"session"`
	User       userRow    `db:"owner"`
}

const grantByToken = `SELECT t.hash, t.kind, t.generation AS token_generation, t.expires_at AS token_expires_at,
	n.id AS "session.id", n.user_id AS "session.user_id", n.label AS "session.label", n.generation AS "session.generation",
	n.siblings AS "session.siblings", n.version AS "session.version", n.created_at AS "session.created_at",
	n.rotated_at AS "session.rotated_at", n.idle_at AS "session.idle_at", n.expires_at AS "session.expires_at",
	u.id AS "owner.id", u.username AS "owner.username", u.canonical AS "owner.canonical", u.email AS "owner.email",
	u.password_hash AS "owner.password_hash", u.staff AS "owner.staff", u.disabled AS "owner.disabled", u.version AS "owner.version",
	u.joined_at AS "owner.joined_at", u.updated_at AS "owner.updated_at"
	FROM khodnevis.tokens t JOIN khodnevis.sessions n ON n.id = t.session_id JOIN khodnevis.users u ON u.id = n.user_id WHERE t.hash = $1`

// GrantByToken implements auth.Store.
func (s *Store) GrantByToken(ctx context.Context, hash auth.Hash) (auth.Grant, error) {
	var rows []grantRow
	err := s.query(ctx, &rows, grantByToken, hash[:])
	if err == nil && len(rows) == 0 {
		err = auth.ErrNotFound
	}
	if err != nil {
		return auth.Grant{}, fmt.Errorf("pgstore: grant by token: %w", err)
	}
	r := rows[0]
	return auth.Grant{
		Token:   auth.Token{Hash: hash, Session: r.Session.ID, Kind: auth.Kind(r.Kind), Generation: r.Generation, ExpiresAt: r.ExpiresAt.UTC()},
		Session: r.Session.session(),
		User:    r.User.user(),
	}, nil
}

// RotateSession implements auth.Store.
func (s *Store) RotateSession(ctx context.Context, n auth.Session, tokens []auth.Token) error {
	err := s.transact(ctx, func(tx transaction) error {
		if err := tx.versionAt(`SELECT version FROM khodnevis.sessions WHERE id = $1 FOR NO KEY UPDATE`, n.ID, n.Version-1); err != nil {
			return err
		}
		if _, err := tx.exec(`UPDATE khodnevis.sessions SET label = $2, generation = $3, siblings = $4, version = $5, rotated_at = $6, idle_at = $7, expires_at = $8
			WHERE id = $1`, n.ID, n.Label, n.Generation, n.Siblings, n.Version, n.RotatedAt, n.IdleAt, n.ExpiresAt); err != nil {
			return err
		}
		if _, err := tx.exec(`DELETE FROM khodnevis.tokens WHERE session_id = $1 AND kind IN ('access', 'refresh') AND generation < $2`,
			n.ID, n.Generation-auth.KeptGenerations); err != nil {
			return err
		}
		return tx.addTokens(tokens)
	})
	if err != nil {
		return fmt.Errorf("pgstore: rotate session %s from version %d: %w", n.ID, n.Version-1, err)
	}
	return nil
}

const sessionsByUser = `SELECT ` + sessionColumns + ` FROM khodnevis.sessions WHERE user_id = $1 ORDER BY created_at DESC, id DESC`

// SessionsByUser implements auth.Store.
func (s *Store) SessionsByUser(ctx context.Context, user string) ([]auth.Session, error) {
	var rows []sessionRow
	if err := s.query(ctx, &rows, sessionsByUser, user); err != nil {
		return nil, fmt.Errorf("pgstore: sessions of user %s: %w", user, err)
	}
	found := make([]auth.Session, len(rows))
	for i, r := range rows {
		found[i] = r.session()
	}
	return found, nil
}

// DeleteSessions implements auth.Store. The rows are locked in the order of their identifiers, so that two calls for one user
// wait for each other instead of dying.
func (s *Store) DeleteSessions(ctx context.Context, f auth.SessionFilter) (int, error) {
	var n int
	err := s.transact(ctx, func(tx transaction) (err error) {
		var ids []string
		if err := tx.query(&ids, `SELECT id FROM khodnevis.sessions WHERE user_id = $1 AND ($2 = '' OR id = $2) AND ($3 = '' OR id <> $3) ORDER BY id FOR UPDATE`,
			f.User, f.Only, f.Except); err != nil {
			return err
		}
		n, err = tx.exec(`DELETE FROM khodnevis.sessions WHERE id = ANY($1)`, pq.StringArray(ids))
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("pgstore: delete sessions of user %s: %w", f.User, err)
	}
	return n, nil
}

// sweepTokens removes some expired access tokens. It is run until there are no more, so that it may be run once too often.
const sweepTokens = `DELETE FROM khodnevis.tokens WHERE hash = ANY(ARRAY(SELECT hash FROM khodnevis.tokens
	WHERE kind = 'access' AND expires_at < $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))`

// SweepSessions implements auth.Store. What somebody else works on is left for the next time.
func (s *Store) SweepSessions(ctx context.Context, before time.Time, limit int) (int, error) {
	var n int
	err := s.transact(ctx, func(tx transaction) (err error) {
		n, err = tx.exec(`DELETE FROM khodnevis.sessions WHERE id = ANY(ARRAY(SELECT id FROM khodnevis.sessions
			WHERE least(idle_at, expires_at) < $1 ORDER BY least(idle_at, expires_at) LIMIT $2 FOR UPDATE SKIP LOCKED))`, before, limit)
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
