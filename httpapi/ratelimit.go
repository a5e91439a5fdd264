package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/internal/counter"
)

// Limits says how much may be asked of an API. Its zero value means the defaults.
type Limits struct {
	// Off lifts what is counted by user or by address, for load tests. It is logged as a warning.
	// InFlight and the timeouts stay.
	Off bool
	// RatingWrites, ContentWrites and Reads are how many requests of a kind a minute one user may
	// make, and all who are not signed in at one IP prefix together. An IP prefix is an IPv4 /24 or
	// an IPv6 /64. IPv6 addresses are counted by their /48 as well, which may have four times what
	// a /64 has. Logins, registrations and refreshes are apart; whatever else writes no rating and
	// no content is a read. Defaults 60, 30 and 600.
	RatingWrites  int
	ContentWrites int
	Reads         int
	// Logins is how many logins and registrations a minute may come from one IP prefix, together,
	// and how many times a minute the tokens of one session may be refreshed. Default 60.
	Logins int
	// ContentRatings is how many ratings of one content a minute may come from one IP prefix.
	// Default 300.
	ContentRatings int
	// PrefixFactor is how many times a user's share all at one IP prefix may take together: a
	// house, an office or a carrier has one prefix. Default 10.
	PrefixFactor int
	// InFlight is how many requests are answered at once; the next ones get 503. PrefixInFlight is how
	// many of them may come from one IP prefix; the next ones get 429. A request whose body is
	// still on its way is not among them. As many bodies may be on their way, and as many answers;
	// the next ones get a second. Defaults 512 and 64.
	InFlight       int
	PrefixInFlight int
	// ReadTimeout is how long a client may take to send a body, and WriteTimeout how long after its
	// request to take the answer. They hold where the host's http.Server has none of its own. A
	// body that takes longer than 5 s must have come at 1 KiB a second. Defaults 15 s and 30 s.
	ReadTimeout  time.Duration
	WriteTimeout time.Duration
	// RequestTimeout is how long a request may take until it is answered, from when its body is
	// there: the deadline of the context that the services, the store, the queue and the cache get.
	// What is not done by then is 503. A wait for a rating to be stored moves the deadline to the
	// end of the wait, if that is later. Default 1.9 s, so that the answer is there within 2 s.
	RequestTimeout time.Duration
}

// counts are the fields that are numbers.
func (l *Limits) counts() []limitField[int] {
	return []limitField[int]{
		{"RatingWrites", &l.RatingWrites, 60}, {"ContentWrites", &l.ContentWrites, 30}, {"Reads", &l.Reads, 600},
		{"Logins", &l.Logins, 60}, {"ContentRatings", &l.ContentRatings, 300}, {"PrefixFactor", &l.PrefixFactor, 10},
		{"InFlight", &l.InFlight, 512}, {"PrefixInFlight", &l.PrefixInFlight, 64},
	}
}

// times are the fields that are durations.
func (l *Limits) times() []limitField[time.Duration] {
	return []limitField[time.Duration]{{"ReadTimeout", &l.ReadTimeout, 15 * time.Second}, {"WriteTimeout", &l.WriteTimeout, 30 * time.Second},
		{"RequestTimeout", &l.RequestTimeout, 1900 * time.Millisecond}}
}

type limitField[T int | time.Duration] struct {
	name     string
	value    *T
	fallback T
}

func (f limitField[T]) fill() {
	if *f.value == 0 {
		*f.value = f.fallback
	}
}

func (f limitField[T]) validate() error {
	if *f.value < 1 {
		return fmt.Errorf("httpapi: Limits.%s is %v, must be positive", f.name, *f.value)
	}
	return nil
}

func (l Limits) orDefault() Limits {
	for _, f := range l.counts() {
		f.fill()
	}
	for _, f := range l.times() {
		f.fill()
	}
	return l
}

func (l Limits) validate() error {
	var errs []error
	for _, f := range l.counts() {
		errs = append(errs, f.validate())
	}
	for _, f := range l.times() {
		errs = append(errs, f.validate())
	}
	return errors.Join(errs...)
}

const (
	// limitWindow is what requests are counted in. It begins with the first one, so that twice as
	// many may pass within a minute that lies across two windows.
	limitWindow = time.Minute
	// maxCounts is how many counts are kept in process.
	maxCounts = 100_000
)

// requestKind is what requests are counted as.
type requestKind int

const (
	reads requestKind = iota
	ratingWrites
	contentWrites
	logins    // and registrations
	refreshes // of the tokens of a session
)

