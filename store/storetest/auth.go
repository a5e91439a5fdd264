package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/store"
)

// authChecks are those of auth.Store.
func authChecks() []Check {
	return append([]Check{
		{"auth/create-user", "CreateUser keeps u.", authCreateUser},
		{"auth/create-user-taken", "ErrUsernameTaken: a user has or had this Canonical name. ErrConflict: " +
			"the identifier is taken.", authCreateUserTaken},
		{"auth/create-user-race", "ErrUsernameTaken: a user has or had this Canonical name.", authCreateUserRace},
		{"auth/users-by-id", "UsersByID returns those of ids that exist, each once, in any order.", authUsersByID},
		{"auth/user-by-name", "UserByName returns the user with this canonical name. ErrNotFound: there is " +
			"none, or no longer.", authUserByName},
		{"auth/list-users", "ListUsers returns at most limit users with identifiers after the given one, " +
			"bytewise ascending.", authListUsers},
		{"auth/update-user", "UpdateUser replaces e-mail, password hash, flags and time of change of the " +
			"user with u's identifier if it still has the version u.Version-1, and leaves it with u.Version; " +
			"names stay.", authUpdateUser},
		{"auth/update-user-refused", "ErrNotFound: there is none. ErrConflict: it has another version.",
			authUpdateUserRefused},
		{"auth/update-user-race", "if it still has the version u.Version-1, and leaves it with u.Version",
			authUpdateUserRace},
		{"auth/update-user-ends", "The sessions that end matches are deleted in the same transaction, with " +
			"their tokens; none if end.User is empty.", authUpdateUserEnds},
		{"auth/delete-user", "DeleteUser removes the user and all its sessions; the name stays taken. " +
			"ErrNotFound: there is none.", authDeleteUser},
		{"auth/delete-user-race", "DeleteUser removes the user and all its sessions", authDeleteUserRace},
		{"auth/unstorable", unstorable, authUnstorable},
		{"auth/times", "Times come and go as UTC with microseconds.", authTimes},
		{"auth/memory", "Methods may be called concurrently and share no memory with the caller.", authMemory},
	}, authSessions()...)
}

// newUser returns a user who was never stored. Several have the same e-mail address.
func newUser(n int) auth.User {
	name := newName()
	return auth.User{
		ID: newUUID(), Username: "Ünï-کاربر " + name, Canonical: "ünï-کاربر " + strings.ToLower(name) + name,
		Email:        "many@example.org",
		PasswordHash: "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$" + name, Staff: n%2 == 1, Version: 1,
		JoinedAt: at(n), UpdatedAt: at(n + 1),
	}
}

func createUser(ctx context.Context, s auth.Store, n int) (auth.User, error) {
	u := newUser(n)
	return u, s.CreateUser(ctx, u)
}

// userByID returns one user and fails if there is none.
func userByID(ctx context.Context, s auth.Store, id string) (auth.User, error) {
	found, err := s.UsersByID(ctx, []string{id})
	if err != nil {
		return auth.User{}, err
	}
	if len(found) != 1 {
		return auth.User{}, fmt.Errorf("user %s: %d are returned, want 1", id, len(found))
	}
	return found[0], nil
}

func authCreateUser(ctx context.Context, s store.Store) error {
	for n := range 3 {
		u := newUser(n)
		u.Version = int64(n + 1)
		if n == 2 {
			u.Email, u.Disabled = "", true
		}
		if err := s.CreateUser(ctx, u); err != nil {
			return err
		}
		got, err := userByID(ctx, s, u.ID)
		if err := errors.Join(err, want("the user", got, u)); err != nil {
			return err
		}
	}
	return nil
}

func authCreateUserTaken(ctx context.Context, s store.Store) error {
	u, err := createUser(ctx, s, 1)
	if err != nil {
		return err
	}
	sameName, sameID := newUser(2), newUser(2)
	sameName.Canonical = u.Canonical
	sameID.ID = u.ID
	if err := errors.Join(
		wantError("a taken name", s.CreateUser(ctx, sameName), auth.ErrUsernameTaken),
		wantError("a taken identifier", s.CreateUser(ctx, sameID), auth.ErrConflict),
	); err != nil {
		return err
	}
	got, err := userByID(ctx, s, u.ID)
	if err := errors.Join(err, want("the user after conflicts", got, u)); err != nil {
		return err
	}
	// Names are compared in the canonical form alone, and as they are.
	other := newUser(3)
	other.Username, other.Canonical = u.Username, strings.ToUpper(u.Canonical)
	if err := s.CreateUser(ctx, other); err != nil {
		return fmt.Errorf("a name that is taken in another canonical form: %w", err)
	}
	if err := s.DeleteUser(ctx, auth.Deletion{User: u.ID}); err != nil {
		return err
	}
	return wantError("the name of a deleted user", s.CreateUser(ctx, sameName), auth.ErrUsernameTaken)
}

