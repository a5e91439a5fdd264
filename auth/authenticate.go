package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/khodnevis/khodnevis/internal/counter"
)

const (
	// checkTimeout is how long a request waits for the store to check a token.
	checkTimeout = 1500 * time.Millisecond
	// checkPause is how long after a failed check the store is not asked where an older check does.
	checkPause = time.Second
)

// Authenticate implements Authenticator: the one place for a token is a single header
// "Authorization: Bearer". Another scheme, or a second header, is ErrInvalidCredentials rather than
// no credentials. A token that the store vouched for in the last 30 s is not looked up again; one
// that the store cannot check now is ErrUnavailable, unless Config.StaleTokens lets it pass.
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
	l := s.lookup(ctx, hash)
	stale := l.good && now.Sub(l.check.at) <= s.cfg.StaleTokens
	switch {
	case l.bad:
		return Principal{}, ErrInvalidCredentials
	case l.good && l.fresh, stale && l.storeDown:
		return l.check.principal, nil
	}
	p, err := s.check(ctx, hash, l.invalidations)
	if err == nil || errors.Is(err, ErrInvalidCredentials) {
		return p, err
	}
	// stale-if-error; but the session may have ended while the store did not answer.
	if stale && ctx.Err() == nil && s.lookup(ctx, hash).good {
		return l.check.principal, nil
	}
	return Principal{}, fmt.Errorf("auth: check a token: %w: %w", ErrUnavailable, err)
}

// lookup returns what the cache knows of a token. If the revocation number of its user has changed
// since the token was checked, it knows nothing: only the store knows which sessions are left, and
// until it answers, the token is not accepted.
func (s *Service) lookup(ctx context.Context, hash Hash) lookup {
	l := s.tokens.lookup(hash, s.now())
	if l.due != "" {
		s.announce(ctx, l.due)
	}
	if !l.good || !l.compare {
		return l
	}
	user := l.check.principal.Subject
	switch revocation, ok := s.revocation(ctx, user); {
	case !ok:
		s.tokens.compareAgain(hash)
	case revocation != l.check.revocation:
		s.tokens.invalidate(SessionFilter{User: user})
		return s.tokens.lookup(hash, s.now())
	}
	return l
}

// invalidate drops the cached checks of sessions that ended: in this process at once, in others
// when they next compare the revocation number or, without a shared counter, at their next check.
func (s *Service) invalidate(ctx context.Context, f SessionFilter) {
	s.tokens.invalidate(f)
	if s.cfg.Counter != nil {
		s.announce(ctx, f.User)
	}
}

// announce changes the revocation number of a user whose sessions ended. If the shared counter does
// not answer, the invalidation stays due, and one of the next requests announces it.
func (s *Service) announce(ctx context.Context, user string) {
	n := 1 + rand.N(int64(1)<<40) // no sum comes again, also when the counter forgot the one before
	_, ok := s.throttle.gates.AddShared(ctx, revocationKey(user), n, s.revocationTTL())
	s.tokens.announced(user, ok)
}

// revocation returns the revocation number of a user, which changes whenever sessions of the user
// end in any process: 0 if none ended lately. It returns false if the shared counter does not
// answer.
func (s *Service) revocation(ctx context.Context, user string) (int64, bool) {
	return s.throttle.gates.AddShared(ctx, revocationKey(user), 0, s.revocationTTL())
}

func revocationKey(user string) counter.Key { return counter.KeyOf("ended", user) }

// revocationTTL outlives every token that is accepted because of a check from before the change.
func (s *Service) revocationTTL() time.Duration { return max(revocationFor, s.cfg.StaleTokens) }

// check asks the store about a token, in a single flight for all requests that ask at the same
// time. It waits no longer than checkTimeout even for a store that ignores its context.
func (s *Service) check(ctx context.Context, hash Hash, invalidations int64) (Principal, error) {
	answer := s.checks.DoChan(string(hash[:])+strconv.FormatInt(invalidations, 10), func() (any, error) {
		// The first caller may leave while others wait.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
		defer cancel()
		return s.checkStore(ctx, hash, invalidations)
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

// checkStore asks the store. A panic of the store becomes an error, since on this goroutine it
// would end the process.
func (s *Service) checkStore(ctx context.Context, hash Hash, invalidations int64) (p Principal, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("auth: the store panicked: %v", v)
			s.log.LogAttrs(ctx, slog.LevelError, "auth.store_panic", slog.Any("panic", v))
		}
	}()
	now := s.now()
	g, revocation, err := s.grant(ctx, hash)
	if err != nil && !errors.Is(err, ErrNotFound) {
		s.tokens.failed(s.now().Add(checkPause))
		return Principal{}, err
	}
	c := tokenCheck{at: now, revocation: revocation}
	ok := err == nil && g.Token.Kind == Access && !g.User.Disabled
	if ok {
		c.principal = Principal{Subject: g.User.ID, Staff: g.User.Staff, Session: g.Session.ID}
		c.expires = earliest(g.Token.ExpiresAt, g.Session.IdleAt, g.Session.ExpiresAt)
		ok = now.Before(c.expires)
	}
	s.tokens.remember(hash, c, ok, invalidations)
	if !ok {
		return Principal{}, ErrInvalidCredentials
	}
	return c.principal, nil
}

// grant returns what the store knows of a token, and the revocation number from before the store
// was asked: sessions end in the store first, so the end of a session that the store still had
// changes this number. Only the store knows whose number it is, so a user with one is asked for
// twice.
func (s *Service) grant(ctx context.Context, hash Hash) (Grant, int64, error) {
	g, err := s.store.GrantByToken(ctx, hash)
	if err != nil {
		return g, 0, err
	}
	revocation, _ := s.revocation(ctx, g.User.ID)
	if revocation != 0 {
		g, err = s.store.GrantByToken(ctx, hash)
	}
	return g, revocation, err
}

func earliest(first time.Time, others ...time.Time) time.Time {
	for _, t := range others {
		if t.Before(first) {
			first = t
		}
	}
	return first
}

// latest keeps times in order even when clocks are not.
func latest(t, other time.Time) time.Time {
	if t.Before(other) {
		return other
	}
	return t
}
