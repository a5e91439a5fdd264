package memstore

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/rating"
)

// session is a stored session and the tokens that belong to it.
type session struct {
	auth.Session
	tokens set[auth.Hash]
}

// CreateUser implements auth.Store.
func (s *Store) CreateUser(ctx context.Context, u auth.User) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if _, ok := s.names[u.Canonical]; ok {
		return fmt.Errorf("memstore: create user %s: %w", u.ID, auth.ErrUsernameTaken)
	}
	if _, ok := s.users[u.ID]; ok {
		return fmt.Errorf("memstore: create user %s: %w", u.ID, auth.ErrConflict)
	}
	s.users[u.ID] = u
	s.names[u.Canonical] = u.ID
	return nil
}

// UsersByID implements auth.Store.
func (s *Store) UsersByID(ctx context.Context, ids []string) ([]auth.User, error) {
	if err := s.rlock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.RUnlock()
	var found []auth.User
	for id := range unique(ids) {
		if u, ok := s.users[id]; ok {
			found = append(found, u)
		}
	}
	return found, nil
}

// UserByName implements auth.Store.
func (s *Store) UserByName(ctx context.Context, canonical string) (auth.User, error) {
	if err := s.rlock(ctx); err != nil {
		return auth.User{}, err
	}
	defer s.mu.RUnlock()
	u, ok := s.users[s.names[canonical]]
	if !ok {
		return auth.User{}, fmt.Errorf("memstore: user by name: %w", auth.ErrNotFound)
	}
	return u, nil
}

// ListUsers implements auth.Store.
func (s *Store) ListUsers(ctx context.Context, after string, limit int) ([]auth.User, error) {
	if err := s.rlock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.RUnlock()
	var found []auth.User
	for _, id := range least(following(maps.Keys(s.users), after), limit, strings.Compare) {
		found = append(found, s.users[id])
	}
	return found, nil
}

// UpdateUser implements auth.Store.
func (s *Store) UpdateUser(ctx context.Context, u auth.User) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	old, ok := s.users[u.ID]
	if !ok {
		return fmt.Errorf("memstore: update user %s: %w", u.ID, auth.ErrNotFound)
	}
	if old.Version != u.Version-1 {
		return fmt.Errorf("memstore: update user %s from version %d: %w", u.ID, u.Version-1, auth.ErrConflict)
	}
	u.Username, u.Canonical, u.JoinedAt = old.Username, old.Canonical, old.JoinedAt
	s.users[u.ID] = u
	return nil
}

// DeleteUser implements auth.Store.
func (s *Store) DeleteUser(ctx context.Context, d auth.Deletion) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if _, ok := s.users[d.User]; !ok {
		return fmt.Errorf("memstore: delete user %s: %w", d.User, auth.ErrNotFound)
	}
	for login := range s.logins[d.User] {
		s.dropSession(login)
	}
	delete(s.users, d.User)
	if d.Ratings != "" {
		s.departed[d.User] = rating.Departure{Rater: d.User, Fate: rating.Fate(d.Ratings), At: d.At}
	}
	return nil
}

// CreateSession implements auth.Store.
func (s *Store) CreateSession(ctx context.Context, n auth.Session, tokens []auth.Token) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if _, ok := s.users[n.User]; !ok {
		return fmt.Errorf("memstore: create session of user %s: %w", n.User, auth.ErrNotFound)
	}
	login := &session{Session: n, tokens: set[auth.Hash]{}}
	s.sessions[n.ID] = login
	link(s.logins, n.User, n.ID)
	s.addTokens(login, tokens)
	return nil
}

// GrantByToken implements auth.Store.
func (s *Store) GrantByToken(ctx context.Context, hash auth.Hash) (auth.Grant, error) {
	if err := s.rlock(ctx); err != nil {
		return auth.Grant{}, err
	}
	defer s.mu.RUnlock()
	t, ok := s.tokens[hash]
	login := s.sessions[t.Session]
	if !ok || login == nil {
		return auth.Grant{}, fmt.Errorf("memstore: grant by token: %w", auth.ErrNotFound)
	}
	return auth.Grant{Token: t, Session: login.Session, User: s.users[login.User]}, nil
}

// RotateSession implements auth.Store.
func (s *Store) RotateSession(ctx context.Context, n auth.Session, tokens []auth.Token) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	login := s.sessions[n.ID]
	if login == nil {
		return fmt.Errorf("memstore: rotate session %s: %w", n.ID, auth.ErrNotFound)
	}
	if login.Version != n.Version-1 {
		return fmt.Errorf("memstore: rotate session %s from version %d: %w", n.ID, n.Version-1, auth.ErrConflict)
	}
	n.User, n.CreatedAt = login.User, login.CreatedAt
	login.Session = n
	for hash := range login.tokens {
		if t := s.tokens[hash]; t.Kind != auth.Family && t.Generation < n.Generation-auth.KeptGenerations {
			delete(s.tokens, hash)
			delete(login.tokens, hash)
		}
	}
	s.addTokens(login, tokens)
	return nil
}

// SessionsByUser implements auth.Store.
func (s *Store) SessionsByUser(ctx context.Context, user string) ([]auth.Session, error) {
	if err := s.rlock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.RUnlock()
	var found []auth.Session
	for id := range s.logins[user] {
		found = append(found, s.sessions[id].Session)
	}
	slices.SortFunc(found, func(a, b auth.Session) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), strings.Compare(b.ID, a.ID))
	})
	return found, nil
}

// DeleteSessions implements auth.Store.
func (s *Store) DeleteSessions(ctx context.Context, f auth.SessionFilter) (int, error) {
	if err := s.lock(ctx); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	n := 0
	for id := range s.logins[f.User] {
		if f.Only != "" && id != f.Only || f.Except != "" && id == f.Except {
			continue
		}
		s.dropSession(id)
		n++
	}
	return n, nil
}

// SweepSessions implements auth.Store.
func (s *Store) SweepSessions(ctx context.Context, before time.Time, limit int) (int, error) {
	if err := s.lock(ctx); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	for hash, t := range s.tokens {
		if t.Kind == auth.Access && t.ExpiresAt.Before(before) {
			delete(s.tokens, hash)
			if login := s.sessions[t.Session]; login != nil {
				delete(login.tokens, hash)
			}
		}
	}
	n := 0
	for id, login := range s.sessions {
		if n == limit {
			break
		}
		if login.ExpiresAt.Before(before) || login.IdleAt.Before(before) {
			s.dropSession(id)
			n++
		}
	}
	return n, nil
}

func (s *Store) addTokens(login *session, tokens []auth.Token) {
	for _, t := range tokens {
		s.tokens[t.Hash] = t
		login.tokens.add(t.Hash)
	}
}

func (s *Store) dropSession(id string) {
	login := s.sessions[id]
	for hash := range login.tokens {
		delete(s.tokens, hash)
	}
	delete(s.sessions, id)
	unlink(s.logins, login.User, id)
}
