package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/khodnevis/khodnevis/internal/id"
)

const (
	// maxSiblings is how many further pairs of tokens a spent refresh token buys while it is graced.
	maxSiblings = 5
	// graceSkew is how far in the future, by another node's clock, a rotation may lie and still be
	// graced.
	graceSkew = time.Minute
)

// Tokens are the secrets of a session. They are returned once and stored nowhere.
type Tokens struct {
	// Access authenticates requests; Refresh buys the next Tokens, once.
	Access, Refresh string
	// ExpiresIn and RefreshExpiresIn are how long Access and Refresh are good from now.
	ExpiresIn, RefreshExpiresIn time.Duration
	User                        User
	Session                     Session
}

// begin makes a session of u. A password that changes between its check and this call ends all
// sessions there are; so this one is checked once more after it has come to be, and ended if it
// came too late.
func (s *Service) begin(ctx context.Context, u User, password string, src Source) (Tokens, error) {
	now := s.now()
	session := Session{
		ID: id.New(), User: u.ID, Label: cleanLabel(src.Label), Version: 1,
		CreatedAt: now, RotatedAt: now, IdleAt: now.Add(s.cfg.RefreshIdle), ExpiresAt: now.Add(s.cfg.SessionTTL),
	}
	f := newFamily()
	t, stored := s.issue(session, f, u, now)
	stored = append(stored, familyOf(session, f))
	if err := s.store.CreateSession(ctx, session, stored); err != nil {
		if errors.Is(err, ErrNotFound) {
			return Tokens{}, ErrInvalidLogin
		}
		return Tokens{}, err
	}
	valid, err := s.passwordUnchanged(ctx, u, password, src)
	if err != nil || !valid {
		if _, derr := s.store.DeleteSessions(ctx, SessionFilter{User: u.ID, Only: session.ID}); derr != nil {
			return Tokens{}, derr
		}
		if err == nil {
			err = ErrInvalidLogin
		}
		return Tokens{}, err
	}
	s.trim(ctx, u.ID)
	return t, nil
}

// familyOf returns the token by which deleted refresh tokens of a session are recognized.
func familyOf(session Session, f family) Token {
	return Token{Hash: f.hash(), Session: session.ID, Kind: Family, ExpiresAt: session.ExpiresAt}
}

// passwordUnchanged reports whether the password of u is what it was when u was read.
func (s *Service) passwordUnchanged(ctx context.Context, u User, password string, src Source) (bool, error) {
	users, err := s.store.UsersByID(ctx, []string{u.ID})
	if err != nil || len(users) == 0 {
		return false, err
	}
	if users[0].PasswordHash == u.PasswordHash {
		return true, nil
	}
	return s.verify(ctx, sharersOf(src.IP), users[0], true, password) // perhaps only raised by another login
}

// trim ends the oldest sessions beyond those that a user may have.
func (s *Service) trim(ctx context.Context, user string) {
	sessions, err := s.store.SessionsByUser(ctx, user)
	now, live := s.now(), 0
	for _, old := range sessions {
		if now.Before(earliest(old.IdleAt, old.ExpiresAt)) {
			live++
		}
		if live > s.cfg.MaxSessions && err == nil {
			err = s.end(ctx, SessionFilter{User: user, Only: old.ID})
		}
	}
	if err != nil {
		s.event(ctx, slog.LevelWarn, "auth.trim_failed", user, Source{}, slog.Any("error", err))
	}
}

// issue makes the tokens of the session's present generation.
func (s *Service) issue(session Session, f family, u User, now time.Time) (Tokens, []Token) {
	refreshEnds := earliest(session.IdleAt, session.ExpiresAt)
	accessEnds := earliest(now.Add(s.cfg.AccessTTL), refreshEnds)
	access, accessHash := newToken(Access)
	refresh, refreshHash := newRefresh(f)
	return Tokens{
			Access: access, Refresh: refresh, User: u, Session: session,
			ExpiresIn: accessEnds.Sub(now), RefreshExpiresIn: refreshEnds.Sub(now),
		}, []Token{
			{Hash: accessHash, Session: session.ID, Kind: Access, Generation: session.Generation, ExpiresAt: accessEnds},
			{Hash: refreshHash, Session: session.ID, Kind: Refresh, Generation: session.Generation, ExpiresAt: refreshEnds},
		}
}

// Refresh spends a refresh token and returns the next tokens of its session. A token that was spent
// already ends the session, since one of the two who hold it stole it (RFC 9700, 4.14.2), unless it
// was spent just now and its successor is unused. Errors: ErrInvalidToken.
func (s *Service) Refresh(ctx context.Context, refresh string, src Source) (Tokens, error) {
	hash, f, ok := parseRefresh(refresh)
	if !ok {
		return Tokens{}, ErrInvalidToken
	}
	for range casAttempts {
		t, err := s.refresh(ctx, hash, f, src)
		if err == nil {
			s.throttle.trustPlace(ctx, accountKey(t.User.Username), src.IP)
			return t, nil
		}
		switch {
		case errors.Is(err, ErrConflict):
			continue // somebody else rotated the session: look at it again
		case errors.Is(err, ErrNotFound):
			return Tokens{}, ErrInvalidToken
		case errors.Is(err, ErrInvalidToken):
			return Tokens{}, err
		}
		return Tokens{}, fmt.Errorf("auth: refresh: %w", err)
	}
	return Tokens{}, fmt.Errorf("auth: refresh: %w: changed %d times meanwhile", ErrUnavailable, casAttempts)
}

