package pgstore

import (
	"context"
	"fmt"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/store/internal/rows"
)

const createUser = `WITH name AS (INSERT INTO khodnevis.usernames (canonical) VALUES ($3) RETURNING canonical)
	INSERT INTO khodnevis.users (` + rows.UserColumns + `)
	SELECT $1, $2::text, canonical, $4::text, $5::text, $6::boolean, $7::boolean, $8::bigint, $9::timestamptz,
		$10::timestamptz
	FROM name RETURNING id`

// CreateUser implements auth.Store.
func (s *Store) CreateUser(ctx context.Context, u auth.User) error {
	_, again, err := s.write(ctx, createUser,
		u.ID, u.Username, u.Canonical, u.Email, u.PasswordHash, u.Staff, u.Disabled, u.Version, u.JoinedAt,
		u.UpdatedAt)
	switch e := pq.As(err, pqerror.UniqueViolation); {
	case e != nil && e.Table == "usernames":
		err = auth.ErrUsernameTaken
	case e != nil:
		err = auth.ErrConflict
	}
	return wrap(unsure(again, err), "create user %s", u.ID)
}

const (
	usersByID  = `SELECT ` + rows.UserColumns + ` FROM khodnevis.users WHERE id = ANY($1)`
	userByName = `SELECT ` + rows.UserColumns + ` FROM khodnevis.users WHERE canonical = $1`
	listUsers  = `SELECT ` + rows.UserColumns + ` FROM khodnevis.users WHERE id > $1 ORDER BY id LIMIT $2`
)

// UsersByID implements auth.Store.
func (s *Store) UsersByID(ctx context.Context, ids []string) ([]auth.User, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	var found []rows.User
	if err := s.search(ctx, &found, usersByID, pq.StringArray(ids)); err != nil {
		return nil, fmt.Errorf("pgstore: %d users by id: %w", len(ids), err)
	}
	return rows.All(found, rows.User.User), nil
}

// UserByName implements auth.Store.
func (s *Store) UserByName(ctx context.Context, canonical string) (auth.User, error) {
	var found []rows.User
	err := s.search(ctx, &found, userByName, canonical)
	if err == nil && len(found) == 0 {
		err = auth.ErrNotFound
	}
	if err != nil {
		return auth.User{}, fmt.Errorf("pgstore: user by name: %w", err)
	}
	return found[0].User(), nil
}

// ListUsers implements auth.Store.
func (s *Store) ListUsers(ctx context.Context, after string, limit int) ([]auth.User, error) {
	var found []rows.User
	if err := s.query(ctx, &found, listUsers, after, limit); err != nil {
		return nil, fmt.Errorf("pgstore: list users: %w", err)
	}
	return rows.All(found, rows.User.User), nil
}

const (
	// updateUser locks the user first, then the sessions, as every statement that takes both does.
	updateUser = `WITH changed AS (UPDATE khodnevis.users
		SET email = $2, password_hash = $3, staff = $4, disabled = $5, version = $6, updated_at = $7
		WHERE id = $1 AND version = $6 - 1 RETURNING id),
		ended AS (DELETE FROM khodnevis.sessions WHERE id = ANY(ARRAY(SELECT id FROM khodnevis.sessions
			WHERE user_id = $8 AND ($9::text = '' OR id = $9) AND ($10::text = '' OR id <> $10)
			AND EXISTS (SELECT FROM changed) ORDER BY id FOR UPDATE)))
		SELECT id FROM changed`

	userIsThere = `SELECT id FROM khodnevis.users WHERE id = $1`

	// deleteUser records no erasure if the mode is empty.
	deleteUser = `WITH gone AS (DELETE FROM khodnevis.users WHERE id = $1 RETURNING id),
		erased AS (INSERT INTO khodnevis.departures (rater, fate, at)
			SELECT id, $2::text, $3::timestamptz FROM gone WHERE $2 <> ''
			ON CONFLICT (rater) DO UPDATE SET fate = excluded.fate, at = excluded.at)
		SELECT id FROM gone`
)

// UpdateUser implements auth.Store.
func (s *Store) UpdateUser(ctx context.Context, u auth.User, end auth.SessionFilter) error {
	changed, again, err := s.write(ctx, updateUser,
		u.ID, u.Email, u.PasswordHash, u.Staff, u.Disabled, u.Version, u.UpdatedAt, end.User, end.Only, end.Except)
	if err == nil && len(changed) == 0 {
		err = s.missed(ctx, userIsThere, u.ID, auth.ErrNotFound, auth.ErrConflict)
	}
	return wrap(unsure(again, err), "update user %s from version %d", u.ID, u.Version-1)
}

// DeleteUser implements auth.Store. The sessions and their tokens go with the row; its name stays
// in usernames.
func (s *Store) DeleteUser(ctx context.Context, d auth.Deletion) error {
	gone, again, err := s.write(ctx, deleteUser, d.User, d.Ratings, d.At)
	if err == nil && len(gone) == 0 {
		err = auth.ErrNotFound
	}
	return wrap(unsure(again, err), "delete user %s", d.User)
}
