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

// Limits are the rate limits of an API, its bounds of what is in flight, and its deadlines. The
// zero value means the defaults.
type Limits struct {
	// Off switches the limits by user and by IP prefix off, for load tests; a warning is logged.
	// InFlight and the deadlines stay.
	Off bool
	// RatingWrites, ContentWrites and Reads are how many requests per minute one user may make, and
	// all anonymous clients of one IP prefix together. An IP prefix is an IPv4 /24 or an IPv6 /64.
	// IPv6 addresses also count for their /48, which may have four times the limit of a /64. A
	// request that writes neither a rating nor a content is a read, but logins, registrations and
	// refreshes have limits of their own. Defaults 60, 30 and 600.
	RatingWrites  int
	ContentWrites int
	Reads         int
	// Logins is how many logins and registrations per minute one IP prefix may make, together, and
	// how often per minute the tokens of one session may be refreshed. Default 60.
	Logins int
	// ContentRatings is how many ratings of one content per minute one IP prefix may submit.
	// Default 300.
	ContentRatings int
	// PrefixFactor times the limit of a user is the limit of all users at one IP prefix together: a
	// house, an office or a carrier has one prefix. Default 10.
	PrefixFactor int
	// InFlight bounds the requests in flight; load shedding refuses more with 503. PrefixInFlight
	// is the fair share of one IP prefix; more are 429. A request whose body has not arrived is not
	// in flight. As many bodies, and as many responses, may be on their way; clients beyond that
	// have a deadline of 1 s. Defaults 512 and 64.
	InFlight       int
	PrefixInFlight int
	// ReadTimeout is the read deadline of a body. WriteTimeout is the write deadline of a response,
	// counted from the beginning of the request. They hold where the host's http.Server has none. A
	// body that takes longer than 5 s must have come at 1 KiB a second. Defaults 15 s and 30 s.
	ReadTimeout  time.Duration
	WriteTimeout time.Duration
	// RequestTimeout is the deadline of a request, counted from when its body has arrived: the
	// deadline of the context that the services, the store, the queue and the cache get. A request
	// that is not done by then is 503. A wait for a rating to be stored moves the deadline to the
	// end of the wait, if that is later. Default 1.9 s, so that every response comes within 2 s.
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
	return []limitField[time.Duration]{{"ReadTimeout", &l.ReadTimeout, 15 * time.Second},
		{"WriteTimeout", &l.WriteTimeout, 30 * time.Second},
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
	// limitWindow is the fixed window that requests are counted in. It begins with the first
	// request, so that a minute that lies across two windows may see twice the limit.
	limitWindow = time.Minute
	// maxCounts bounds the counts that are kept in the process.
	maxCounts = 100_000
)

// requestKind is what a request counts as.
type requestKind int

const (
	reads requestKind = iota
	ratingWrites
	contentWrites
	logins    // and registrations
	refreshes // of the tokens of a session
)

// kindOf returns the kind of a method on a path of the table.
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

// quota is how many requests of a kind one client may make in a limitWindow.
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

// newDenialCounter counts in this process alone, because the refusal of invalid credentials must
// cost nothing.
func newDenialCounter(cfg Config) *counter.Counter {
	return counter.New(counter.Config{Name: "httpapi-denied", Max: maxCounts, Now: cfg.Now, Logger: cfg.Logger})
}

func newRequestCounter(cfg Config) *counter.Counter {
	shared, _ := cfg.Cache.(cache.Counter)
	return counter.New(counter.Config{Name: "httpapi", Max: maxCounts, Shared: shared, Now: cfg.Now, Logger: cfg.Logger})
}

// countContent counts a rating towards the limit of its content and the IP prefix.
func (c *call) countContent(contentID string) error {
	return c.countPrefix(quota{"rating-content", c.cfg.Limits.ContentRatings}, contentID)
}

// countPrefix counts the call for its IP prefix and, of IPv6, for its /48.
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

// count counts the call towards a quota, and refuses it if that is used up. The headers of the
// response describe the quota with the least left.
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
		return problemThrottled(fmt.Sprintf("The limit is %d requests of this kind per minute. Try again later.", q.limit),
			left)
	}
	return nil
}

// setRateLimit sets the headers of a quota (draft-ietf-httpapi-ratelimit-headers).
func setRateLimit(h http.Header, q quota, remaining int64, left time.Duration) {
	h.Set("RateLimit-Policy", fmt.Sprintf("%q;q=%d;w=%d", q.name, q.limit, seconds(limitWindow)))
	h.Set("RateLimit", fmt.Sprintf("%q;r=%d;t=%d", q.name, remaining, seconds(left)))
}

func problemThrottled(detail string, retry time.Duration) *problem {
	return &problem{status: 429, code: "throttled", title: "Too many requests", detail: detail,
		retry: max(retry, time.Second)}
}

// seconds rounds up.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }
