package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/khodnevis/khodnevis/internal/counter"
)

const (
	// checkTimeout is how long a request waits for the store to check a token.
	checkTimeout = 1500 * time.Millisecond
	// checkPause is how long after a failed check the store is left alone where an older check will do.
	checkPause = time.Second
)

// Authenticate implements Authenticator: the one place for a token is a single header "Authorization: Bearer". Another scheme,
// or a second header, is ErrInvalidCredentials rather than no credentials. A token that the store vouched for in the last 30 s
// is not looked up again; one that the store cannot check now is ErrUnavailable, unless Config.StaleTokens lets it pass.
func (s *Service) Authenticate(ctx context.Context, r *http.Request) (Principal, error) {
	values := r.Header.Values("Authorization")
	if len(values) == 0 {
		return Principal{}, ErrNoCredentials
	}
	var hash Hash
	var ok bool
	if len(values) == 1 {
		hash, ok = parseBearer(values[0])
	}
	if !ok {
		s.event(ctx, slog.LevelInfo, "auth.denied", "", Source{}, slog.String("reason", "malformed"))
		return Principal{}, ErrInvalidCredentials
	}
	p, err := s.principal(ctx, hash)
	if errors.Is(err, ErrInvalidCredentials) {
		s.event(ctx, slog.LevelInfo, "auth.denied", "", Source{}, slog.String("reason", "token"))
	}
	return p, err
}

// parseBearer returns the hash of the access token in the value of an Authorization header.
func parseBearer(value string) (Hash, bool) {
	scheme, token, ok := strings.Cut(value, " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return Hash{}, false
	}
	return parseToken(strings.TrimLeft(token, " "), Access)
}

func (s *Service) principal(ctx context.Context, hash Hash) (Principal, error) {
	now := s.now()
	l := s.tokens.look(hash, now)
	stale := l.good && now.Sub(l.known.checked) <= s.cfg.StaleTokens
	switch {
	case l.bad:
		return Principal{}, ErrInvalidCredentials
	case l.good && l.fresh && !(l.ask && s.endedElsewhere(ctx, l.known.principal.Subject)), stale && l.down:
		return l.known.principal, nil
	}
	p, err := s.check(ctx, hash, l.changes)
	if err == nil || errors.Is(err, ErrInvalidCredentials) {
		return p, err
	}
	if stale && ctx.Err() == nil {
		return l.known.principal, nil
	}
	return Principal{}, fmt.Errorf("auth: check a token: %w: %w", ErrUnavailable, err)
}

// forget makes the end of sessions known: in this process at once, in others at their next look at the shared counter or, without
// one, at their next check.
func (s *Service) forget(ctx context.Context, f SessionFilter) {
	s.tokens.forget(f)
	s.throttle.counts.AddShared(ctx, counter.KeyOf("ended", f.User), 1, noticeFor)
}

// endedElsewhere reports whether sessions of a user were ended lately, so that it takes the store to tell which are left.
func (s *Service) endedElsewhere(ctx context.Context, user string) bool {
	n, ok := s.throttle.counts.AddShared(ctx, counter.KeyOf("ended", user), 0, noticeFor)
	return ok && n > 0
}

// check asks the store about a token, once for all who ask at the same time. It waits no longer than checkTimeout even for a
// store that ignores its context.
func (s *Service) check(ctx context.Context, hash Hash, changes int64) (Principal, error) {
	answer := s.checks.DoChan(string(hash[:])+strconv.FormatInt(changes, 10), func() (any, error) {
		// Whoever asked first may go away while others wait.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
		defer cancel()
		return s.load(ctx, hash, changes)
	})
	timer := time.NewTimer(checkTimeout)
	defer timer.Stop()
	select {
	case res := <-answer:
		if res.Err != nil {
			return Principal{}, res.Err
		}
		return res.Val.(Principal), nil
	case <-timer.C:
		s.tokens.failed(s.now().Add(checkPause))
		return Principal{}, context.DeadlineExceeded
	case <-ctx.Done():
		return Principal{}, ctx.Err()
	}
}

// load asks the store. A panic of the store becomes an error, since on this goroutine it would end the process.
func (s *Service) load(ctx context.Context, hash Hash, changes int64) (p Principal, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("auth: the store panicked: %v", v)
			s.log.LogAttrs(ctx, slog.LevelError, "auth.store_panic", slog.Any("panic", v))
		}
	}()
	now := s.now()
	g, err := s.store.GrantByToken(ctx, hash)
	if err != nil && !errors.Is(err, ErrNotFound) {
		s.tokens.failed(s.now().Add(checkPause))
		return Principal{}, err
	}
	k := known{checked: now}
	ok := err == nil && g.Token.Kind == Access && !g.User.Disabled
	if ok {
		k.principal = Principal{Subject: g.User.ID, Staff: g.User.Staff, Session: g.Session.ID}
		k.expires = earliest(g.Token.ExpiresAt, g.Session.IdleAt, g.Session.ExpiresAt)
		ok = now.Before(k.expires)
	}
	s.tokens.remember(hash, k, ok, changes)
	if !ok {
		return Principal{}, ErrInvalidCredentials
	}
	return k.principal, nil
}

func earliest(first time.Time, others ...time.Time) time.Time {
	for _, t := range others {
		if t.Before(first) {
			first = t
		}
	}
	return first
}
