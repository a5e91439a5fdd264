package kvstore

import (
	"context"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/rating"
)

// CreateUser implements auth.Store.
func (s *Store) CreateUser(ctx context.Context, u auth.User) error {
	return s.write(ctx, "create user "+u.ID, func(t *tx) error {
		switch {
		case names.has(t, u.Canonical):
			return auth.ErrUsernameTaken
		case users.has(t, u.ID):
			return auth.ErrConflict
		}
		users.put(t, u, u.ID)
		names.put(t, u.ID, u.Canonical)
		return nil
	})
}

// UsersByID implements auth.Store.
func (s *Store) UsersByID(ctx context.Context, ids []string) ([]auth.User, error) {
	return view(ctx, s, "users by id", func(t *tx) (found []auth.User, _ error) {
		for _, id := range unique(ids) {
			if u, ok := users.get(t, id); ok {
				found = append(found, u)
			}
		}
		return found, nil
	})
}

// UserByName implements auth.Store.
func (s *Store) UserByName(ctx context.Context, canonical string) (auth.User, error) {
	return view(ctx, s, "user by name", func(t *tx) (auth.User, error) {
		id, _ := names.get(t, canonical)
		u, ok := users.get(t, id)
		if !ok {
			return u, auth.ErrNotFound
		}
		return u, nil
	})
}

// ListUsers implements auth.Store.
func (s *Store) ListUsers(ctx context.Context, after string, limit int) ([]auth.User, error) {
	return view(ctx, s, "list users", func(t *tx) ([]auth.User, error) {
		return users.list(t, users.following(after), limit), nil
	})
}

// UpdateUser implements auth.Store.
func (s *Store) UpdateUser(ctx context.Context, u auth.User, end auth.SessionFilter) error {
	return s.write(ctx, "update user "+u.ID, func(t *tx) error {
		old, ok := users.get(t, u.ID)
		switch {
		case !ok:
			return auth.ErrNotFound
		case old.Version != u.Version-1:
			return auth.ErrConflict
		}
		now := u
		now.Username, now.Canonical, now.JoinedAt = old.Username, old.Canonical, old.JoinedAt
		users.put(t, now, u.ID)
		t.endSessions(end)
		return nil
	})
}

// DeleteUser implements auth.Store.
func (s *Store) DeleteUser(ctx context.Context, d auth.Deletion) error {
	return s.write(ctx, "delete user "+d.User, func(t *tx) error {
		if !users.has(t, d.User) {
			return auth.ErrNotFound
		}
		users.delete(t, d.User)
		for _, login := range t.logins(d.User) {
			t.endSession(login)
		}
		if d.Ratings != "" {
			t.recordErasure(rating.Erasure{Rater: d.User, Mode: rating.ErasureMode(d.Ratings), At: d.At})
		}
		return nil
	})
}
