package sqlitestore

import (
	"context"
	"fmt"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store/internal/rows"
)

// CreateUser implements auth.Store.
func (s *Store) CreateUser(ctx context.Context, u auth.User) error {
	err := s.file.Write(ctx, func(tx Tx) error {
		n, err := tx.Exec(`INSERT INTO usernames (canonical) VALUES (?) ON CONFLICT DO NOTHING`, u.Canonical)
		if err != nil {
			return err
		}
		if n == 0 {
			return auth.ErrUsernameTaken
		}
		n, err = tx.Exec(`INSERT INTO users (`+rows.UserColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (id) DO NOTHING`,
			u.ID, u.Username, u.Canonical, u.Email, u.PasswordHash, u.Staff, u.Disabled, u.Version,
			u.JoinedAt.UnixMicro(), u.UpdatedAt.UnixMicro())
		if err != nil {
			return err
		}
		if n == 0 {
			return auth.ErrConflict
		}
		return nil
	})
	return wrap(err, "create user %s", u.ID)
}

// UsersByID implements auth.Store.
func (s *Store) UsersByID(ctx context.Context, ids []string) ([]auth.User, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	var found []rows.User
	if err := s.file.Select(ctx, &found, `SELECT `+rows.UserColumns+` FROM users WHERE id IN (SELECT value
		FROM json_each(?))`, array(ids)); err != nil {
		return nil, fmt.Errorf("sqlitestore: users by id: %w", err)
	}
	return rows.All(found, rows.User.User), nil
}

// UserByName implements auth.Store.
func (s *Store) UserByName(ctx context.Context, canonical string) (auth.User, error) {
	var row rows.User
	ok, err := s.file.Get(ctx, &row, `SELECT `+rows.UserColumns+` FROM users WHERE canonical = ?`, canonical)
	if err == nil && !ok {
		err = auth.ErrNotFound
	}
	if err != nil {
		return auth.User{}, fmt.Errorf("sqlitestore: user by name: %w", err)
	}
	return row.User(), nil
}

// ListUsers implements auth.Store.
func (s *Store) ListUsers(ctx context.Context, after string, limit int) ([]auth.User, error) {
	var found []rows.User
	if err := s.file.Select(ctx, &found, `SELECT `+rows.UserColumns+` FROM users WHERE id > ? ORDER BY id LIMIT ?`,
		after, limit); err != nil {
		return nil, fmt.Errorf("sqlitestore: list users: %w", err)
	}
	return rows.All(found, rows.User.User), nil
}

// UpdateUser implements auth.Store.
func (s *Store) UpdateUser(ctx context.Context, u auth.User, end auth.SessionFilter) error {
	err := s.file.Write(ctx, func(tx Tx) error {
		n, err := tx.Exec(`UPDATE users SET email = ?, password_hash = ?, staff = ?, disabled = ?, version = ?,
			updated_at = ?
			WHERE id = ? AND version = ?`,
			u.Email, u.PasswordHash, u.Staff, u.Disabled, u.Version, u.UpdatedAt.UnixMicro(), u.ID, u.Version-1)
		if err != nil {
			return err
		}
		if n == 0 {
			return conflictIf(tx, `SELECT 1 FROM users WHERE id = ?`, u.ID)
		}
		_, err = tx.Exec(deleteSessions, end.User, end.Only, end.Except)
		return err
	})
	return wrap(err, "update user %s from version %d", u.ID, u.Version-1)
}

// conflictIf returns why nothing was updated: ErrConflict if query finds the row, which then has
// another version, and ErrNotFound otherwise.
func conflictIf(tx Tx, query string, id string) error {
	var one int
	switch ok, err := tx.Get(&one, query, id); {
	case err != nil:
		return err
	case ok:
		return auth.ErrConflict
	}
	return auth.ErrNotFound
}

// DeleteUser implements auth.Store.
func (s *Store) DeleteUser(ctx context.Context, d auth.Deletion) error {
	err := s.file.Write(ctx, func(tx Tx) error {
		n, err := tx.Exec(`DELETE FROM users WHERE id = ?`, d.User) // its sessions and their tokens go along
		if err == nil && n == 0 {
			err = auth.ErrNotFound
		}
		if err != nil || d.Ratings == "" {
			return err
		}
		return recordErasure(tx, rating.Erasure{Rater: d.User, Mode: rating.ErasureMode(d.Ratings), At: d.At})
	})
	return wrap(err, "delete user %s", d.User)
}
