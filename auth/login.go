package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/khodnevis/khodnevis/internal/invalid"
)

// Credentials are what a user logs in with.
type Credentials struct {
	Username, Password string
}

// Login begins a session. Errors: *ValidationError (a field is blank), ErrInvalidLogin,
// *ThrottledError, ErrBusy.
func (s *Service) Login(ctx context.Context, c Credentials, src Source) (Tokens, error) {
	var bad ValidationError
	if strings.TrimSpace(c.Username) == "" {
		bad.add(invalid.IsBlank("username"))
	}
	if c.Password == "" {
		bad.add(invalid.IsBlank("password"))
	}
	if err := bad.err(); err != nil {
		return Tokens{}, err
	}
	account := accountKey(c.Username)
	reserved, err := s.throttle.login(ctx, account, src.IP)
	if err != nil {
		s.throttled(ctx, "login", "", src, err)
		return Tokens{}, err
	}
	u, err := s.verifyLogin(ctx, c, src)
	if errors.Is(err, ErrInvalidLogin) {
		return Tokens{}, err
	}
	if err != nil {
		reserved.fail(ctx, err)
		return Tokens{}, fmt.Errorf("auth: login: %w", err)
	}
	t, err := s.begin(ctx, u, c.Password, src)
	if errors.Is(err, ErrInvalidLogin) {
		return Tokens{}, err
	}
	if err != nil {
		reserved.fail(ctx, err)
		return Tokens{}, fmt.Errorf("auth: login of %s: %w", u.ID, err)
	}
	reserved.succeed(ctx)
	s.throttle.trustPlace(ctx, account, src.IP)
	s.event(ctx, slog.LevelInfo, "auth.login", u.ID, src, slog.String("session", t.Session.ID))
	return t, nil
}

// verifyLogin returns the user that the credentials belong to, or ErrInvalidLogin, with the same
// work in every case: the same look-ups and one hash.
func (s *Service) verifyLogin(ctx context.Context, c Credentials, src Source) (User, error) {
	who := sharersOf(src.IP)
	if !s.hasher.admits(who) { // load shedding: the store is not asked either
		return User{}, newBusyError()
	}
	u, err := s.findName(ctx, c.Username)
	exists := err == nil
	if !exists && !errors.Is(err, ErrNotFound) {
		return User{}, err
	}
	right, err := s.verify(ctx, who, u, exists, c.Password)
	if err != nil {
		return User{}, err
	}
	if !exists || !right || u.Disabled {
		reason := "password"
		switch {
		case !exists:
			reason = "unknown"
		case right:
			reason = "disabled"
		}
		s.event(ctx, slog.LevelInfo, "auth.login_failed", u.ID, src, slog.String("reason", reason))
		return User{}, ErrInvalidLogin
	}
	return s.rehash(ctx, u, c.Password, src), nil
}

// verify hashes once, whether or not there is a user whose hash could be compared.
func (s *Service) verify(ctx context.Context, who sharers, u User, exists bool, password string) (bool, error) {
	normal, ok := normalPassword(password)
	if !ok {
		normal = "" // no account has such a password: hash something short, which none has either
	}
	stored := s.hasher.dummy
	if exists {
		parsed, err := parsePHC(u.PasswordHash)
		if err == nil {
			stored = parsed
		} else {
			ok = false
			s.event(ctx, slog.LevelError, "auth.bad_hash", u.ID, Source{}, slog.Any("error", err))
		}
	}
	same, err := s.hasher.verify(ctx, who, stored, normal)
	return same && ok && exists, err
}

// rehash raises a hash that is weaker than configured. That it did not work is no reason to refuse
// a login.
func (s *Service) rehash(ctx context.Context, u User, password string, src Source) User {
	stored, err := parsePHC(u.PasswordHash)
	if err != nil || !stored.weaker(s.cfg.Hash) {
		return u
	}
	normal, _ := normalPassword(password)
	raised := u
	if raised.PasswordHash, err = s.hasher.hash(ctx, sharersOf(src.IP), normal); err == nil {
		raised.Version++
		raised.UpdatedAt = latest(s.now(), u.UpdatedAt)
		err = s.store.UpdateUser(ctx, raised, SessionFilter{})
	}
	if err != nil {
		s.event(ctx, slog.LevelWarn, "auth.rehash_failed", u.ID, Source{}, slog.Any("error", err))
		return u
	}
	s.event(ctx, slog.LevelInfo, "auth.rehashed", u.ID, Source{})
	return raised
}

// throttled logs that an attempt was refused by a throttle.
func (s *Service) throttled(ctx context.Context, what, user string, src Source, err error) {
	if t := (*ThrottledError)(nil); errors.As(err, &t) {
		s.event(ctx, slog.LevelWarn, "auth.throttled", user, src,
			slog.String("what", what), slog.Duration("retry_after", t.RetryAfter))
	}
}
