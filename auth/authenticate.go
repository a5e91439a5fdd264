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
	// checkPause is how long after a failed check the store is left alone where an older check will
	// do.
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
	l := s.look(ctx, hash)
	stale := l.good && now.Sub(l.known.checked) <= s.cfg.StaleTokens
	switch {
	case l.bad:
		return Principal{}, ErrInvalidCredentials
	case l.good && l.fresh, stale && l.down:
		return l.known.principal, nil
	}
	p, err := s.check(ctx, hash, l.changes)
	if err == nil || errors.Is(err, ErrInvalidCredentials) {
		return p, err
	}
	// The session may have ended while the store did not answer.
	if stale && ctx.Err() == nil && s.look(ctx, hash).good {
		return l.known.principal, nil
	}
	return Principal{}, fmt.Errorf("auth: check a token: %w: %w", ErrUnavailable, err)
}

// look returns what is known of a token. If the mark of its user's ended sessions has changed since
// the token was checked, nothing is: only the store can say which sessions are left, and until it
// does, the token is not accepted.
func (s *Service) look(ctx context.Context, hash Hash) lookup {
	l := s.tokens.look(hash, s.now())
	if l.unmarked != "" {
		s.mark(ctx, l.unmarked)
	}
	if !l.good || !l.ask {
		return l
	}
	user := l.known.principal.Subject
	switch mark, ok := s.endMark(ctx, user); {
	case !ok:
		s.tokens.unnoticed(hash)
	case mark != l.known.mark:
		s.tokens.forget(SessionFilter{User: user})
		return s.tokens.look(hash, s.now())
	}
	return l
}

// forget makes the end of sessions known: in this process at once, in others at their next look at
// the shared counter or, without one, at their next check.
func (s *Service) forget(ctx context.Context, f SessionFilter) {
	s.tokens.forget(f)
	if s.cfg.Counter != nil {
		s.mark(ctx, f.User)
	}
}

// mark tells other processes that sessions of a user ended. What the shared counter does not take
// now, it is told with one of the next requests.
func (s *Service) mark(ctx context.Context, user string) {
	n := 1 + rand.N(int64(1)<<40) // no sum comes again, also when the counter forgot the one before
	_, ok := s.throttle.counts.AddShared(ctx, endKey(user), n, s.noticeFor())
	s.tokens.marked(user, ok)
}

// endMark returns a number that another one replaces whenever sessions of a user end in any
// process: 0 if none has lately. It reports false if the shared counter does not answer.
func (s *Service) endMark(ctx context.Context, user string) (int64, bool) {
	return s.throttle.counts.AddShared(ctx, endKey(user), 0, s.noticeFor())
}

func endKey(user string) counter.Key { return counter.KeyOf("ended", user) }

// noticeFor outlives every token that is accepted on the word of a check from before the mark.
func (s *Service) noticeFor() time.Duration { return max(noticeFor, s.cfg.StaleTokens) }

// check asks the store about a token, once for all who ask at the same time. It waits no longer
// than checkTimeout even for a store that ignores its context.
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

// load asks the store. A panic of the store becomes an error, since on this goroutine it would end
// the process.
func (s *Service) load(ctx context.Context, hash Hash, changes int64) (p Principal, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("auth: the store panicked: %v", v)
			s.log.LogAttrs(ctx, slog.LevelError, "auth.store_panic", slog.Any("panic", v))
		}
	}()
	now := s.now()
	g, mark, err := s.grant(ctx, hash)
	if err != nil && !errors.Is(err, ErrNotFound) {
		s.tokens.failed(s.now().Add(checkPause))
		return Principal{}, err
	}
	k := known{checked: now, mark: mark}
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

// grant returns what the store knows of a token, and the mark of ended sessions from before the
// store was asked: sessions end in the store first, so that the end of one that the store still had
// changes this mark. Whose mark that is only the store can say.
func (s *Service) grant(ctx context.Context, hash Hash) (Grant, int64, error) {
	g, err := s.store.GrantByToken(ctx, hash)
	if err != nil {
		return g, 0, err
	}
	mark, _ := s.endMark(ctx, g.User.ID)
	if mark != 0 {
		g, err = s.store.GrantByToken(ctx, hash)
	}
	return g, mark, err
}

func earliest(first time.Time, others ...time.Time) time.Time {
	for _, t := range others {
		if t.Before(first) {
			first = t
		}
	}
	return first
}
