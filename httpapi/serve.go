package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bunrouter"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/internal/counter"
	"github.com/khodnevis/khodnevis/internal/id"
	"github.com/khodnevis/khodnevis/internal/requestid"
)

// maxURL is the greatest length of a request's target, in bytes.
const maxURL = 8 << 10

// call is one request on its way.
type call struct {
	*API
	w      *answer
	r      *http.Request   // its context has the call's deadline
	id     string          // the request's identifier
	began  time.Time       // when the call began, later by the time that the client took for the body
	base   context.Context // the request's, without that deadline
	cancel context.CancelFunc
	ip     netip.Addr
	groups []counter.Group // what the ip is counted as
	kind   requestKind
	who    auth.Principal
	param  string // the value of :id in the path
	input  *input // what was sent, when the route takes a body
	query  *query // the parameters that the route takes
	prefer preferences
	// received says that the body was read to its end, or that there is none; memory is what it
	// holds of the admission's.
	received bool
	memory   int64
	// inFlight says that the call was admitted and has not left.
	inFlight bool
	// limited says that the answer tells of a quota, of which this much remains.
	limited   bool
	remaining int64
}

// anonymous reports whether nobody is signed in.
func (c *call) anonymous() bool { return c.who.Subject == "" }

// answer remembers the status once the response has begun.
type answer struct {
	http.ResponseWriter
	status int // 0: not begun
}

func (a *answer) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return a.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// begin makes a call of a request, with the headers that every answer has.
func (a *API) begin(w http.ResponseWriter, r *http.Request) *call {
	c := &call{API: a, w: &answer{ResponseWriter: w}, r: r, base: r.Context(), id: requestid.Of(r), ip: a.proxies.client(r), prefer: parsePrefer(r.Header)}
	c.groups = counter.GroupsOf(c.ip)
	c.received = r.Body == nil || r.Body == http.NoBody
	c.began, c.cancel = time.Now(), func() {}
	c.answerWithin(a.cfg.Limits.RequestTimeout)
	h := w.Header()
	h.Set(requestid.Header, c.id)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store") // until a handler knows better
	h.Set("Vary", "Authorization, Accept-Encoding")
	return c
}

// answerWithin gives the call a deadline, in place of the one that it has: d after it began.
func (c *call) answerWithin(d time.Duration) {
	c.cancel()
	ctx, cancel := context.WithDeadline(requestid.With(c.base, c.id), c.began.Add(d))
	c.r, c.cancel = c.r.WithContext(ctx), cancel
}

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := a.begin(w, r)
	c.setDeadlines()
	defer func() {
		c.leave()
		c.cancel()
		a.answered.count(c.w.status)
	}()
	if err := c.serve(); err != nil {
		c.fail(err)
	}
}

// serve routes the call and turns a panic into an error.
func (c *call) serve() (err error) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			panic(p) // a host's way to drop the connection
		default:
			err = fmt.Errorf("httpapi: panic: %v\n%s", p, debug.Stack())
		}
	}()
	if len(c.r.URL.EscapedPath())+len(c.r.URL.RawQuery) > maxURL {
		return problemURLTooLong
	}
	path, ok := c.resourcePath()
	if !ok {
		return problemNotFound
	}
	// A shallow copy: the router needs the path of the resource, and the method that all resources
	// are registered under.
	r := *c.r
	r.Method, r.URL = http.MethodGet, &url.URL{Path: path}
	return c.router.ServeHTTPError(c.w, r.WithContext(contextWithCall(c.r.Context(), c)))
}

// resourcePath returns the path below the prefix, in the form with a slash at the end, each segment
// decoded once. It reports false for a path that no resource can have.
func (c *call) resourcePath() (string, bool) {
	escaped := c.r.URL.EscapedPath()
	for _, prefix := range c.prefixes {
		if rest, ok := strings.CutPrefix(escaped, prefix); ok {
			parts, ok := segments(strings.TrimSuffix(rest, "/"))
			if !ok {
				return "", false
			}
			return "/" + strings.Join(parts, "/") + "/", true
		}
	}
	return "", false
}

// segments splits an escaped path and decodes its segments. It reports false if one of them cannot
// be part of a path here.
func segments(escaped string) ([]string, bool) {
	parts := strings.Split(escaped, "/")
	for i, p := range parts {
		s, err := url.PathUnescape(p)
		if err != nil || !validSegment(s) {
			return nil, false
		}
		parts[i] = s
	}
	return parts, true
}

// validSegment accepts what identifiers are made of: a rating's is two of them with a colon, a
// task's is longer.
func validSegment(s string) bool {
	const longest = 512
	if s == "" || len(s) > longest || s == "." || s == ".." {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c != ':' && c != '~' && !id.Valid("x"+string(c)) {
			return false
		}
	}
	return true
}

// resource returns the handler of one path.
func (a *API) resource(path string, m methods) bunrouter.HandlerFunc {
	allow := []string{http.MethodOptions}
	for method := range m {
		allow = append(allow, method)
	}
	if _, ok := m[http.MethodGet]; ok {
		allow = append(allow, http.MethodHead)
	}
	slices.Sort(allow)
	allowed := strings.Join(allow, ", ")
	return func(w http.ResponseWriter, r bunrouter.Request) error {
		c := callFrom(r.Context())
		c.param = r.Param("id")
		method := c.r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		if method == http.MethodOptions {
			w.Header().Set("Allow", allowed)
			w.WriteHeader(http.StatusNoContent)
			return nil
		}
		route, ok := m[method]
		if !ok {
			w.Header().Set("Allow", allowed)
			return problemMethod(c.r.Method, allowed)
		}
		c.kind = kindOf(path, method)
		return c.run(route)
	}
}

// run does what a route says, in the order that is promised: bounds, credentials, quotas, body,
// parameters, then the rest.
func (c *call) run(rt route) error {
	if err := c.enter(); err != nil {
		return err
	}
	if !rt.page && !acceptable(c.r.Header) {
		return problemNotAcceptable
	}
	denied := c.check(rt.policy)
	if err := c.countCaller(denied); err != nil {
		return err
	}
	if denied != nil {
		return denied
	}
	if rt.policy == staffOnly && !c.who.Staff {
		return problemForbidden
	}
	unread := c.readBody(rt.body)
	if err := c.countSession(); err != nil {
		return err
	}
	if unread != nil {
		return unread
	}
	if err := c.readQuery(rt.query); err != nil {
		return err
	}
	return rt.run(c)
}
