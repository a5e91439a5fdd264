package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/khodnevis/khodnevis/internal/id"
	"github.com/khodnevis/khodnevis/internal/invalid"
)

// Registration is what a new user sends.
type Registration struct {
	Username, Password string
	// Email may be empty.
	Email string
}

// Register creates an account. Errors: *ValidationError (a name that is taken has the code unique),
// *ThrottledError, ErrBusy.
func (s *Service) Register(ctx context.Context, r Registration, src Source) (User, error) {
	var bad ValidationError
	shown, canonical := parseUsername(&bad, r.Username)
	password := s.checkPassword(&bad, "password", r.Password, r.Username, shown, canonical, localPart(r.Email), r.Email)
	checkEmail(&bad, r.Email)
	if err := bad.err(); err != nil {
		return User{}, err
	}
	reserved, err := s.throttle.register(ctx, src.IP)
	if err != nil {
		s.throttled(ctx, "register", "", src, err)
		return User{}, err
	}
	hash, err := s.hasher.hash(ctx, sharersOf(src.IP), password)
	if err != nil {
		reserved.fail(ctx, err)
		return User{}, fmt.Errorf("auth: register: %w", err)
	}
	now := s.now()
	u := User{
		ID: id.New(), Username: shown, Canonical: canonical, Email: r.Email, PasswordHash: hash, Version: 1,
		JoinedAt: now, UpdatedAt: now,
	}
	if err := s.store.CreateUser(ctx, u); err != nil {
		if errors.Is(err, ErrUsernameTaken) {
			bad.add(invalid.Field{Name: "username", Code: invalid.Unique, Detail: "A user with that username already exists."})
			return User{}, bad.err()
		}
		reserved.fail(ctx, err)
		return User{}, fmt.Errorf("auth: register: %w", err)
	}
	s.throttle.trustPlace(ctx, accountKey(u.Username), src.IP)
	s.event(ctx, slog.LevelInfo, "auth.registered", u.ID, src)
	return u, nil
}

// ChangePassword sets a new password and ends every other session of p's user. Errors:
// *ValidationError on new_password, ErrReauth, *ThrottledError, ErrBusy, ErrNotFound.
func (s *Service) ChangePassword(ctx context.Context, p Principal, current, password string, src Source) error {
	u, err := s.User(ctx, p.Subject)
	if err != nil {
		return err
	}
	var bad ValidationError
	normal := s.checkPassword(&bad, "new_password", password, u.Username, u.Canonical, localPart(u.Email), u.Email)
	if err := bad.err(); err != nil {
		return err
	}
	if err := s.reauth(ctx, u, current, src); err != nil {
		return err
	}
	hash, err := s.hasher.hash(ctx, sharersOf(src.IP, u.ID), normal)
	if err != nil {
		return fmt.Errorf("auth: change password of %s: %w", u.ID, err)
	}
	others := SessionFilter{User: u.ID, Except: p.Session}
	if _, err := s.update(ctx, u, others, func(v *User) error {
		if v.PasswordHash != u.PasswordHash && v.PasswordHash != hash {
			return ErrReauth // somebody else changed it: the current password is another one
		}
		v.PasswordHash = hash
		return nil
	}); err != nil {
		return err
	}
	s.event(ctx, slog.LevelInfo, "auth.password_changed", u.ID, src)
	return nil
}

// ChangeEmail sets or, if empty, removes the address. Errors: as ChangePassword, on the field
// email.
func (s *Service) ChangeEmail(
	ctx context.Context, p Principal, email, currentPassword string, src Source,
) (User, error) {
	var bad ValidationError
	checkEmail(&bad, email)
	if err := bad.err(); err != nil {
		return User{}, err
	}
	u, err := s.User(ctx, p.Subject)
	if err != nil {
		return User{}, err
	}
	if err := s.reauth(ctx, u, currentPassword, src); err != nil {
		return User{}, err
	}
	changed := false
	u, err = s.update(ctx, u, SessionFilter{}, func(v *User) error {
		changed = v.Email != email
		v.Email = email
		return nil
	})
	if err != nil {
		return User{}, err
	}
	if changed {
		s.event(ctx, slog.LevelInfo, "auth.email_changed", u.ID, src)
	}
	return u, nil
}

// DeleteAccount removes the user and its sessions; the name stays taken. What shall become of the
// user's ratings, a rating.ErasureMode, is recorded together with that, so that it comes true
// whatever happens; rating.Service.Erase makes it come true at once. Empty: they stay. Contents
// stay in any case. Errors: ErrReauth, *ThrottledError, ErrBusy, ErrNotFound.
func (s *Service) DeleteAccount(ctx context.Context, p Principal, currentPassword, ratings string, src Source) error {
	u, err := s.User(ctx, p.Subject)
	if err != nil {
		return err
	}
	if err := s.reauth(ctx, u, currentPassword, src); err != nil {
		return err
	}
	err = s.store.DeleteUser(ctx, Deletion{User: u.ID, Ratings: ratings, At: s.now()})
	s.invalidate(ctx, SessionFilter{User: u.ID})
	if err != nil {
		return fmt.Errorf("auth: delete account %s: %w", u.ID, err)
	}
	s.event(ctx, slog.LevelInfo, "auth.account_deleted", u.ID, src, slog.String("ratings", ratings))
	return nil
}

