package auth

import (
	"context"
	"sync/atomic"
	"time"
)

// CountHashes counts how often a password is hashed, and the most that were hashed at once.
func (s *Service) CountHashes() (total, most *atomic.Int64) {
	total, most = new(atomic.Int64), new(atomic.Int64)
	var running atomic.Int64
	s.OnHash(func(next func()) {
		total.Add(1)
		n := running.Add(1)
		defer running.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		next()
	})
	return total, most
}

// OnHash has around called around every hash.
func (s *Service) OnHash(around func(next func())) {
	derive := s.hasher.derive
	s.hasher.derive = func(p phc, password string) (key []byte) {
		around(func() { key = derive(p, password) })
		return key
	}
}

// Hashing reports how many callers wait to hash.
func (s *Service) Hashing() (waiting int64) {
	return s.hasher.limiter.Held() - int64(len(s.hasher.slots))
}

// Counts is how many counts the throttles hold, of the kind that there are most of.
func (s *Service) Counts() (most int) {
	t := s.throttle
	return max(t.gates.Len(), t.accounts.Len(), t.pairs.Len(), t.trust.Len())
}

// TryLogin counts an attempt to log in that is not looked at.
func (s *Service) TryLogin(ctx context.Context, name string, src Source) error {
	_, err := s.throttle.login(ctx, accountKey(name), src.IP)
	return err
}

// Known is how many tokens are remembered as good and as bad.
func (s *Service) Known() (good, bad int) {
	s.tokens.mu.Lock()
	defer s.tokens.mu.Unlock()
	return s.tokens.good.Len(), s.tokens.bad.Len()
}

// SeeToken puts a token into the cache as the store's answer would.
func (s *Service) SeeToken(h Hash, p Principal, ok bool) {
	now := s.now()
	s.tokens.remember(h, tokenCheck{principal: p, at: now, expires: now.Add(s.cfg.AccessTTL)}, ok,
		s.tokens.lookup(h, now).invalidations)
}

// The bounds that tests hold the code to.
const (
	MaxCounts        = maxCounts
	MaxKnown         = maxKnown
	MaxUnknown       = maxUnknown
	KnownFor         = knownFor
	UnknownFor       = unknownFor
	CompareEvery     = compareEvery
	EndsWithin       = endsWithin
	BlockPrefix      = blockPrefix
	MaxPasswordBytes = maxPasswordBytes
	MaxSiblings      = maxSiblings
	MaxDelay         = maxDelay
	TrustFor         = trustFor
	NewPlaces        = newPlaces
	ShareOfQueue     = shareOfQueue
)

// Rule is a throttle: how many attempts pass within a window, and the pause before the first
// further one, if any.
type Rule struct {
	First         int64
	Window, Pause time.Duration
}

// Rules returns the throttles: of a prefix, an account, both together, registrations, and current
// passwords.
func Rules() (prefix, account, pair, register, reauth Rule) {
	of := func(r rule) Rule {
		out := Rule{First: r.first, Window: r.window}
		if r.delay != nil {
			out.Pause = r.delay(0)
		}
		return out
	}
	return of(perPrefix), of(perAccount), of(perPair), of(perRegister), of(reauthPair)
}

// LoadRules returns what bounds the hashes that are no failures: right passwords of an account and
// from a prefix, and attempts from a prefix that there was no room for.
func LoadRules() (account, prefix, busy Rule) {
	of := func(r rule) Rule { return Rule{First: r.first, Window: r.window} }
	return of(verifiedPerAccount), of(verifiedPerPlace), of(busyPerPlace)
}

// WithDefaults returns what the zero Config stands for.
func WithDefaults() (Config, error) { return Config{}.withDefaults() }

// CommonLists returns the lists of common passwords.
func CommonLists() (short, long string) { return commonShort, commonLong }

// ParsePHC parses a stored hash and writes it again.
func ParsePHC(s string) (HashParams, string, error) {
	h, err := parsePHC(s)
	return h.params, h.String(), err
}

// ParseUsername returns both forms of a username, or what is wrong with it.
func ParseUsername(name string) (shown, canonical string, err error) {
	var bad ValidationError
	shown, canonical = parseUsername(&bad, name)
	return shown, canonical, bad.err()
}

// NewToken, ParseToken and ParseBearer make and read tokens.
func NewToken(kind Kind) (string, Hash)           { return newToken(kind) }
func ParseToken(s string, kind Kind) (Hash, bool) { return parseToken(s, kind) }
func ParseBearer(value string) (Hash, bool)       { return parseBearer(value) }

// Sibling returns a refresh token of the same family that was never handed out.
func Sibling(refresh string) string {
	_, f, _ := parseRefresh(refresh)
	s, _ := newRefresh(f)
	return s
}
