package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	"github.com/khodnevis/khodnevis/rating/task"
)

// The functions of this file stand in the order in which a request passes them; admit is in
// admission.go.

// steps are what a request passes between the router and the handler of its route. The first error
// becomes the response.
var steps = []func(*call) error{
	(*call).admit,        // admission control: 503 and 429
	(*call).negotiate,    // the Accept header: 406
	(*call).authenticate, // the credentials: sets call.who or call.denied
	(*call).limitCaller,  // rate limits of the user and the IP prefix: 429
	(*call).authorize,    // 401 and 403
	(*call).readBody,     // sets call.input or call.unread
	(*call).limitSession, // the rate limit of refreshed tokens: 429
	(*call).checkBody,    // 400, 408, 413, 415
	(*call).readQuery,    // 400
}

// call is one request on its way.
type call struct {
	*API
	w      *responseWriter
	r      *http.Request   // its context has the call's deadline
	id     string          // the request's identifier
	began  time.Time       // when the call began, later by the time that the client took for the body
	base   context.Context // the request's, without that deadline
	cancel context.CancelFunc
	ip     netip.Addr
	groups []counter.Group // the IP prefixes that the call counts for
	path   string          // that of the resource below the prefix, decoded, with a slash at its end
	route  route
	param  string // the value of :id in the path
	who    auth.Principal
	denied error  // why the credentials are refused
	input  *input // the body, if the route takes one
	unread error  // why the body is refused
	query  *query // the parameters that the route takes
	prefer preferences
	// received says that the body was read to its end, or that there is none; memory is how many
	// bytes of the admission's memory it holds.
	received bool
	memory   int64
	// inFlight says that the call was admitted and has not left.
	inFlight bool
	// limited says that the response has rate limit headers, of a quota with this much remaining.
	limited   bool
	remaining int64
}

// anonymous reports whether nobody is signed in.
func (c *call) anonymous() bool { return c.who.Subject == "" }

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := a.begin(w, r)
	c.setClientDeadlines()
	defer func() {
		c.leave()
		c.cancel()
		if class := c.w.status / 100; class > 0 && class < len(a.responses) {
			a.responses[class].Add(1)
		}
	}()
	if err := c.serve(); err != nil {
		c.fail(err)
	}
}

// begin makes a call of a request: its deadline, the client's address, and the headers that every
// response has.
func (a *API) begin(w http.ResponseWriter, r *http.Request) *call {
	c := &call{API: a, w: newResponseWriter(w), r: r, base: r.Context(), id: requestid.Of(r),
		prefer: parsePrefer(r.Header)}
	c.received = r.Body == nil || r.Body == http.NoBody
	c.began, c.cancel = time.Now(), func() {}
	c.setDeadline(a.cfg.Limits.RequestTimeout)
	c.ip = a.proxies.client(r)
	c.groups = counter.GroupsOf(c.ip)
	h := w.Header()
	h.Set(requestid.Header, c.id)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store") // unless the handler sets another
	h.Set("Vary", "Authorization, Accept-Encoding")
	return c
}

type callKey struct{}

func callOf(r bunrouter.Request) *call { return r.Context().Value(callKey{}).(*call) }

// setDeadline sets the call's deadline to d after its beginning. The context carries it to the
// services, with the request's identifier.
func (c *call) setDeadline(d time.Duration) {
	c.cancel()
	ctx, cancel := context.WithDeadline(requestid.With(context.WithValue(c.base, callKey{}, c), c.id), c.began.Add(d))
	c.r, c.cancel = c.r.WithContext(ctx), cancel
}

// setClientDeadlines gives the client a read deadline for its body and a write deadline for the
// response, where the host's server has none. The server forgets both with the request.
func (c *call) setClientDeadlines() {
	read, write := c.serverTimeouts()
	control, now := http.NewResponseController(c.w.ResponseWriter), time.Now()
	if read == 0 && !c.received {
		_ = control.SetReadDeadline(now.Add(c.cfg.Limits.ReadTimeout)) // fails if the host has no connection
	}
	if write == 0 {
		_ = control.SetWriteDeadline(now.Add(c.cfg.Limits.WriteTimeout))
	}
}

// serve routes the call and returns a panic as an error.
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
	if c.path = c.resourcePath(); c.path == "" {
		return problemNotFound // the router would redirect some of these paths
	}
	below := new(http.Request) // as behind http.StripPrefix: the router matches the decoded path
	*below = *c.r
	below.URL = &url.URL{Path: c.path}
	return c.router.ServeHTTPError(c.w, below)
}