// SetStaff makes the user with this name staff, or no longer, and ends all its sessions.
// ErrNotFound: there is no such user.
func (s *Service) SetStaff(ctx context.Context, username string, staff bool) error {
	return s.setFlag(ctx, username, "auth.role_changed", slog.Bool("staff", staff), func(u *User) bool {
		changed := u.Staff != staff
		u.Staff = staff
		return changed
	})
}

// SetDisabled bars the user with this name from logging in, or no longer, and ends all its
// sessions. ErrNotFound: there is no such user.
func (s *Service) SetDisabled(ctx context.Context, username string, disabled bool) error {
	return s.setFlag(ctx, username, "auth.disabled_changed", slog.Bool("disabled", disabled), func(u *User) bool {
		changed := u.Disabled != disabled
		u.Disabled = disabled
		return changed
	})
}

// SetPassword gives the user with this name a new password without asking for the current one, and
// ends all its sessions. It is for operators. Errors: *ValidationError on password, ErrBusy,
// ErrNotFound.
func (s *Service) SetPassword(ctx context.Context, username, password string) error {
	u, err := s.userByName(ctx, username)
	if err != nil {
		return err
	}
	var bad ValidationError
	normal := s.checkPassword(&bad, "password", password, u.Username, u.Canonical, localPart(u.Email), u.Email)
	if err := bad.err(); err != nil {
		return err
	}
	hash, err := s.hasher.hash(ctx, nil, normal)
	if err != nil {
		return fmt.Errorf("auth: set password of %s: %w", u.ID, err)
	}
	set := func(v *User) error { v.PasswordHash = hash; return nil }
	if _, err := s.update(ctx, u, SessionFilter{User: u.ID}, set); err != nil {
		return err
	}
	s.event(ctx, slog.LevelInfo, "auth.password_set", u.ID, Source{})
	return nil
}

// userByName returns the user with a name, in any spelling of it.
func (s *Service) userByName(ctx context.Context, username string) (User, error) {
	u, err := s.findName(ctx, username)
	if err != nil {
		return User{}, fmt.Errorf("auth: user %q: %w", username, err)
	}
	return u, nil
}

func (s *Service) setFlag(ctx context.Context, username, event string, attr slog.Attr, set func(*User) bool) error {
	u, err := s.userByName(ctx, username)
	if err != nil {
		return err
	}
	changed := false
	u, err = s.update(ctx, u, SessionFilter{User: u.ID}, func(v *User) error { changed = set(v); return nil })
	if err != nil {
		return err
	}
	if changed {
		s.event(ctx, slog.LevelInfo, event, u.ID, Source{}, attr)
	}
	return nil
}

// update changes a user by compare-and-set and ends the sessions that end matches, none if it names
// no user. It reads the user anew after each conflict.
func (s *Service) update(ctx context.Context, u User, end SessionFilter, change func(*User) error) (User, error) {
	for range casAttempts {
		next := u
		if err := change(&next); err != nil {
			return User{}, err
		}
		if next == u {
			return u, s.endMatching(ctx, end)
		}
		next.Version++
		next.UpdatedAt = latest(s.now(), u.UpdatedAt)
		err := s.store.UpdateUser(ctx, next, end)
		if err == nil {
			// Again: the update may not have seen the session of a login that checked the old
			// password meanwhile.
			return next, s.endMatching(ctx, end)
		}
		if !errors.Is(err, ErrConflict) {
			if end.User != "" {
				s.invalidate(ctx, end) // the store may have done it
			}
			return User{}, fmt.Errorf("auth: update user %s: %w", u.ID, err)
		}
		if u, err = s.User(ctx, u.ID); err != nil {
			return User{}, err
		}
	}
	return User{}, fmt.Errorf("auth: update user %s: %w: changed %d times meanwhile", u.ID, ErrUnavailable, casAttempts)
}

// endMatching ends the sessions that end matches; none if it names no user.
func (s *Service) endMatching(ctx context.Context, end SessionFilter) error {
	if end.User == "" {
		return nil
	}
	if err := s.end(ctx, end); err != nil {
		return fmt.Errorf("auth: end sessions of %s: %w", end.User, err)
	}
	return nil
}

// reauth checks the current password of a user who is logged in.
func (s *Service) reauth(ctx context.Context, u User, password string, src Source) error {
	if password == "" {
		return ErrReauth
	}
	reserved, err := s.throttle.reauth(ctx, u, src.IP)
	if err != nil {
		s.throttled(ctx, "reauth", u.ID, src, err)
		return err
	}
	right, err := s.verify(ctx, sharersOf(src.IP, u.ID), u, true, password)
	if err != nil {
		reserved.fail(ctx, err)
		return fmt.Errorf("auth: check the password of %s: %w", u.ID, err)
	}
	if !right {
		s.event(ctx, slog.LevelInfo, "auth.reauth_failed", u.ID, src)
		return ErrReauth
	}
	reserved.succeed(ctx)
	return nil
}
