package sqlitestore

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/store/internal/rows"
)

const sessionColumns = `id, user AS user_id, label, generation, siblings, version, created_at, rotated_at,
	idle_at, expires_at`

// CreateSession implements auth.Store.
func (s *Store) CreateSession(ctx context.Context, n auth.Session, tokens []auth.Token) error {
	tokens = slices.Clone(tokens)
	err := s.file.Write(ctx, func(tx Tx) error {
		made, err := tx.Exec(`INSERT INTO sessions
			(id, user, label, generation, siblings, version, created_at, rotated_at, idle_at, expires_at)
				SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10 WHERE EXISTS (SELECT 1 FROM users WHERE id = ?2)`,
			n.ID, n.User, n.Label, n.Generation, n.Siblings, n.Version, n.CreatedAt.UnixMicro(),
			n.RotatedAt.UnixMicro(), n.IdleAt.UnixMicro(), n.ExpiresAt.UnixMicro())
		if err != nil {
			return err
		}
		if made == 0 {
			return auth.ErrNotFound
		}
		return addTokens(tx, tokens)
	})
	return wrap(err, "create session of user %s", n.User)
}

func addTokens(tx Tx, tokens []auth.Token) error {
	for _, t := range tokens {
		if _, err := tx.Exec(`INSERT INTO tokens (hash, session, kind, generation, expires_at) VALUES (?, ?,
			?, ?, ?)`,
			t.Hash[:], t.Session, string(t.Kind), t.Generation, t.ExpiresAt.UnixMicro()); err != nil {
			return err
		}
	}
	return nil
}

// GrantByToken implements auth.Store.
func (s *Store) GrantByToken(ctx context.Context, hash auth.Hash) (auth.Grant, error) {
	var row rows.Grant
	ok, err := s.file.Get(ctx, &row, `SELECT `+rows.GrantColumns+` FROM tokens t
		JOIN sessions n ON n.id = t.session JOIN users u ON u.id = n.user WHERE t.hash = ?`, hash[:])
	if err == nil && !ok {
		err = auth.ErrNotFound
	}
	if err != nil {
		return auth.Grant{}, fmt.Errorf("sqlitestore: grant by token: %w", err)
	}
	return row.Of(hash), nil
}

// RotateSession implements auth.Store.
func (s *Store) RotateSession(ctx context.Context, n auth.Session, tokens []auth.Token) error {
	tokens = slices.Clone(tokens)
	err := s.file.Write(ctx, func(tx Tx) error {
		changed, err := tx.Exec(`UPDATE sessions SET label = ?, generation = ?, siblings = ?, version = ?,
			rotated_at = ?, idle_at = ?, expires_at = ? WHERE id = ? AND version = ?`,
			n.Label, n.Generation, n.Siblings, n.Version, n.RotatedAt.UnixMicro(), n.IdleAt.UnixMicro(),
			n.ExpiresAt.UnixMicro(), n.ID, n.Version-1)
		if err != nil {
			return err
		}
		if changed == 0 {
			return conflictIf(tx, `SELECT 1 FROM sessions WHERE id = ?`, n.ID)
		}
		if _, err := tx.Exec(`DELETE FROM tokens WHERE session = ? AND kind IN ('access', 'refresh')
			AND generation < ?`,
			n.ID, n.Generation-auth.KeptGenerations); err != nil {
			return err
		}
		return addTokens(tx, tokens)
	})
	return wrap(err, "rotate session %s from version %d", n.ID, n.Version-1)
}

// SessionsByUser implements auth.Store.
func (s *Store) SessionsByUser(ctx context.Context, user string) ([]auth.Session, error) {
	var found []rows.Session
	if err := s.file.Select(ctx, &found, `SELECT `+sessionColumns+` FROM sessions
		WHERE user = ? ORDER BY created_at DESC, id DESC`, user); err != nil {
		return nil, fmt.Errorf("sqlitestore: sessions of user %s: %w", user, err)
	}
	return rows.All(found, rows.Session.Session), nil
}

const deleteSessions = `DELETE FROM sessions WHERE user = ?1 AND (?2 = '' OR id = ?2) AND (?3 = '' OR id <> ?3)`

// DeleteSessions implements auth.Store.
func (s *Store) DeleteSessions(ctx context.Context, f auth.SessionFilter) (int, error) {
	n, err := s.delete(ctx, deleteSessions, f.User, f.Only, f.Except)
	if err != nil {
		return 0, fmt.Errorf("sqlitestore: delete sessions of user %s: %w", f.User, err)
	}
	return int(n), nil
}

// sweptTokens is how many tokens are removed in one go, so that other writers get their turn
// between.
const sweptTokens = 5_000

// SweepSessions implements auth.Store.
func (s *Store) SweepSessions(ctx context.Context, before time.Time, limit int) (int, error) {
	for {
		n, err := s.delete(ctx, `DELETE FROM tokens WHERE hash IN (SELECT hash FROM tokens
			WHERE kind = 'access' AND expires_at < ? LIMIT ?)`, before.UnixMicro(), sweptTokens)
		if err != nil {
			return 0, fmt.Errorf("sqlitestore: sweep tokens: %w", err)
		}
		if n < sweptTokens {
			break
		}
	}
	n, err := s.delete(ctx, `DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE min(idle_at,
		expires_at) < ? LIMIT ?)`, before.UnixMicro(), limit)
	if err != nil {
		return 0, fmt.Errorf("sqlitestore: sweep sessions: %w", err)
	}
	return int(n), nil
}

// delete runs one statement and returns how many rows it removed.
func (s *Store) delete(ctx context.Context, query string, args ...any) (int64, error) {
	var n int64
	err := s.file.Write(ctx, func(tx Tx) (err error) {
		n, err = tx.Exec(query, args...)
		return err
	})
	if err != nil {
		return 0, err // n may still be written to
	}
	return n, nil
}
