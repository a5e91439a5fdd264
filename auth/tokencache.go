package auth

import (
	"sync"
	"time"

	"github.com/khodnevis/khodnevis/internal/counter"
	"github.com/khodnevis/khodnevis/internal/lru"
	"github.com/khodnevis/khodnevis/internal/planted"
)

// Bounds of the token cache.
const (
	maxKnown   = 50_000           // good tokens
	maxUnknown = 10_000           // tokens formed well that the store does not know
	knownFor   = 30 * time.Second // how long another process may go on accepting a token of a session that ended
	unknownFor = 5 * time.Second
	// endsWithin is how soon other processes refuse the tokens of a session that ended, while the
	// shared counter answers. They compare the revocation number every compareEvery; the rest is for
	// the call itself.
	endsWithin   = time.Second
	compareEvery = endsWithin - 2*counter.SharedTimeout
	// revocationFor is how long the shared counter keeps a revocation number at least.
	revocationFor = time.Hour
	// maxDue is how many users are kept whose invalidations are due.
	maxDue = 10_000
)

// tokenCheck is what the store said of an access token.
type tokenCheck struct {
	principal  Principal
	at         time.Time // when the store was asked
	revocation int64     // the revocation number before the store was asked, 0 if it could not be read
	compared   time.Time // when the revocation number was last compared
	expires    time.Time // when the token or its session ends, whichever is first
}

// tokenCache remembers checks of access tokens, by their hashes.
type tokenCache struct {
	mu            sync.Mutex
	good          *lru.Map[Hash, *tokenCheck]
	bad           *lru.Map[Hash, time.Time] // when it was checked
	byUser        map[string]map[Hash]struct{}
	invalidations int64     // so far
	storeDown     time.Time // until when the store is not asked about tokens that may be accepted without
	// due are users whose sessions ended, which could not be announced yet; at most maxDue.
	due map[string]struct{}
}

func newTokenCache() *tokenCache {
	c := &tokenCache{byUser: map[string]map[Hash]struct{}{}, due: map[string]struct{}{}}
	c.good = lru.New(maxKnown, c.unlink)
	c.bad = lru.New[Hash, time.Time](maxUnknown, nil)
	return c
}

func (c *tokenCache) unlink(h Hash, check *tokenCheck) {
	hashes := c.byUser[check.principal.Subject]
	delete(hashes, h)
	if len(hashes) == 0 {
		delete(c.byUser, check.principal.Subject)
	}
}

// lookup is what the cache knows of a token: at most one of good and bad is true.
type lookup struct {
	check     tokenCheck
	good, bad bool
	fresh     bool // good needs no check at present
	compare   bool // this caller must compare the revocation number
	// invalidations is how many there were so far. An answer of the store may be older than an
	// invalidation that came after the question, so such a check is neither shared with later callers
	// nor remembered.
	invalidations int64
	storeDown     bool   // the store did not answer a moment ago
	due           string // a user whose invalidation is due; empty: no user
}

func (c *tokenCache) lookup(h Hash, now time.Time) lookup {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := lookup{invalidations: c.invalidations, storeDown: now.Before(c.storeDown)}
	for l.due = range c.due {
		break
	}
	if check, ok := c.good.Get(h); ok {
		l.check = *check
		l.good = now.Before(check.expires)
		l.bad = !l.good // for ever, so the store need not be asked
		l.fresh = now.Sub(check.at) < knownFor
		if l.compare = now.Sub(check.compared) >= compareEvery; l.compare {
			check.compared = now
		}
		return l
	}
	if at, ok := c.bad.Get(h); ok {
		l.bad = now.Sub(at) < unknownFor
	}
	return l
}

// remember keeps the outcome of a check that began after so many invalidations.
func (c *tokenCache) remember(h Hash, check tokenCheck, ok bool, invalidations int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.storeDown = time.Time{}
	c.good.Remove(h)
	if !ok {
		c.bad.Put(h, check.at)
		return
	}
	if invalidations != c.invalidations {
		return
	}
	c.bad.Remove(h)
	check.compared = check.at
	c.good.Put(h, &check)
	hashes := c.byUser[check.principal.Subject]
	if hashes == nil {
		hashes = map[Hash]struct{}{}
		c.byUser[check.principal.Subject] = hashes
	}
	hashes[h] = struct{}{}
}

// compareAgain lets the next request with this token compare the revocation number, which could not
// be read.
func (c *tokenCache) compareAgain(h Hash) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if check, ok := c.good.Get(h); ok {
		check.compared = time.Time{}
	}
}

// announced records whether the shared counter knows that sessions of a user ended.
func (c *tokenCache) announced(user string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ok {
		delete(c.due, user)
	} else if len(c.due) < maxDue {
		c.due[user] = struct{}{}
	}
}

// failed records that the store did not answer.
func (c *tokenCache) failed(until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.storeDown = until
}

// invalidate drops the checks of the tokens of the sessions meant, and those in flight.
func (c *tokenCache) invalidate(f SessionFilter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.invalidations++
	for h := range c.byUser[f.User] {
		check, _ := c.good.Get(h)
		session := check.principal.Session
		if f.Only != "" && session != f.Only || f.Except != "" && session == f.Except {
			continue
		}
		if !planted.ForgetInvalidation {
			c.good.Remove(h)
		}
	}
}
