package pgstore

import (
	"context"
	"fmt"
	"time"

	"github.com/lib/pq"

	"github.com/khodnevis/khodnevis/auth"
)

// userRow is a row of users.
type userRow struct {
	ID           string    `db:"id"`
	Username     string    `db:"username"`
	Canonical    string    `db:"canonical"`
	Email        string    `db:"email"`
	PasswordHash string    `db:"password_hash"`
	Staff        bool      `db:"staff"`
	Disabled     bool      `db:"disabled"`
	Version      int64     `db:"version"`
	JoinedAt     time.Time `db:"joined_at"`
	UpdatedAt    time.Time `db:"updated_at"`
}

const userColumns = `id, username, canonical, email, password_hash, staff, disabled, version, joined_at, updated_at`

func (r userRow) user() auth.User {
	return auth.User{ID: r.ID, Username: r.Username, Canonical: r.Canonical, Email: r.Email, PasswordHash: r.PasswordHash,
		Staff: r.Staff, Disabled: r.Disabled, Version: r.Version, JoinedAt: r.JoinedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC()}
}

func users(rows []userRow) []auth.User {
	found := make([]auth.User, len(rows))
	for i, r := range rows {
		found[i] = r.user()
	}
	return found
}

// CreateUser implements auth.Store.
func (s *Store) CreateUser(ctx context.Context, u auth.User) error {
	err := s.transact(ctx, func(tx transaction) error {
		_, err := tx.exec(`INSERT INTO khodnevis.usernames (canonical) VALUES ($1)`, u.Canonical)
		if taken(err) {
			return auth.ErrUsernameTaken
		}
		if err != nil {
			return err
		}
		_, err = tx.exec(`INSERT INTO khodnevis.users (`+userColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
			u.ID, u.Username, u.Canonical, u.Email, u.PasswordHash, u.Staff, u.Disabled, u.Version, u.JoinedAt, u.UpdatedAt)
		if taken(err) {
			return auth.ErrConflict
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("pgstore: create user %s: %w", u.ID, err)
	}
	return nil
}

const (
	usersByID  = `SELECT ` + userColumns + ` FROM khodnevis.users WHERE id = ANY($1)`
	userByName = `SELECT ` + userColumns + ` FROM khodnevis.users WHERE canonical = $1`
	listUsers  = `SELECT ` + userColumns + ` FROM khodnevis.users WHERE id > $1 ORDER BY id LIMIT $2`
)

// UsersByID implements auth.Store.
func (s *Store) UsersByID(ctx context.Context, ids []string) ([]auth.User, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	var rows []userRow
	if err := s.query(ctx, &rows, usersByID, pq.StringArray(ids)); err != nil {
		return nil, fmt.Errorf("pgstore: %d users by id: %w", len(ids), err)
	}
	return users(rows), nil
}

// UserByName implements auth.Store.
func (s *Store) UserByName(ctx context.Context, canonical string) (auth.User, error) {
	var rows []userRow
	err := s.query(ctx, &rows, userByName, canonical)
	if err == nil && len(rows) == 0 {
		err = auth.ErrNotFound
	}
	if err != nil {
		return auth.User{}, fmt.Errorf("pgstore: user by name: %w", err)
	}
	return rows[0].user(), nil
}

// ListUsers implements auth.Store.
func (s *Store) ListUsers(ctx context.Context, after string, limit int) ([]auth.User, error) {
	var rows []userRow
	if err := s.query(ctx, &rows, listUsers, after, limit); err != nil {
		return nil, fmt.Errorf("pgstore: list users: %w", err)
	}
	return users(rows), nil
}

// UpdateUser implements auth.Store.
func (s *Store) UpdateUser(ctx context.Context, u auth.User) error {
	err := s.transact(ctx, func(tx transaction) error {
		if err := tx.versionAt(`SELECT version FROM khodnevis.users WHERE id = $1 FOR NO KEY UPDATE`, u.ID, u.Version-1); err != nil {
			return err
		}
		_, err := tx.exec(`UPDATE khodnevis.users SET email = $2, password_hash = $3, staff = $4, disabled = $5, version = $6, updated_at = $7 WHERE id = $1`,
			u.ID, u.Email, u.PasswordHash, u.Staff, u.Disabled, u.Version, u.UpdatedAt)
		return err
	})
	if err != nil {
		return fmt.Errorf("pgstore: update user %s from version %d: %w", u.ID, u.Version-1, err)
	}
	return nil
}

// versionAt reads, and locks, the version of a row by its identifier and compares it.
func (tx transaction) versionAt(text, id string, version int64) error {
	var versions []int64
	err := tx.query(&versions, text, id)
	switch {
	case err != nil:
		return err
	case len(versions) == 0:
		return auth.ErrNotFound
	case versions[0] != version:
		return auth.ErrConflict
	}
	return nil
}

// DeleteUser implements auth.Store. The sessions and their tokens go with the row; its name stays in usernames.
func (s *Store) DeleteUser(ctx context.Context, d auth.Deletion) error {
	err := s.transact(ctx, func(tx transaction) error {
		n, err := tx.exec(`DELETE FROM khodnevis.users WHERE id = $1`, d.User)
		if err == nil && n == 0 {
			return auth.ErrNotFound
		}
		if err != nil || d.Ratings == "" {
			return err
		}
		_, err = tx.exec(depart, d.User, d.Ratings, d.At)
		return err
	})
	if err != nil {
		return fmt.Errorf("pgstore: delete user %s: %w", d.User, err)
	}
	return nil
}