// refresh is one attempt. What decides is the store's compare-and-set on the session that was read.
func (s *Service) refresh(ctx context.Context, hash Hash, f family, src Source) (Tokens, error) {
	g, err := s.store.GrantByToken(ctx, hash)
	if errors.Is(err, ErrNotFound) {
		g, err = s.store.GrantByToken(ctx, f.hash()) // spent so long ago that it is not kept
	}
	if err != nil {
		return Tokens{}, err
	}
	now := s.now()
	if g.Token.Kind == Access || g.User.Disabled || !now.Before(earliest(g.Session.IdleAt, g.Session.ExpiresAt)) {
		return Tokens{}, ErrInvalidToken
	}
	next := g.Session
	next.Version++
	kept := g.Token.Kind == Refresh
	switch since := now.Sub(g.Session.RotatedAt); {
	case kept && g.Token.Generation == g.Session.Generation:
		next.Generation++
		next.Siblings = 0
		next.RotatedAt = now
		next.IdleAt = earliest(now.Add(s.cfg.RefreshIdle), next.ExpiresAt)
		if src.Label != "" {
			next.Label = cleanLabel(src.Label)
		}
	case kept && g.Token.Generation == g.Session.Generation-1 && since <= s.cfg.Grace && since >= -graceSkew:
		if g.Session.Siblings >= maxSiblings {
			s.event(ctx, slog.LevelWarn, "auth.refresh_refused", g.User.ID, src, slog.String("session", g.Session.ID))
			return Tokens{}, ErrInvalidToken
		}
		next.Siblings++
	default:
		if err := s.end(ctx, SessionFilter{User: g.User.ID, Only: g.Session.ID}); err != nil {
			return Tokens{}, err
		}
		s.event(ctx, slog.LevelWarn, "auth.refresh_reuse", g.User.ID, src, slog.String("session", g.Session.ID))
		return Tokens{}, ErrInvalidToken
	}
	t, stored := s.issue(next, f, g.User, now)
	if _, err := s.store.GrantByToken(ctx, f.hash()); errors.Is(err, ErrNotFound) { // a session of an older release
		stored = append(stored, familyOf(next, f))
	} else if err != nil {
		return Tokens{}, err
	}
	if err := s.store.RotateSession(ctx, next, stored); err != nil {
		return Tokens{}, err
	}
	return t, nil
}

// Logout ends the session of p.
func (s *Service) Logout(ctx context.Context, p Principal) error {
	if p.Session == "" {
		return ErrInvalidCredentials
	}
	if err := s.end(ctx, SessionFilter{User: p.Subject, Only: p.Session}); err != nil {
		return fmt.Errorf("auth: logout of %s: %w", p.Subject, err)
	}
	s.event(ctx, slog.LevelInfo, "auth.logout", p.Subject, Source{}, slog.String("session", p.Session))
	return nil
}

// Sessions returns the sessions of p's user that go on, newest first.
func (s *Service) Sessions(ctx context.Context, p Principal) ([]Session, error) {
	sessions, err := s.store.SessionsByUser(ctx, p.Subject)
	if err != nil {
		return nil, fmt.Errorf("auth: sessions of %s: %w", p.Subject, err)
	}
	now := s.now()
	live := make([]Session, 0, len(sessions))
	for _, session := range sessions {
		if now.Before(earliest(session.IdleAt, session.ExpiresAt)) {
			session.RotatedAt = latest(session.RotatedAt, session.CreatedAt)
			live = append(live, session)
		}
	}
	return live, nil
}

// EndSession ends one session of p's user. ErrNotFound: the user has no such session.
func (s *Service) EndSession(ctx context.Context, p Principal, session string) error {
	if !id.Valid(session) {
		return ErrNotFound
	}
	filter := SessionFilter{User: p.Subject, Only: session}
	n, err := s.store.DeleteSessions(ctx, filter)
	s.invalidate(ctx, filter)
	if err != nil {
		return fmt.Errorf("auth: end session %s: %w", session, err)
	}
	if n == 0 {
		return fmt.Errorf("auth: end session %s: %w", session, ErrNotFound)
	}
	s.event(ctx, slog.LevelInfo, "auth.session_ended", p.Subject, Source{}, slog.String("session", session))
	return nil
}

// EndOtherSessions ends every session of p's user but p's own.
func (s *Service) EndOtherSessions(ctx context.Context, p Principal) error {
	if err := s.end(ctx, SessionFilter{User: p.Subject, Except: p.Session}); err != nil {
		return fmt.Errorf("auth: end other sessions of %s: %w", p.Subject, err)
	}
	s.event(ctx, slog.LevelInfo, "auth.sessions_ended", p.Subject, Source{})
	return nil
}

// end removes sessions, and invalidates the checks of their tokens.
func (s *Service) end(ctx context.Context, f SessionFilter) error {
	_, err := s.store.DeleteSessions(ctx, f)
	s.invalidate(ctx, f) // even after an error: the store may have done it
	return err
}