func authCreateUserRace(ctx context.Context, s store.Store) error {
	canonical := newName()
	var winners atomic.Int64
	err := together(16, func(i int) error {
		u := newUser(i)
		u.Canonical = canonical
		err := s.CreateUser(ctx, u)
		if errors.Is(err, auth.ErrUsernameTaken) {
			return nil
		}
		winners.Add(1)
		return err
	})
	return errors.Join(err, want("users who got one name", winners.Load(), 1))
}

func authUsersByID(ctx context.Context, s store.Store) error {
	var users []auth.User
	for n := range 3 {
		u, err := createUser(ctx, s, n)
		if err != nil {
			return err
		}
		users = append(users, u)
	}
	if err := s.DeleteUser(ctx, auth.Deletion{User: users[1].ID}); err != nil {
		return err
	}
	ask := append([]string{users[2].ID, users[1].ID, users[0].ID, newUUID(), users[2].ID}, many(3000, newUUID)...)
	found, err := s.UsersByID(ctx, ask)
	if err != nil {
		return err
	}
	byID, err := index(found, func(u auth.User) string { return u.ID })
	if err := errors.Join(err, want("users found", len(byID), 2), want("a user", byID[users[0].ID], users[0]),
		want("a user", byID[users[2].ID], users[2])); err != nil {
		return err
	}
	found, err = s.UsersByID(ctx, nil)
	return errors.Join(err, want("users found for no identifier", len(found), 0))
}

func authUserByName(ctx context.Context, s store.Store) error {
	u, err := createUser(ctx, s, 1)
	if err != nil {
		return err
	}
	got, err := s.UserByName(ctx, u.Canonical)
	if err := errors.Join(err, want("the user", got, u)); err != nil {
		return err
	}
	for _, name := range []string{newName(), u.Username, strings.ToUpper(u.Canonical), u.Canonical + " ", ""} {
		_, err := s.UserByName(ctx, name)
		if err := wantError(fmt.Sprintf("the name %q", name), err, auth.ErrNotFound); err != nil {
			return err
		}
	}
	if err := s.DeleteUser(ctx, auth.Deletion{User: u.ID}); err != nil {
		return err
	}
	_, err = s.UserByName(ctx, u.Canonical)
	return wantError("the name of a deleted user", err, auth.ErrNotFound)
}

func authListUsers(ctx context.Context, s store.Store) error {
	prefix := newUUID()
	var users []auth.User
	for n := range 9 {
		u := newUser(n)
		u.ID = prefix[:len(prefix)-4] + fmt.Sprintf("%04x", 0xffff-n*977) // as made later, but not in that order
		if err := s.CreateUser(ctx, u); err != nil {
			return err
		}
		users = append(users, u)
	}
	if err := s.DeleteUser(ctx, auth.Deletion{User: users[4].ID}); err != nil {
		return err
	}
	users = slices.Delete(users, 4, 5)
	slices.SortFunc(users, func(a, b auth.User) int { return strings.Compare(a.ID, b.ID) })
	for _, limit := range []int{1, 3, len(users)} {
		var got []auth.User
		after := prefix[:len(prefix)-4] + "0000"
		for len(got) < len(users) {
			page, err := s.ListUsers(ctx, after, limit)
			if err != nil {
				return err
			}
			if len(page) > limit || len(page) == 0 {
				return fmt.Errorf("a page of %d users, want 1 to %d", len(page), limit)
			}
			got = append(got, page...)
			after = page[len(page)-1].ID
		}
		if got = got[:len(users)]; !slices.Equal(got, users) {
			return fmt.Errorf("the users, %d at a time, are %+v, want %+v", limit, got, users)
		}
	}
	first, err := s.ListUsers(ctx, "", 1)
	if err != nil {
		return err
	}
	if len(first) != 1 || first[0].ID > users[0].ID {
		return fmt.Errorf("the first user is %+v", first)
	}
	rest, err := s.ListUsers(ctx, "g", 5) // UUIDs end at f
	return errors.Join(err, want("users after the last", len(rest), 0))
}

