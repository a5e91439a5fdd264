package kvstore

import (
	"context"
	"time"

	"github.com/khodnevis/khodnevis/auth"
)

func sessionKeys(s auth.Session) [][]byte {
	end := s.ExpiresAt
	if s.IdleAt.Before(end) {
		end = s.IdleAt
	}
	return [][]byte{key(sessionsByUser, s.User, s.CreatedAt, s.ID), key(sessionsByEnd, end, s.ID)}
}

// CreateSession implements auth.Store.
func (s *Store) CreateSession(ctx context.Context, login auth.Session, added []auth.Token) error {
	return s.write(ctx, "create session of user "+login.User, func(t *tx) error {
		if !users.has(t, login.User) {
			return auth.ErrNotFound
		}
		sessions.put(t, login, login.ID)
		t.reindex(nil, sessionKeys(login))
		t.addTokens(added)
		return nil
	})
}

// RotateSession implements auth.Store.
func (s *Store) RotateSession(ctx context.Context, login auth.Session, added []auth.Token) error {
	return s.write(ctx, "rotate session "+login.ID, func(t *tx) error {
		old, ok := sessions.get(t, login.ID)
		switch {
		case !ok:
			return auth.ErrNotFound
		case old.Version != login.Version-1:
			return auth.ErrConflict
		}
		now := login
		now.User, now.CreatedAt = old.User, old.CreatedAt
		sessions.put(t, now, now.ID)
		t.reindex(sessionKeys(old), sessionKeys(now))
		t.removeTokens(span{
			prefix: key(tokensBySession, now.ID),
			high:   extend(nil, int64(0), now.Generation-auth.KeptGenerations),
		})
		t.addTokens(added)
		return nil
	})
}

// SessionsByUser implements auth.Store.
func (s *Store) SessionsByUser(ctx context.Context, user string) ([]auth.Session, error) {
	return view(ctx, s, "sessions by user", func(t *tx) ([]auth.Session, error) { return t.logins(user), nil })
}

// logins returns the sessions of a user, newest first.
func (t *tx) logins(user string) (found []auth.Session) {
	for rest := range t.scan(span{prefix: key(sessionsByUser, user), descending: true}) {
		p := parts(rest)
		p.time()
		if login, ok := sessions.get(t, p.text()); ok {
			found = append(found, login)
		}
	}
	return found
}

// DeleteSessions implements auth.Store.
func (s *Store) DeleteSessions(ctx context.Context, f auth.SessionFilter) (int, error) {
	return update(ctx, s, "delete sessions of user "+f.User,
		func(t *tx) (int, error) { return t.endSessions(f), nil })
}

// endSessions removes the sessions that f matches and returns how many there were.
func (t *tx) endSessions(f auth.SessionFilter) (n int) {
	for _, login := range t.logins(f.User) {
		if f.Only != "" && login.ID != f.Only || f.Except != "" && login.ID == f.Except {
			continue
		}
		t.endSession(login)
		n++
	}
	return n
}

// endSession removes a session with its tokens.
func (t *tx) endSession(login auth.Session) {
	sessions.delete(t, login.ID)
	t.reindex(sessionKeys(login), nil)
	t.removeTokens(span{prefix: key(tokensBySession, login.ID)})
}

// SweepSessions implements auth.Store.
func (s *Store) SweepSessions(ctx context.Context, before time.Time, limit int) (int, error) {
	for n := piece; n == piece; {
		var err error
		if n, err = update(ctx, s, "sweep tokens", func(t *tx) (int, error) {
			old := t.rests(span{prefix: key(tokensByEnd), high: extend(nil, before)}, piece)
			for _, p := range old {
				p.time()
				t.removeToken(p.hash())
			}
			return len(old), nil
		}); err != nil {
			return 0, err
		}
	}
	return update(ctx, s, "sweep sessions", func(t *tx) (int, error) {
		old := t.rests(span{prefix: key(sessionsByEnd), high: extend(nil, before)}, limit)
		for _, p := range old {
			p.time()
			if login, ok := sessions.get(t, p.text()); ok {
				t.endSession(login)
			}
		}
		return len(old), nil
	})
}
