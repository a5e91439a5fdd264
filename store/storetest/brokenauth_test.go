package storetest_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/store"
)

type freeNames struct{ store.Store }

func (s *freeNames) CreateUser(ctx context.Context, u auth.User) error {
	err := s.Store.CreateUser(ctx, u)
	if errors.Is(err, auth.ErrUsernameTaken) {
		if _, missing := s.UserByName(ctx, u.Canonical); errors.Is(missing, auth.ErrNotFound) {
			return nil
		}
	}
	return err
}

type renaming struct {
	store.Store
	names sync.Map
}

func (s *renaming) UpdateUser(ctx context.Context, u auth.User, end auth.SessionFilter) error {
	s.names.Store(u.ID, u.Username)
	return s.Store.UpdateUser(ctx, u, end)
}

func (s *renaming) UsersByID(ctx context.Context, ids []string) ([]auth.User, error) {
	found, err := s.Store.UsersByID(ctx, ids)
	for i, u := range found {
		if name, ok := s.names.Load(u.ID); ok {
			found[i].Username = name.(string)
		}
	}
	return found, err
}

type endless struct{ store.Store }

func (s endless) UpdateUser(ctx context.Context, u auth.User, _ auth.SessionFilter) error {
	return s.Store.UpdateUser(ctx, u, auth.SessionFilter{})
}

type carelessUsers struct{ store.Store }

func (s carelessUsers) UpdateUser(ctx context.Context, u auth.User, end auth.SessionFilter) error {
	for {
		found, err := s.UsersByID(ctx, []string{u.ID})
		if err != nil || len(found) == 0 {
			return auth.ErrNotFound
		}
		u.Version = found[0].Version + 1
		if err := s.Store.UpdateUser(ctx, u, end); !errors.Is(err, auth.ErrConflict) {
			return err
		}
	}
}

type inclusiveUsers struct{ store.Store }

func (s inclusiveUsers) ListUsers(ctx context.Context, after string, limit int) ([]auth.User, error) {
	first, err := s.UsersByID(ctx, []string{after})
	if err != nil {
		return nil, err
	}
	rest, err := s.Store.ListUsers(ctx, after, limit)
	all := append(first, rest...)
	return all[:min(limit, len(all))], err
}

type surviving struct {
	store.Store
	grants sync.Map
}

func (s *surviving) CreateSession(ctx context.Context, n auth.Session, tokens []auth.Token) error {
	users, err := s.UsersByID(ctx, []string{n.User})
	if err != nil {
		return err
	}
	for _, t := range tokens {
		if len(users) == 1 {
			s.grants.Store(t.Hash, auth.Grant{Token: t, Session: n, User: users[0]})
		}
	}
	return s.Store.CreateSession(ctx, n, tokens)
}

func (s *surviving) GrantByToken(ctx context.Context, hash auth.Hash) (auth.Grant, error) {
	g, err := s.Store.GrantByToken(ctx, hash)
	if kept, ok := s.grants.Load(hash); ok && errors.Is(err, auth.ErrNotFound) {
		return kept.(auth.Grant), nil
	}
	return g, err
}

type carelessSessions struct{ store.Store }

func (s carelessSessions) RotateSession(ctx context.Context, n auth.Session, tokens []auth.Token) error {
	for {
		sessions, err := s.SessionsByUser(ctx, n.User)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(sessions, func(o auth.Session) bool { return o.ID == n.ID })
		if at < 0 {
			return auth.ErrNotFound
		}
		n.Version = sessions[at].Version + 1
		if err := s.Store.RotateSession(ctx, n, tokens); !errors.Is(err, auth.ErrConflict) {
			return err
		}
	}
}

type latestTokens struct{ store.Store }

func (s latestTokens) GrantByToken(ctx context.Context, hash auth.Hash) (auth.Grant, error) {
	g, err := s.Store.GrantByToken(ctx, hash)
	if err == nil && g.Token.Generation < g.Session.Generation {
		return auth.Grant{}, auth.ErrNotFound
	}
	return g, err
}

type hoarding struct {
	store.Store
	tokens sync.Map
}

func (s *hoarding) CreateSession(ctx context.Context, n auth.Session, tokens []auth.Token) error {
	for _, t := range tokens {
		s.tokens.Store(t.Hash, t)
	}
	return s.Store.CreateSession(ctx, n, tokens)
}

func (s *hoarding) GrantByToken(ctx context.Context, hash auth.Hash) (auth.Grant, error) {
	g, err := s.Store.GrantByToken(ctx, hash)
	if kept, ok := s.tokens.Load(hash); ok && errors.Is(err, auth.ErrNotFound) {
		return auth.Grant{Token: kept.(auth.Token)}, nil
	}
	return g, err
}

type thinning struct{ store.Store }

func (s thinning) GrantByToken(ctx context.Context, hash auth.Hash) (auth.Grant, error) {
	g, err := s.Store.GrantByToken(ctx, hash)
	if err == nil && g.Token.Generation < g.Session.Generation-auth.KeptGenerations {
		return auth.Grant{}, auth.ErrNotFound
	}
	return g, err
}

type hasty struct{ store.Store }

func (s hasty) GrantByToken(ctx context.Context, hash auth.Hash) (auth.Grant, error) {
	g, err := s.Store.GrantByToken(ctx, hash)
	if err == nil && g.Token.Kind != auth.Family && g.Token.Generation == g.Session.Generation-auth.KeptGenerations {
		return auth.Grant{}, auth.ErrNotFound
	}
	return g, err
}

type strict struct{ store.Store }

func (s strict) GrantByToken(ctx context.Context, hash auth.Hash) (auth.Grant, error) {
	g, err := s.Store.GrantByToken(ctx, hash)
	if err == nil && g.Session.ExpiresAt.Before(time.Now()) {
		return auth.Grant{}, auth.ErrNotFound
	}
	return g, err
}

type oldestFirst struct{ store.Store }

func (s oldestFirst) SessionsByUser(ctx context.Context, user string) ([]auth.Session, error) {
	sessions, err := s.Store.SessionsByUser(ctx, user)
	slices.Reverse(sessions)
	return sessions, err
}

type unexcepting struct{ store.Store }

func (s unexcepting) DeleteSessions(ctx context.Context, f auth.SessionFilter) (int, error) {
	f.Except = ""
	return s.Store.DeleteSessions(ctx, f)
}

type inclusiveSweep struct{ store.Store }

func (s inclusiveSweep) SweepSessions(ctx context.Context, before time.Time, limit int) (int, error) {
	return s.Store.SweepSessions(ctx, before.Add(time.Microsecond), limit)
}