func authUpdateUser(ctx context.Context, s store.Store) error {
	u, err := createUser(ctx, s, 1)
	if err != nil {
		return err
	}
	other, err := createUser(ctx, s, 2)
	if err != nil {
		return err
	}
	for i := range 3 {
		u.Email, u.PasswordHash, u.Staff, u.Disabled = fmt.Sprintf("u%d@example.org", i), "hash "+newName(),
			i == 0, i == 1
		u.UpdatedAt, u.Version = at(10+i), u.Version+1
		sent := u
		// What is not named stays.
		sent.Username, sent.Canonical, sent.JoinedAt = newName(), newName(), at(99)
		if i == 2 {
			sent.Canonical = other.Canonical
		}
		if err := s.UpdateUser(ctx, sent, auth.SessionFilter{}); err != nil {
			return err
		}
		got, err := userByID(ctx, s, u.ID)
		if err != nil {
			return err
		}
		named, err := s.UserByName(ctx, u.Canonical)
		if err := errors.Join(err, want("the user after an update", got, u),
			want("the user by name after an update", named, u)); err != nil {
			return err
		}
	}
	got, err := userByID(ctx, s, other.ID)
	return errors.Join(err, want("the other user", got, other))
}

func authUpdateUserRefused(ctx context.Context, s store.Store) error {
	u := newUser(1)
	u.Version = 4
	if err := s.CreateUser(ctx, u); err != nil {
		return err
	}
	for _, version := range []int64{1, 3, 4, 6} {
		stale := u
		stale.Email, stale.Version = "not-to-be-seen@example.org", version
		if err := wantError(fmt.Sprintf("an update of version 4 to %d", version),
			s.UpdateUser(ctx, stale, auth.SessionFilter{User: u.ID}), auth.ErrConflict); err != nil {
			return err
		}
	}
	got, err := userByID(ctx, s, u.ID)
	if err := errors.Join(err, want("the user after refused updates", got, u)); err != nil {
		return err
	}
	missing := newUser(1)
	missing.Version = 2
	if err := wantError("an update of a missing user", s.UpdateUser(ctx, missing, auth.SessionFilter{}),
		auth.ErrNotFound); err != nil {
		return err
	}
	if err := s.DeleteUser(ctx, auth.Deletion{User: u.ID}); err != nil {
		return err
	}
	u.Version = 5
	return wantError("an update of a deleted user", s.UpdateUser(ctx, u, auth.SessionFilter{}), auth.ErrNotFound)
}

func authUpdateUserRace(ctx context.Context, s store.Store) error {
	u, err := createUser(ctx, s, 1)
	if err != nil {
		return err
	}
	version := func(i int) auth.User {
		v := u
		v.Email, v.Version = fmt.Sprintf("caller%d@example.org", i), 2
		return v
	}
	return race(50, auth.ErrConflict,
		func(i int) error { return s.UpdateUser(ctx, version(i), auth.SessionFilter{}) }, func(i int) error {
			got, err := userByID(ctx, s, u.ID)
			return errors.Join(err, want("the user", got, version(i)))
		})
}

func authUpdateUserEnds(ctx context.Context, s store.Store) error {
	kept, err := createLogin(ctx, s, 1)
	if err != nil {
		return err
	}
	ended, unrelated := newLogin(kept.user, 2), login{}
	if err := s.CreateSession(ctx, ended.session, ended.tokens); err != nil {
		return err
	}
	if unrelated, err = createLogin(ctx, s, 3); err != nil {
		return err
	}
	others := auth.SessionFilter{User: kept.user.ID, Except: kept.session.ID}
	stale := kept.user
	stale.Version = 7
	if err := wantError("an update from another version", s.UpdateUser(ctx, stale, others),
		auth.ErrConflict); err != nil {
		return err
	}
	if err := ended.wantThere(ctx, s); err != nil {
		return fmt.Errorf("after a refused update: %w", err)
	}
	kept.user.Email, kept.user.Version = "new@example.org", kept.user.Version+1
	if err := s.UpdateUser(ctx, kept.user, others); err != nil {
		return err
	}
	return errors.Join(kept.wantThere(ctx, s), ended.wantGone(ctx, s), unrelated.wantThere(ctx, s))
}

func authDeleteUser(ctx context.Context, s store.Store) error {
	gone, err := createLogin(ctx, s, 1)
	if err != nil {
		return err
	}
	stays, err := createLogin(ctx, s, 2)
	if err != nil {
		return err
	}
	second := newLogin(gone.user, 3)
	if err := s.CreateSession(ctx, second.session, second.tokens); err != nil {
		return err
	}
	if err := s.DeleteUser(ctx, auth.Deletion{User: gone.user.ID}); err != nil {
		return err
	}
	for _, l := range []login{gone, second} {
		if err := l.wantGone(ctx, s); err != nil {
			return fmt.Errorf("after its user was deleted: %w", err)
		}
	}
	found, err := s.UsersByID(ctx, []string{gone.user.ID})
	if err := errors.Join(err, want("deleted users found", len(found), 0), stays.wantThere(ctx, s)); err != nil {
		return err
	}
	// The name stays taken, however often it is asked for.
	again := newUser(4)
	again.Canonical = gone.user.Canonical
	return errors.Join(
		wantError("the name of a deleted user", s.CreateUser(ctx, again), auth.ErrUsernameTaken),
		wantError("the name of a deleted user, again", s.CreateUser(ctx, again), auth.ErrUsernameTaken),
		wantError("a deletion of a deleted user", s.DeleteUser(ctx, auth.Deletion{User: gone.user.ID}),
			auth.ErrNotFound),
		wantError("a deletion of a missing user", s.DeleteUser(ctx, auth.Deletion{User: newUUID()}),
			auth.ErrNotFound),
	)
}

// authDeleteUserRace deletes a user who logs in at the same time, many times: none of the sessions
// stays.
func authDeleteUserRace(ctx context.Context, s store.Store) error {
	for range 3 {
		u, err := createUser(ctx, s, 1)
		if err != nil {
			return err
		}
		logins := make([]login, 9)
		err = together(len(logins), func(i int) error {
			if i == 4 {
				return s.DeleteUser(ctx, auth.Deletion{User: u.ID})
			}
			logins[i] = newLogin(u, i)
			err := s.CreateSession(ctx, logins[i].session, logins[i].tokens)
			if errors.Is(err, auth.ErrNotFound) {
				return nil
			}
			return err
		})
		if err != nil {
			return err
		}
		for i, l := range logins {
			if i == 4 {
				continue
			}
			if err := l.wantGone(ctx, s); err != nil {
				return fmt.Errorf("after its user was deleted: %w", err)
			}
		}
	}
	return nil
}

func authTimes(ctx context.Context, s store.Store) error {
	times := edges()
	for i := range times {
		u := newUser(i)
		u.JoinedAt, u.UpdatedAt = times[i], times[(i+1)%len(times)]
		if err := s.CreateUser(ctx, u); err != nil {
			return err
		}
		l := newLogin(u, i)
		n := &l.session
		n.CreatedAt, n.RotatedAt, n.IdleAt, n.ExpiresAt = times[i], times[(i+2)%len(times)],
			times[(i+3)%len(times)], times[(i+4)%len(times)]
		l.tokens[0].ExpiresAt, l.tokens[1].ExpiresAt = times[(i+5)%len(times)], times[(i+6)%len(times)]
		if err := s.CreateSession(ctx, l.session, l.tokens); err != nil {
			return err
		}
		if err := l.wantThere(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

func authMemory(ctx context.Context, s store.Store) error {
	l, err := createLogin(ctx, s, 1)
	if err != nil {
		return err
	}
	kept := slices.Clone(l.tokens)
	for i := range l.tokens { // the caller's again
		l.tokens[i] = auth.Token{}
	}
	l.tokens = kept
	for range 2 {
		sessions, err := s.SessionsByUser(ctx, l.user.ID)
		if err := errors.Join(err, want("sessions", len(sessions), 1), l.wantThere(ctx, s)); err != nil {
			return err
		}
		sessions[0] = auth.Session{}
		users, err := s.UsersByID(ctx, []string{l.user.ID})
		if err := errors.Join(err, want("users", len(users), 1)); err != nil {
			return err
		}
		users[0] = auth.User{}
	}
	return nil
}