// maxURL is the greatest length of a request's target, in bytes.
const maxURL = 8 << 10

// resourcePath returns the path below the prefix, with a slash at its end and each segment decoded
// once. It is empty if no resource can have that path.
func (c *call) resourcePath() string {
	escaped := c.r.URL.EscapedPath()
	for _, prefix := range c.prefixes {
		if rest, ok := strings.CutPrefix(escaped, prefix); ok {
			parts, ok := segments(strings.TrimSuffix(rest, "/"))
			if !ok {
				return ""
			}
			return "/" + strings.Join(parts, "/") + "/"
		}
	}
	return ""
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

// validSegment accepts the characters of identifiers. A rating's identifier is two of them with a
// colon, a task's is longer.
func validSegment(s string) bool {
	if s == "" || len(s) > task.MaxID || s == "." || s == ".." {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c != ':' && c != '~' && !id.Valid("x"+string(c)) {
			return false
		}
	}
	return true
}

// newRouter returns the router of all routes, for paths below the prefix with a slash at their end.
func (a *API) newRouter() *bunrouter.Router {
	router := bunrouter.New(bunrouter.WithNotFoundHandler(noRoute), bunrouter.WithMethodNotAllowedHandler(noRoute))
	for path, methods := range a.table {
		for method, rt := range methods {
			rt.kind = kindOf(path, method)
			router.Handle(method, path, rt.handle)
			if method == http.MethodGet {
				router.HEAD(path, rt.handle)
			}
		}
	}
	return router
}

// noRoute handles OPTIONS, and requests that have no route. The router takes a path with an
// identifier for one that does not exist if its method does not, so this looks at the table.
func noRoute(w http.ResponseWriter, r bunrouter.Request) error {
	c := callOf(r)
	allowed := c.allowed()
	if allowed == "" {
		return problemNotFound
	}
	w.Header().Set("Allow", allowed)
	if r.Method == http.MethodOptions {
		return c.empty(http.StatusNoContent)
	}
	return problemMethod(r.Method, allowed)
}

// allowed returns the Allow header of the call's path, empty if there is no such resource.
func (c *call) allowed() string {
	at := strings.Split(c.path, "/")
	for path, methods := range c.table {
		same := func(part, s string) bool { return part == s || part == ":id" }
		if !slices.EqualFunc(strings.Split(path, "/"), at, same) {
			continue
		}
		allow := []string{http.MethodOptions}
		for method := range methods {
			allow = append(allow, method)
			if method == http.MethodGet {
				allow = append(allow, http.MethodHead)
			}
		}
		slices.Sort(allow)
		return strings.Join(allow, ", ")
	}
	return ""
}

// handle takes a call of the route through the steps and to its handler.
func (rt route) handle(_ http.ResponseWriter, r bunrouter.Request) error {
	c := callOf(r)
	c.route, c.param = rt, r.Param("id")
	for _, step := range steps {
		if err := step(c); err != nil {
			return err
		}
	}
	return rt.run(c)
}

// negotiate refuses a client that does not take JSON.
func (c *call) negotiate() error {
	if c.route.page || acceptable(c.r.Header) {
		return nil
	}
	return problemNotAcceptable
}

// authenticate sets who calls, or why the credentials are refused. An IP prefix that sent too many
// invalid credentials this minute is refused without authenticating, because rejecting a token can
// cost as much as serving a request.
func (c *call) authenticate() error {
	if c.route.policy == credential {
		return nil
	}
	if c.denied = c.countInvalid("access", 0); c.denied != nil {
		return nil
	}
	who, err := c.cfg.Authenticator.Authenticate(c.r.Context(), c.r)
	var busy *auth.BusyError
	switch {
	case err == nil && auth.ValidSubject(who.Subject):
		c.who = who
	case err == nil:
		c.denied = fmt.Errorf("httpapi: the authenticator returned the subject %q, which is not an identifier", who.Subject)
	case errors.As(err, &busy):
		c.denied = busy
	case errors.Is(err, auth.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		c.denied = fmt.Errorf("httpapi: authenticate: %w: %s", auth.ErrUnavailable, err.Error())
	case errors.Is(err, auth.ErrNoCredentials) && c.route.policy == public:
	case errors.Is(err, auth.ErrNoCredentials):
		c.denied = c.scheme.missing
	case errors.Is(err, auth.ErrInvalidCredentials):
		c.denied = c.scheme.wrong
		_ = c.countInvalid("access", 1)
	case c.r.Context().Err() != nil: // the client has hung up
		c.denied = c.r.Context().Err()
	default: // an error that package auth does not name is a failure of the server, whatever it wraps
		c.denied = fmt.Errorf("httpapi: authenticate: %s", err.Error())
	}
	return nil
}

// limitCaller counts the call for its user and then, if that quota is not used up, for its IP
// prefix: a user who is refused takes nothing from the neighbours. Anonymous clients of a prefix
// count as one caller, and so do those with invalid credentials. Logins have a quota of their own;
// otherwise neighbours could sign people out by reading.
func (c *call) limitCaller() error {
	q := c.cfg.Limits.of(c.route.kind)
	var err error
	switch {
	case c.route.kind == refreshes: // limitSession counts it: the body says which session it is of
		return nil
	case c.route.kind == logins:
		return c.countPrefix(q)
	case !c.anonymous():
		err = c.count(quota{q.name + "-user", q.limit}, c.who.Subject)
	case c.denied == nil || errors.Is(c.denied, c.scheme.missing):
		err = c.countPrefix(quota{q.name + "-anonymous", q.limit})
	default:
		err = c.countPrefix(quota{q.name + "-denied", q.limit})
	}
	if err != nil {
		return err
	}
	return c.countPrefix(quota{q.name + "-prefix", q.limit * c.cfg.Limits.PrefixFactor})
}

// authorize refuses a caller whom the route's policy does not let in.
func (c *call) authorize() error {
	if c.denied == nil && c.route.policy == staffOnly && !c.who.Staff {
		return problemForbidden
	}
	return c.denied
}

// readBody reads the body as the route describes it. limitSession comes before the refusal of a
// body, so that refused ones count too.
func (c *call) readBody() error {
	c.unread = c.decodeBody(c.route.body)
	return nil
}

// limitSession counts a refresh of tokens for its session. A body that names no session counts as
// a login.
func (c *call) limitSession() error {
	if c.route.kind != refreshes {
		return nil
	}
	if c.input != nil {
		token, _ := c.input.text("refresh")
		if session, ok := auth.RefreshFamily(token); ok {
			return c.count(c.cfg.Limits.of(refreshes), session)
		}
	}
	return c.countPrefix(c.cfg.Limits.of(logins))
}

func (c *call) checkBody() error { return c.unread }

// fail is the end of a call that failed: it writes the problem that err stands for.
func (c *call) fail(err error) {
	p, log := problemOf(err)
	if errors.Is(err, context.Canceled) && c.r.Context().Err() != nil {
		log = false // the client has hung up
	}
	if log {
		c.logFailure(p, err)
	}
	if p == problemForbidden { // beside the denials that package auth logs
		c.cfg.Logger.LogAttrs(c.r.Context(), slog.LevelInfo, "auth.denied", slog.String("reason", "forbidden"),
			slog.String("method", c.r.Method),
			slog.String("path", c.r.URL.Path), slog.String("user", c.who.Subject), slog.String("request_id", c.id))
	}
	if c.w.status == 0 {
		c.writeProblem(p)
	}
}

// sharedHeaders are lists that the API sets, to which a middleware around it may have added. Of
// other headers, the response has the API's own value if the API sets one.
var sharedHeaders = []string{"Link", "Ratelimit", "Ratelimit-Policy", "Vary", "Www-Authenticate"}

// responseWriter remembers the status once the response has begun.
type responseWriter struct {
	http.ResponseWriter
	status int         // 0: not begun
	outer  http.Header // the values of a middleware, which the response gets before those of the API
}

func newResponseWriter(inner http.ResponseWriter) *responseWriter {
	w := &responseWriter{ResponseWriter: inner, outer: http.Header{}}
	for _, name := range sharedHeaders {
		if values := inner.Header()[name]; len(values) > 0 {
			w.outer[name] = values
			inner.Header().Del(name)
		}
	}
	return w
}

func (w *responseWriter) WriteHeader(status int) {
	w.status = status
	for name, values := range w.outer {
		w.Header()[name] = append(slices.Clip(values), w.Header()[name]...)
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *responseWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
