package counter

import "sync"

// Limiter bounds what is in flight, in total and with a fair share for each group. It may be used
// concurrently.
type Limiter struct {
	total, share int64

	mu   sync.Mutex
	held int64
	of   map[string]int64
}

// NewLimiter returns a Limiter of total, of which a group may hold share times its factor.
func NewLimiter(total, share int64) *Limiter {
	return &Limiter{total: total, share: share, of: map[string]int64{}}
}

// Acquire takes n in total and of the share of each group, or nothing. If it takes nothing, it
// returns the name of the group whose share would not do, or "" if the total would not do.
func (l *Limiter) Acquire(n int64, groups ...Group) (ok bool, full string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ok, full = l.fits(n, groups); !ok {
		return false, full
	}
	l.held += n
	for _, g := range groups {
		l.of[g.Name] += n
	}
	return true, ""
}

// Fits reports whether Acquire would take n.
func (l *Limiter) Fits(n int64, groups ...Group) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	ok, _ := l.fits(n, groups)
	return ok
}

func (l *Limiter) fits(n int64, groups []Group) (ok bool, full string) {
	if l.held+n > l.total {
		return false, ""
	}
	for _, g := range groups {
		if l.of[g.Name]+n > l.share*g.Factor {
			return false, g.Name
		}
	}
	return true, ""
}

// Release returns what Acquire took.
func (l *Limiter) Release(n int64, groups ...Group) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held -= n
	for _, g := range groups {
		if l.of[g.Name] -= n; l.of[g.Name] == 0 {
			delete(l.of, g.Name)
		}
	}
}

// Held returns how much is held in total.
func (l *Limiter) Held() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held
}

// Groups returns how many groups hold anything.
func (l *Limiter) Groups() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.of)
}