// kindOf returns the kind of a method on a resource of the table.
func kindOf(path, method string) requestKind {
	switch {
	case method == http.MethodGet || method == http.MethodHead:
		return reads
	case path == "/contents/" || path == "/contents/:id/":
		return contentWrites
	case path == "/users/" || path == "/users/login/":
		return logins
	case path == "/users/token/refresh/":
		return refreshes
	case strings.HasPrefix(path, "/contents/") || strings.HasPrefix(path, "/ratings/"):
		return ratingWrites
	}
	return reads
}

// quota is how many requests of a kind a minute are answered.
type quota struct {
	name  string
	limit int
}

// of returns the quota of a kind.
func (l Limits) of(k requestKind) quota {
	switch k {
	case ratingWrites:
		return quota{"rating", l.RatingWrites}
	case contentWrites:
		return quota{"content", l.ContentWrites}
	case logins:
		return quota{"login", l.Logins}
	case refreshes:
		return quota{"refresh", l.Logins}
	}
	return quota{"read", l.Reads}
}

// newDenialCounter counts in process alone: whoever is not to be asked for credentials must cost
// nothing.
func newDenialCounter(cfg Config) *counter.Counter {
	return counter.New(counter.Config{Name: "httpapi-denied", Max: maxCounts, Now: cfg.Now, Logger: cfg.Logger})
}

func newRequestCounter(cfg Config) *counter.Counter {
	shared, _ := cfg.Cache.(cache.Counter)
	return counter.New(counter.Config{Name: "httpapi", Max: maxCounts, Shared: shared, Now: cfg.Now, Logger: cfg.Logger})
}

// countContent counts a rating of a content against what the IP prefix has of it.
func (c *call) countContent(contentID string) error {
	return c.countPrefix(quota{"rating-content", c.cfg.Limits.ContentRatings}, contentID)
}

// countPrefix counts the call under a quota of its IP prefix and, of IPv6, under one of its /48.
func (c *call) countPrefix(q quota, of ...string) error {
	for _, g := range c.groups {
		own := quota{q.name, q.limit * int(g.Factor)}
		if g.Factor > 1 {
			own.name += "-site"
		}
		if err := c.count(own, append([]string{g.Name}, of...)...); err != nil {
			return err
		}
	}
	return nil
}

// countInvalid adds n to the invalid credentials of a kind that came from the call's IP prefix. It
// returns a problem if there were too many of them already. That takes as many as a prefix may send
// requests, so that nobody keeps neighbours out with less.
func (c *call) countInvalid(kind string, n int64) (err error) {
	most := int64(c.cfg.Limits.Reads * c.cfg.Limits.PrefixFactor)
	for _, g := range c.groups {
		sum, left := c.invalidCredentials.Add(c.r.Context(), counter.KeyOf("denied", kind, g.Name), n, limitWindow)
		if !c.cfg.Limits.Off && sum-n >= most*g.Factor {
			err = problemThrottled("Too many invalid credentials came from your network. Try again later.", left)
		}
	}
	return err
}

// count counts the call under a quota and refuses it if that is used up. The answer tells of the
// quota that is nearest to it.
func (c *call) count(q quota, who ...string) error {
	if c.cfg.Limits.Off {
		return nil
	}
	sum, left := c.requests.Add(c.r.Context(), counter.KeyOf(append([]string{q.name}, who...)...), 1, limitWindow)
	remaining := max(0, int64(q.limit)-sum)
	if !c.limited || remaining <= c.remaining {
		c.limited, c.remaining = true, remaining
		setRateLimit(c.w.Header(), q, remaining, left)
	}
	if sum > int64(q.limit) {
		return problemThrottled(fmt.Sprintf("The limit is %d requests of this kind per minute. Try again later.", q.limit), left)
	}
	return nil
}

// setRateLimit tells clients what is left of a quota (draft-ietf-httpapi-ratelimit-headers).
func setRateLimit(h http.Header, q quota, remaining int64, left time.Duration) {
	h.Set("RateLimit-Policy", fmt.Sprintf("%q;q=%d;w=%d", q.name, q.limit, seconds(limitWindow)))
	h.Set("RateLimit", fmt.Sprintf("%q;r=%d;t=%d", q.name, remaining, seconds(left)))
}

func problemThrottled(detail string, retry time.Duration) *problem {
	return &problem{status: 429, code: "throttled", title: "Too many requests", detail: detail, retry: max(retry, time.Second)}
}

// seconds rounds up.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }
