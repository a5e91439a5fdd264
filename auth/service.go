package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sync/singleflight"

	"github.com/khodnevis/khodnevis/internal/requestid"
)

var (
	// ErrInvalidLogin says that there is no such user, or that the password is wrong, or that the
	// account is disabled. Which of them is not told, and all take as long.
	ErrInvalidLogin = errors.New("auth: invalid login")
	// ErrInvalidToken says that a refresh token is not, or no longer, good.
	ErrInvalidToken = errors.New("auth: invalid refresh token")
	// ErrReauth says that the current password is needed and was missing or wrong.
	ErrReauth = errors.New("auth: current password required")
)

// Codes of fields that are wrong, beyond those that all services share (required, blank,
// min_length, max_length, unique, …).
const (
	CodeReserved        = "reserved"         // a username that is kept for the service
	CodePasswordBlocked = "password_blocked" // a password that is common, or too close to the account or the service
)

// MaxLabel is the greatest length of Source.Label, in code points.
const MaxLabel = 200

// casAttempts bounds how often a change that lost against another one is tried again.
const casAttempts = 16

// Service keeps accounts and sessions. It implements Authenticator.
type Service struct {
	store    Store
	cfg      Config
	log      *slog.Logger
	hasher   *hasher
	throttle *throttle
	tokens   *tokenCache
	checks   singleflight.Group
	words    map[string]bool // passwords that are refused beside the common ones, folded
}

var _ Authenticator = (*Service)(nil)

// Source is where a request came from.
type Source struct {
	// IP is the client's address. Throttles count by its /24, or by its /64 and its /48, which may
	// have four times as much, and by itself once somebody logged in there; all sources without an
	// address count as one.
	IP netip.Addr
	// Label is what the client calls itself, usually its User-Agent. Control characters are dropped
	// and it is cut to MaxLabel code points.
	Label string
}

// New returns a Service on a store. It reports every problem of cfg.
func New(store Store, cfg Config) (*Service, error) {
	cfg, err := cfg.withDefaults()
	if store == nil {
		err = errors.Join(errors.New("auth: no store"), err)
	}
	if err != nil {
		return nil, err
	}
	s := &Service{
		store:    store,
		cfg:      cfg,
		log:      cfg.Logger,
		hasher:   newHasher(cfg),
		throttle: newThrottle(cfg),
		tokens:   newTokenCache(),
		words:    map[string]bool{},
	}
	for _, w := range append([]string{"khodnevis"}, cfg.ServiceWords...) {
		s.words[foldPassword(w)] = true
	}
	if cfg.LimitsOff {
		s.log.Warn("auth.limits_off")
	}
	return s, nil
}

// User returns the user with an identifier. ErrNotFound: there is none.
func (s *Service) User(ctx context.Context, id string) (User, error) {
	users, err := s.store.UsersByID(ctx, []string{id})
	if err != nil {
		return User{}, fmt.Errorf("auth: user %s: %w", id, err)
	}
	if len(users) == 0 {
		return User{}, fmt.Errorf("auth: user %s: %w", id, ErrNotFound)
	}
	return users[0], nil
}

// Users returns at most limit users with identifiers after the given one, ascending. Limit is at
// least 1.
func (s *Service) Users(ctx context.Context, after string, limit int) ([]User, error) {
	users, err := s.store.ListUsers(ctx, after, max(1, limit))
	if err != nil {
		return nil, fmt.Errorf("auth: users: %w", err)
	}
	return users, nil
}

// PasswordMin is the least length of a password, in code points after normalization.
func (s *Service) PasswordMin() int { return s.cfg.PasswordMin }

// now is the time as it is stored: UTC, cut to microseconds.
func (s *Service) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Microsecond) }

// event logs what happened to an account, and in which request. The name is stable; attributes
// never hold passwords, tokens or names that were typed in, since people type passwords there.
func (s *Service) event(ctx context.Context, level slog.Level, name, user string, src Source, attrs ...slog.Attr) {
	if user != "" {
		attrs = append(attrs, slog.String("user", user))
	}
	if src.IP.IsValid() {
		attrs = append(attrs, slog.String("ip", src.IP.Unmap().String()))
	}
	if id := requestid.From(ctx); id != "" {
		attrs = append(attrs, slog.String("request_id", id))
	}
	s.log.LogAttrs(ctx, level, name, attrs...)
}

// cleanLabel makes a label fit for storing and showing.
func cleanLabel(label string) string {
	label = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return -1
		}
		return r
	}, label)
	n := 0
	for i := range label {
		if n == MaxLabel {
			return label[:i]
		}
		n++
	}
	return label
}
