package auth

import (
	"sync"
	"time"

	"github.com/khodnevis/khodnevis/internal/counter"
	"github.com/khodnevis/khodnevis/internal/lru"
	"github.com/khodnevis/khodnevis/internal/planted"
)

// Bounds of what is remembered of tokens.
const (
	maxKnown   = 50_000           // good tokens
	maxUnknown = 10_000           // tokens formed well that the store does not know
	knownFor   = 30 * time.Second // how long another process may go on accepting a token of a session that ended
	unknownFor = 5 * time.Second
	// endsWithin is how soon other processes refuse the tokens of a session that ended, while the
	// shared counter answers: noticeEvery is how often they look, and what is left is for the look
	// itself.
	endsWithin  = time.Second
	noticeEvery = endsWithin - 2*counter.SharedTimeout
	// noticeFor is how long the shared counter keeps the mark of an ended session at least. See
	// Service.endMark.
	noticeFor = time.Hour
	// maxUnmarked is how many users are kept whose ended sessions the shared counter could not be
	// told of.
	maxUnmarked = 10_000
)

// known is what the store said of an access token.
type known struct {
	principal Principal
	checked   time.Time
	noticed   time.Time // when the mark of ended sessions was last read
	mark      int64     // the mark of ended sessions before the store was asked, 0 if there was none to be had
	// expires is when the token or its session ends, whichever is first.
	expires time.Time
}

// tokenCache remembers checks of access tokens, by their hashes.
type tokenCache struct {
	mu      sync.Mutex
	good    *lru.Map[Hash, *known]
	bad     *lru.Map[Hash, time.Time] // when it was checked
	byUser  map[string]map[Hash]struct{}
	changes int64
	// down is until when the store is not asked about tokens that may be accepted without.
	down time.Time
	// unmarked are users whose ended sessions the shared counter could not be told of yet, at most
	// maxUnmarked.
	unmarked map[string]struct{}
}

func newTokenCache() *tokenCache {
	c := &tokenCache{byUser: map[string]map[Hash]struct{}{}, unmarked: map[string]struct{}{}}
	c.good = lru.New(maxKnown, c.unlink)
	c.bad = lru.New[Hash, time.Time](maxUnknown, nil)
	return c
}

func (c *tokenCache) unlink(h Hash, k *known) {
	hashes := c.byUser[k.principal.Subject]
	delete(hashes, h)
	if len(hashes) == 0 {
		delete(c.byUser, k.principal.Subject)
	}
}

// lookup is what is known of a token: at most one of good and bad is true.
type lookup struct {
	known     known
	good, bad bool
	// fresh says that good needs no check at present, and ask that this caller is the one to read
	// the mark of ended sessions.
	fresh, ask bool
	// changes counts the ends of sessions so far. What the store says after one may be older than
	// it, so a check that began before an end is neither shared with callers that come after it nor
	// remembered.
	changes int64
	// down says that the store did not answer a moment ago.
	down bool
	// unmarked is a user whose ended sessions the shared counter could not be told of yet; empty if
	// there is none.
	unmarked string
}

func (c *tokenCache) look(h Hash, now time.Time) lookup {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := lookup{changes: c.changes, down: now.Before(c.down)}
	for l.unmarked = range c.unmarked {
		break
	}
	if k, ok := c.good.Get(h); ok {
		l.known = *k
		l.good = now.Before(k.expires)
		l.bad = !l.good // for good, so nothing needs to be asked
		l.fresh = now.Sub(k.checked) < knownFor
		if l.ask = now.Sub(k.noticed) >= noticeEvery; l.ask {
			k.noticed = now
		}
		return l
	}
	if checked, ok := c.bad.Get(h); ok {
		l.bad = now.Sub(checked) < unknownFor
	}
	return l
}

// remember keeps the outcome of a check that began at the given count of changes.
func (c *tokenCache) remember(h Hash, k known, ok bool, changes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = time.Time{}
	c.good.Remove(h)
	if !ok {
		c.bad.Put(h, k.checked)
		return
	}
	if changes != c.changes {
		return
	}
	c.bad.Remove(h)
	k.noticed = k.checked
	c.good.Put(h, &k)
	hashes := c.byUser[k.principal.Subject]
	if hashes == nil {
		hashes = map[Hash]struct{}{}
		c.byUser[k.principal.Subject] = hashes
	}
	hashes[h] = struct{}{}
}

// unnoticed says that the mark of ended sessions could not be read, so that the next request with
// this token tries again.
func (c *tokenCache) unnoticed(h Hash) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k, ok := c.good.Get(h); ok {
		k.noticed = time.Time{}
	}
}

// marked notes whether the shared counter knows that sessions of a user ended.
func (c *tokenCache) marked(user string, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known {
		delete(c.unmarked, user)
	} else if len(c.unmarked) < maxUnmarked {
		c.unmarked[user] = struct{}{}
	}
}

// failed notes that the store did not answer.
func (c *tokenCache) failed(until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = until
}

// forget drops what is known of the tokens of the sessions meant, and of checks that are under way.
func (c *tokenCache) forget(f SessionFilter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
	for h := range c.byUser[f.User] {
		k, _ := c.good.Get(h)
		session := k.principal.Session
		if f.Only != "" && session != f.Only || f.Except != "" && session == f.Except {
			continue
		}
		if !planted.ForgetInvalidation {
			c.good.Remove(h)
		}
	}
}
