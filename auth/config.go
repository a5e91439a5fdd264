package auth

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/khodnevis/khodnevis/cache"
)

// Config adjusts a Service. Its zero value is usable; fields that are zero take the defaults named
// below.
type Config struct {
	// Now is the clock; default time.Now.
	Now func() time.Time
	// Logger takes the events of accounts and sessions: their names are the messages (auth.login,
	// auth.refresh_reuse, …), and none holds a password or a token. Default: discarded.
	Logger *slog.Logger

	// PasswordMin is the least length of a password in code points, 8 to 128; default 8. Take 15
	// where the password is all that guards an account (NIST SP 800-63B-4, 3.1.1.2).
	PasswordMin int
	// ServiceWords are words that may not be passwords, such as the host's own name, in addition to
	// the list of common ones.
	ServiceWords []string

	// AccessTTL is how long an access token is good; default 1 hour.
	AccessTTL time.Duration
	// RefreshIdle is how long a session lasts without being refreshed; default 14 days, at most
	// SessionTTL.
	RefreshIdle time.Duration
	// SessionTTL is how long a session lasts in any case; default 30 days.
	SessionTTL time.Duration
	// MaxSessions is how many sessions a user may have; a login beyond it ends the oldest. Default 20.
	MaxSessions int
	// Grace is how long after a refresh the token that it spent still works, for clients that lost
	// the answer; default 10 s. Negative: not at all, so a repeated refresh always ends the
	// session.
	Grace time.Duration
	// StaleTokens is how long past its last check a token is still accepted while the store does
	// not answer, never past its expiry; default 10 minutes. Negative: not at all.
	StaleTokens time.Duration

	// Hash is the work that hashing a password takes. Logins raise weaker stored hashes to it.
	Hash HashParams
	// MaxHashes is how many passwords are hashed at once, each in Hash.Memory; default half of
	// GOMAXPROCS, at least 1.
	MaxHashes int
	// HashQueue is how many callers may wait to hash, and HashWait for how long; past either they
	// get ErrBusy. So does who holds an eighth of the places already, at least 2: callers of one
	// IPv4 /24 or IPv6 /48, or with the password of one user who is logged in. Defaults 64 and 1 s.
	HashQueue int
	HashWait  time.Duration

	// Counter shares the throttles among processes, and lets them know within a second whose
	// sessions ended, also those whose store does not answer: they accept none of the user's tokens
	// that were checked before, until the store says which sessions are left. Without it, and while
	// it fails or takes no writes, throttles are counted in this process, and other processes
	// accept tokens of ended sessions for up to 30 s, or for StaleTokens if their store does not
	// answer either.
	Counter cache.Counter
	// LimitsOff lifts the throttles of logins and registrations, and the shares of HashQueue, for
	// load tests. It is logged as a warning.
	LimitsOff bool
}

// HashParams are the parameters of argon2id (RFC 9106). The defaults are OWASP's: 19456 KiB, 2
// passes, 1 lane.
type HashParams struct {
	// Memory is in KiB: at least 8 for each thread, at most 262144. Tests may go down to that;
	// nobody else should.
	Memory uint32
	// Time is the number of passes, 1 to 10.
	Time uint32
	// Threads is the number of lanes, 1 to 4.
	Threads uint8
}

// withDefaults returns c with its zero fields filled, and every problem of it.
func (c Config) withDefaults() (Config, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	fill(&c.PasswordMin, minPassword)
	fill(&c.AccessTTL, time.Hour)
	fill(&c.SessionTTL, 30*24*time.Hour)
	fill(&c.RefreshIdle, min(14*24*time.Hour, c.SessionTTL))
	fill(&c.MaxSessions, 20)
	fill(&c.Grace, 10*time.Second)
	fill(&c.StaleTokens, 10*time.Minute)
	fill(&c.Hash.Memory, 19456)
	fill(&c.Hash.Time, 2)
	fill(&c.Hash.Threads, 1)
	fill(&c.MaxHashes, max(1, runtime.GOMAXPROCS(0)/2))
	fill(&c.HashQueue, 64)
	fill(&c.HashWait, time.Second)
	return c, c.validate()
}

// Validate reports every field that cannot be used.
func (c Config) Validate() error {
	_, err := c.withDefaults()
	return err
}

func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (c Config) validate() error {
	var errs []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf("auth: "+format, args...))
		}
	}
	bad(c.PasswordMin < minPassword || c.PasswordMin > MaxPassword,
		"Config.PasswordMin is %d, not within %d to %d", c.PasswordMin, minPassword, MaxPassword)
	bad(c.AccessTTL < time.Second, "Config.AccessTTL is %v, not at least a second", c.AccessTTL)
	bad(c.SessionTTL < time.Second, "Config.SessionTTL is %v, not at least a second", c.SessionTTL)
	bad(c.RefreshIdle < time.Second || c.RefreshIdle > c.SessionTTL,
		"Config.RefreshIdle is %v, not within a second to SessionTTL, %v", c.RefreshIdle, c.SessionTTL)
	bad(c.MaxSessions < 1, "Config.MaxSessions is %d, not at least 1", c.MaxSessions)
	bad(c.MaxHashes < 1, "Config.MaxHashes is %d, not at least 1", c.MaxHashes)
	bad(c.HashQueue < 1, "Config.HashQueue is %d, not at least 1", c.HashQueue)
	bad(c.HashWait < 0, "Config.HashWait is %v, negative", c.HashWait)
	if err := c.Hash.validate(); err != nil {
		errs = append(errs, fmt.Errorf("auth: Config.Hash: %w", err))
	}
	return errors.Join(errs...)
}
