// Package httpapi is the REST surface: contents, ratings, tasks and users over HTTP, for any host
// and router.
//
// New returns an http.Handler. It serves every path below Config.Prefix, answers everything, errors
// and panics included, in the documented JSON shapes, and starts nothing. Mount it wherever
// requests for the prefix arrive:
//
//	mux.Handle("/api/", api)
//
// # Errors
//
// Every error is a problem document (RFC 9457) whose code is part of the interface.
//
// # Concurrency
//
// An API may be used concurrently.
package httpapi

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/uptrace/bunrouter"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/internal/counter"
	"github.com/khodnevis/khodnevis/internal/hostcall"
	"github.com/khodnevis/khodnevis/rating"
)

// Config configures an API.
type Config struct {
	// Contents are this module's own. With nil there are no routes that create, list or change
	// contents: they are the host's.
	Contents *content.Service
	// Ratings must be set.
	Ratings *rating.Service
	// Users are this module's own. With nil the user routes are not there, and Authenticator must
	// be set.
	Users *auth.Service
	// Authenticator authenticates requests. Nil: Users does. A host's is not trusted: a request
	// waits for it until its deadline (Limits.RequestTimeout), at most 2 s, and is 503 then. A
	// panic, a Subject that is not an identifier, and any error that package auth does not name are
	// logged and 500. At most 1,024 calls of it run at once, those included whose request has given
	// up.
	Authenticator auth.Authenticator
	// Prefix is the full path that the API is mounted under, as clients see it, with a slash at
	// both ends and without a colon. Default "/api/". Requests may arrive with the whole prefix or
	// with its beginning stripped.
	Prefix string
	// PrivateRatings makes ratings visible to their raters and to staff only.
	PrivateRatings bool
	// RequireIfMatch refuses changes and deletions of contents without If-Match (428).
	RequireIfMatch bool
	// Cache keeps the responses of requests with an Idempotency-Key. Nil: the header is refused.
	Cache cache.Cache
	// TrustedProxies are the addresses of proxies whose X-Forwarded-For is trusted. Behind a proxy
	// that is not listed, all clients count as one.
	TrustedProxies []netip.Prefix
	// Limits are the rate limits and bounds. Counts are shared through Cache if that is a
	// cache.Counter, and kept in the process otherwise and while it fails.
	Limits Limits
	// Draining, if not nil, ends waits when it is closed: responses are sent at once, as with
	// Prefer: respond-async.
	Draining <-chan struct{}
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Logger receives failures of the server. Nil: nothing is logged.
	Logger *slog.Logger
}

func (c Config) orDefault() Config {
	if c.Prefix == "" {
		c.Prefix = "/api/"
	}
	if c.Authenticator == nil && c.Users != nil {
		c.Authenticator = c.Users
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Limits = c.Limits.orDefault()
	return c
}

func (c Config) validate() error {
	errs := []error{c.Validate()}
	if c.Ratings == nil {
		errs = append(errs, errors.New("httpapi: Config.Ratings is missing"))
	}
	if c.Authenticator == nil {
		errs = append(errs, errors.New("httpapi: one of Config.Users and Config.Authenticator must be set"))
	}
	return errors.Join(errs...)
}

// Validate reports every problem of c, except missing services, which New reports.
func (c Config) Validate() error {
	c = c.orDefault()
	var errs []error
	if !strings.HasPrefix(c.Prefix, "/") || !strings.HasSuffix(c.Prefix, "/") {
		errs = append(errs, fmt.Errorf("httpapi: Config.Prefix %q must begin and end with a slash", c.Prefix))
	} else if _, ok := segments(strings.Trim(c.Prefix, "/")); !ok && c.Prefix != "/" || strings.Contains(c.Prefix, ":") {
		errs = append(errs, fmt.Errorf("httpapi: Config.Prefix %q may only have segments of letters, digits and -_.~",
			c.Prefix))
	}
	errs = append(errs, c.Limits.validate(), c.validateScheme())
	for _, p := range c.TrustedProxies {
		if !p.IsValid() || p.Addr().Is4In6() {
			errs = append(errs, fmt.Errorf("httpapi: Config.TrustedProxies has %v, which is no prefix of IPv4 or IPv6 "+
				"addresses", p))
		}
	}
	return errors.Join(errs...)
}

// API serves the REST surface.
type API struct {
	cfg                Config
	router             *bunrouter.Router
	table              map[string]methods
	prefixes           []string // Config.Prefix and what is left of it when its beginning is stripped, longest first
	keptResponses      *keptResponses
	proxies            proxies
	schema             *file
	page               map[string]*file // that people read the schema on
	requests           *counter.Counter
	invalidCredentials *counter.Counter // by IP prefix
	admission          admission
	responses          [6]atomic.Int64 // by the first digit of the status
	scheme             scheme
}

var _ http.Handler = (*API)(nil)

// New returns an API.
func New(cfg Config) (*API, error) {
	host := cfg.Authenticator
	cfg = cfg.orDefault()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	scheme := cfg.scheme()
	if host != nil {
		cfg.Authenticator = hostUsers{host, hostcall.NewLimiter(maxHostCalls)}
	}
	a := &API{cfg: cfg, keptResponses: newKeptResponses(cfg.Cache, cfg.Now),
		proxies: proxies{trusted: cfg.TrustedProxies, log: cfg.Logger}, requests: newRequestCounter(cfg),
		invalidCredentials: newDenialCounter(cfg), admission: newAdmission(cfg.Limits), scheme: scheme}
	if cfg.Limits.Off {
		cfg.Logger.Warn("httpapi: rate limits are off")
	}
	for p := cfg.Prefix; ; {
		a.prefixes = append(a.prefixes, p)
		cut := strings.IndexByte(p[1:], '/')
		if cut < 0 {
			break
		}
		p = p[1+cut:]
	}
	a.table = a.routes()
	a.schema, a.page = a.openAPI(a.table), readDocs(cfg.Prefix)
	a.router = a.newRouter()
	return a, nil
}

// Stats is what an API has done and does.
type Stats struct {
	// InFlight is how many requests are in flight.
	InFlight int
	// Responses is how many responses were sent since New, by the first digit of their status, 2 to
	// 5.
	Responses map[int]int64
}

// Stats returns what the API has done and does.
func (a *API) Stats() Stats {
	s := Stats{InFlight: int(a.admission.inFlight.Held()), Responses: map[int]int64{}}
	for class := 2; class < len(a.responses); class++ {
		s.Responses[class] = a.responses[class].Load()
	}
	return s
}

// routes is the whole surface: for each path, its methods.
func (a *API) routes() map[string]methods {
	seeRatings := public
	if a.cfg.PrivateRatings {
		seeRatings = signedIn
	}
	t := map[string]methods{}
	a.addSchema(t)
	a.addDocs(t)
	a.addRatings(t, seeRatings)
	a.addTasks(t)
	a.addStats(t)
	if a.cfg.Contents != nil {
		a.addContents(t)
	}
	if a.cfg.Users != nil {
		a.addUsers(t)
	}
	return t
}
