package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/store"
)

func authSessions() []Check {
	return []Check{
		{"auth/create-session", "CreateSession keeps a session and its first tokens. ErrNotFound: the user " +
			"does not exist.", authCreateSession},
		{"auth/grant", "GrantByToken returns the token with this hash, its session and its user, expired and " +
			"disabled ones included.", authGrant},
		{"auth/grant-gone", "ErrNotFound: there is none, or its session or user is gone.", authGrantGone},
		{"auth/rotate", "RotateSession replaces everything but identifier, user and creation time of the " +
			"session with s's identifier if it still has the version s.Version-1, leaves it with s.Version, " +
			"and adds tokens.", authRotate},
		{"auth/rotate-thins", "It removes the access and refresh tokens of the session whose generation is " +
			"below s.Generation-KeptGenerations.", authRotateThins},
		{"auth/rotate-refused", "ErrNotFound: there is none. ErrConflict: it has another version.",
			authRotateRefused},
		{"auth/rotate-race", "if it still has the version s.Version-1, leaves it with s.Version, and adds tokens.",
			authRotateRace},
		{"auth/sessions", "SessionsByUser returns the sessions of a user, newest first.", authSessionsByUser},
		{"auth/delete-sessions", "DeleteSessions removes the sessions meant together with their tokens, and " +
			"returns how many there were.", authDeleteSessions},
		{"auth/delete-sessions-filter", "Only, if set, is the one session that is meant; Except, if set, is " +
			"one that is not.", authDeleteSessionsFilter},
		{"auth/sweep", "SweepSessions removes at most limit sessions whose ExpiresAt or IdleAt is before the " +
			"given time", authSweep},
		{"auth/sweep-tokens", "and all access tokens that expired before it, and returns how many sessions " +
			"it removed.", authSweepTokens},
	}
}

// login is a user with one session.
type login struct {
	user    auth.User
	session auth.Session
	tokens  []auth.Token // an access token and a refresh token for each generation
}

func newHash() auth.Hash {
	var h auth.Hash
	mustRead(h[:])
	return h
}

// newLogin returns a session of u that was never stored, which began at n.
func newLogin(u auth.User, n int) login {
	l := login{user: u, session: auth.Session{
		ID: newUUID(), User: u.ID, Label: "دستگاه 📱 " + strings.Repeat("x", 150), Version: 1,
		CreatedAt: at(n), RotatedAt: at(n), IdleAt: at(n + 100), ExpiresAt: at(n + 1000),
	}}
	l.addTokens()
	return l
}

func (l *login) addTokens() []auth.Token {
	s := l.session
	added := []auth.Token{
		{Hash: newHash(), Session: s.ID, Kind: auth.Access, Generation: s.Generation,
			ExpiresAt: s.RotatedAt.Add(time.Minute)},
		{Hash: newHash(), Session: s.ID, Kind: auth.Refresh, Generation: s.Generation, ExpiresAt: s.IdleAt},
	}
	l.tokens = append(l.tokens, added...)
	return added
}

// rotated returns the login one generation later, and the tokens that are new.
func (l login) rotated(n int) (login, []auth.Token) {
	l.tokens = slices.Clone(l.tokens)
	l.session.Version++
	l.session.Generation++
	l.session.Siblings = n
	l.session.Label = fmt.Sprintf("label %d", n)
	l.session.RotatedAt, l.session.IdleAt, l.session.ExpiresAt = at(n), at(n+100), at(n+1000)
	return l, l.addTokens()
}

func createLogin(ctx context.Context, s auth.Store, n int) (login, error) {
	u, err := createUser(ctx, s, n)
	if err != nil {
		return login{}, err
	}
	l := newLogin(u, n)
	return l, s.CreateSession(ctx, l.session, l.tokens)
}

// wantThere fails unless every token grants this login.
func (l login) wantThere(ctx context.Context, s auth.Store) error {
	for i, t := range l.tokens {
		got, err := s.GrantByToken(ctx, t.Hash)
		if err := errors.Join(err, want("the grant", got,
			auth.Grant{Token: t, Session: l.session, User: l.user})); err != nil {
			return fmt.Errorf("token %d: %w", i, err)
		}
	}
	sessions, err := s.SessionsByUser(ctx, l.user.ID)
	if err == nil && !slices.Contains(sessions, l.session) {
		err = fmt.Errorf("the sessions of the user are %+v, want %+v among them", sessions, l.session)
	}
	return err
}

// wantGone fails if the session can still be found.
func (l login) wantGone(ctx context.Context, s auth.Store) error {
	for i, t := range l.tokens {
		_, err := s.GrantByToken(ctx, t.Hash)
		if err := wantError(fmt.Sprintf("token %d of a session that is gone", i), err, auth.ErrNotFound); err != nil {
			return err
		}
	}
	sessions, err := s.SessionsByUser(ctx, l.user.ID)
	if err == nil && slices.ContainsFunc(sessions, func(o auth.Session) bool { return o.ID == l.session.ID }) {
		err = errors.New("a session that is gone is listed")
	}
	next, added := l.rotated(1)
	return errors.Join(err, wantError("a rotation of a session that is gone",
		s.RotateSession(ctx, next.session, added), auth.ErrNotFound))
}

func authCreateSession(ctx context.Context, s store.Store) error {
	first, err := createLogin(ctx, s, 1)
	if err != nil {
		return err
	}
	second, third := newLogin(first.user, 2), newLogin(first.user, 3)
	second.session.Generation, second.session.Siblings, second.session.Version, second.session.Label = 7, 2, 9, ""
	second.tokens = nil
	second.addTokens()
	second.addTokens()
	third.tokens = nil // none yet
	for _, l := range []login{second, third} {
		if err := s.CreateSession(ctx, l.session, l.tokens); err != nil {
			return err
		}
	}
	for _, l := range []login{first, second, third} {
		if err := l.wantThere(ctx, s); err != nil {
			return err
		}
	}
	nobody := newLogin(newUser(4), 4)
	return errors.Join(
		wantError("a session of a missing user", s.CreateSession(ctx, nobody.session, nobody.tokens),
			auth.ErrNotFound),
		nobody.wantGone(ctx, s),
	)
}

func authGrant(ctx context.Context, s store.Store) error {
	// Every time of it is long past.
	l, err := createLogin(ctx, s, -1_000_000)
	if err != nil {
		return err
	}
	if err := l.wantThere(ctx, s); err != nil {
		return err
	}
	// The user as it is now.
	l.user.Disabled, l.user.Version, l.user.Email = true, 2, ""
	if err := s.UpdateUser(ctx, l.user, auth.SessionFilter{}); err != nil {
		return err
	}
	return l.wantThere(ctx, s)
}

func authGrantGone(ctx context.Context, s store.Store) error {
	l, err := createLogin(ctx, s, 1)
	if err != nil {
		return err
	}
	for _, hash := range []auth.Hash{newHash(), {}} {
		_, err := s.GrantByToken(ctx, hash)
		if err := wantError("a hash of no token", err, auth.ErrNotFound); err != nil {
			return err
		}
	}
	n, err := s.DeleteSessions(ctx, auth.SessionFilter{User: l.user.ID})
	if err := errors.Join(err, want("sessions deleted", n, 1), l.wantGone(ctx, s)); err != nil {
		return err
	}
	l = newLogin(l.user, 2)
	if err := s.CreateSession(ctx, l.session, l.tokens); err != nil {
		return err
	}
	return errors.Join(l.wantThere(ctx, s), s.DeleteUser(ctx, auth.Deletion{User: l.user.ID}), l.wantGone(ctx, s))
}

func authSessionsByUser(ctx context.Context, s store.Store) error {
	first, err := createLogin(ctx, s, 50)
	if err != nil {
		return err
	}
	if _, err := createLogin(ctx, s, 51); err != nil {
		return err
	}
	wanted := []auth.Session{first.session}
	for _, n := range []int{30, 90, 10, 70, -1000} {
		l := newLogin(first.user, n)
		if err := s.CreateSession(ctx, l.session, l.tokens); err != nil {
			return err
		}
		wanted = append(wanted, l.session)
	}
	// When it was rotated does not make a session newer.
	rotated, added := first.rotated(500)
	if err := s.RotateSession(ctx, rotated.session, added); err != nil {
		return err
	}
	wanted[0] = rotated.session
	slices.SortFunc(wanted, func(a, b auth.Session) int { return b.CreatedAt.Compare(a.CreatedAt) })
	got, err := s.SessionsByUser(ctx, first.user.ID)
	if err != nil {
		return err
	}
	if !slices.Equal(got, wanted) {
		return fmt.Errorf("the sessions are %+v, want %+v", got, wanted)
	}
	got, err = s.SessionsByUser(ctx, newUUID())
	return errors.Join(err, want("sessions of a missing user", len(got), 0))
}

func authDeleteSessions(ctx context.Context, s store.Store) error {
	first, err := createLogin(ctx, s, 1)
	if err != nil {
		return err
	}
	other, err := createLogin(ctx, s, 2)
	if err != nil {
		return err
	}
	second := newLogin(first.user, 3)
	if err := s.CreateSession(ctx, second.session, second.tokens); err != nil {
		return err
	}
	for _, wanted := range []int{2, 0} {
		n, err := s.DeleteSessions(ctx, auth.SessionFilter{User: first.user.ID})
		if err := errors.Join(err, want("sessions deleted", n, wanted)); err != nil {
			return err
		}
	}
	n, err := s.DeleteSessions(ctx, auth.SessionFilter{User: newUUID()})
	return errors.Join(err, want("sessions of a missing user", n, 0), first.wantGone(ctx, s),
		second.wantGone(ctx, s), other.wantThere(ctx, s))
}

func authDeleteSessionsFilter(ctx context.Context, s store.Store) error {
	other, err := createLogin(ctx, s, 9)
	if err != nil {
		return err
	}
	u, err := createUser(ctx, s, 1)
	if err != nil {
		return err
	}
	logins := make([]login, 5)
	for i := range logins {
		logins[i] = newLogin(u, i)
		if err := s.CreateSession(ctx, logins[i].session, logins[i].tokens); err != nil {
			return err
		}
	}
	id := func(i int) string { return logins[i].session.ID }
	for _, step := range []struct {
		f     auth.SessionFilter
		stays []int
	}{
		{auth.SessionFilter{User: u.ID, Only: newUUID()}, []int{0, 1, 2, 3, 4}},
		{auth.SessionFilter{User: u.ID, Only: other.session.ID}, []int{0, 1, 2, 3, 4}}, // another user's
		{auth.SessionFilter{User: u.ID, Only: id(1), Except: id(1)}, []int{0, 1, 2, 3, 4}},
		{auth.SessionFilter{User: u.ID, Only: id(1)}, []int{0, 2, 3, 4}},
		{auth.SessionFilter{User: u.ID, Only: id(0), Except: id(2)}, []int{2, 3, 4}},
		{auth.SessionFilter{User: u.ID, Except: id(3)}, []int{3}},
		{auth.SessionFilter{User: u.ID, Except: id(3)}, []int{3}},
	} {
		before, err := s.SessionsByUser(ctx, u.ID)
		if err != nil {
			return err
		}
		n, err := s.DeleteSessions(ctx, step.f)
		if err := errors.Join(err, want("sessions deleted", n, len(before)-len(step.stays)),
			other.wantThere(ctx, s)); err != nil {
			return err
		}
		for i, l := range logins {
			look := l.wantGone
			if slices.Contains(step.stays, i) {
				look = l.wantThere
			}
			if err := look(ctx, s); err != nil {
				return fmt.Errorf("session %d after %+v: %w", i, step.f, err)
			}
		}
	}
	return nil
}

// authSweep works with times of long ago, which no other check uses.
func authSweep(ctx context.Context, s store.Store) error {
	border := time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC)
	u, err := createUser(ctx, s, 1)
	if err != nil {
		return err
	}
	create := func(idle, expires time.Duration) (login, error) {
		l := newLogin(u, 1)
		l.session.IdleAt, l.session.ExpiresAt = border.Add(idle), border.Add(expires)
		return l, s.CreateSession(ctx, l.session, l.tokens)
	}
	var old, young []login
	for _, times := range [][2]time.Duration{
		{-time.Hour, -time.Hour}, {-time.Microsecond, time.Hour}, {time.Hour, -time.Microsecond},
		{-time.Minute, 0}, {0, -time.Minute},
	} {
		l, err := create(times[0], times[1])
		if err != nil {
			return err
		}
		old = append(old, l)
	}
	for _, times := range [][2]time.Duration{{0, 0}, {time.Hour, 0}, {0, time.Hour}} {
		l, err := create(times[0], times[1])
		if err != nil {
			return err
		}
		young = append(young, l)
	}
	for _, wanted := range []int{2, 2, 1, 0} {
		n, err := s.SweepSessions(ctx, border, 2)
		if err := errors.Join(err, want("sessions swept, 2 at a time", n, wanted)); err != nil {
			return err
		}
	}
	for _, l := range old {
		if err := l.wantGone(ctx, s); err != nil {
			return fmt.Errorf("after a sweep: %w", err)
		}
	}
	for _, l := range young {
		if err := l.wantThere(ctx, s); err != nil {
			return fmt.Errorf("after a sweep: %w", err)
		}
	}
	return nil
}

// authSweepTokens sweeps more tokens than the limit of sessions. Refresh tokens stay as long as
// their session, so that their use can be noticed.
func authSweepTokens(ctx context.Context, s store.Store) error {
	border := time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC)
	u, err := createUser(ctx, s, 1)
	if err != nil {
		return err
	}
	l := newLogin(u, 1)
	l.tokens = nil
	var swept []auth.Token
	for i := range 8 {
		t := auth.Token{Hash: newHash(), Session: l.session.ID, Kind: auth.Access, Generation: int64(i),
			ExpiresAt: border.Add(-time.Microsecond)}
		switch i {
		case 0:
			t.ExpiresAt = border
		case 1:
			t.ExpiresAt = border.Add(time.Hour)
		case 2:
			t.Kind = auth.Refresh
		default:
			swept = append(swept, t)
			continue
		}
		l.tokens = append(l.tokens, t)
	}
	if err := s.CreateSession(ctx, l.session, slices.Concat(swept, l.tokens)); err != nil {
		return err
	}
	n, err := s.SweepSessions(ctx, border, 1)
	if err := errors.Join(err, want("sessions swept", n, 0)); err != nil {
		return err
	}
	for _, t := range swept {
		_, err := s.GrantByToken(ctx, t.Hash)
		if err := wantError("an access token that was swept", err, auth.ErrNotFound); err != nil {
			return err
		}
	}
	return l.wantThere(ctx, s)
}
