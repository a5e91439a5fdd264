package httpapi

import (
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/internal/requestid"
	"github.com/khodnevis/khodnevis/rating"
)

// Routes returns every path of the surface and its methods.
func (a *API) Routes() map[string][]string {
	routes := map[string][]string{}
	for path, methods := range a.table {
		routes[path] = slices.Collect(maps.Keys(methods))
	}
	return routes
}

// Policy returns who may call a route, as its table says.
func (a *API) Policy(path, method string) string { return a.table[path][method].policy.String() }

// Schema returns the schema as it is served.
func (a *API) Schema() []byte { return a.schema.body }

// Reading returns how many bodies are on their way that need not hurry.
func (a *API) Reading() int { return int(a.admission.reading.Held()) }

// BodyBytes returns how many bytes of bodies are held.
func (a *API) BodyBytes() int { return int(a.admission.memory.Held()) }

// ParseObject is what reads bodies.
func ParseObject(body []byte) (map[string]any, error) { return parseObject(body) }

// Bounds that answers depend on.
const (
	MaxDepth          = maxDepth
	MaxValues         = maxValues
	WaitsOfUser       = waitsOfUser
	Hurried           = hurried
	BodyGrace         = bodyGrace
	LeastRate         = leastRate
	BodyMemory        = bodyMemory
	ShareOfMemory     = shareOfMemory
	MaxWait           = maxWait
	MaxURL            = maxURL
	SmallBody         = smallBody
	LargeBody         = largeBody
	DefaultPage       = defaultPage
	MaxPage           = maxPage
	WriteTimeout      = writeTimeout
	MaxIdempotencyKey = maxIdempotencyKey
	MaxCounts         = maxCounts
)

// OpenCursor opens and seals again what a cursor of some list holds, for the bindings that it may
// have.
func OpenCursor(s string, bound uint64) (place []byte, code string) { return openCursor(s, bound) }

// SealCursor is the inverse of OpenCursor.
func SealCursor(bound uint64, place []byte) string { return sealCursor(bound, place) }

// ReopenContentPlace parses a place of a list of contents and writes it again.
func ReopenContentPlace(o content.Order, place []byte) ([]byte, bool) {
	p, ok := parseContentPlace(o, place)
	if !ok {
		return nil, false
	}
	return contentPlace(o, *p), true
}

// ReopenRatingPlace does the same for a list of ratings.
func ReopenRatingPlace(o rating.Order, place []byte) ([]byte, bool) {
	p, ok := parseRatingPlace(o, place)
	if !ok {
		return nil, false
	}
	return ratingPlace(o, rating.Rating{Key: p.Key, UpdatedAt: p.At}), true
}

// IfMatch reports whether a header lets a change of a content at this version through, and whether
// it is one at all.
func IfMatch(values []string, version int64) (matches, ok bool) {
	c := &call{API: &API{}, r: &http.Request{Header: http.Header{"If-Match": values}}}
	p, err := c.ifMatch()
	return err == nil && p.check(version) == nil, err == nil
}

// NotModified reports whether a header has this tag.
func NotModified(values []string, version, revision int64) bool {
	c := &call{r: &http.Request{Header: http.Header{"If-None-Match": values}}}
	return c.notModified(tag{version, revision}.String())
}

// ETag is the tag of a content.
func ETag(version, revision int64) string { return tag{version, revision}.String() }

// Prefer reads a Prefer header.
func Prefer(values []string) (async, waiting, lenient bool, wait time.Duration) {
	p := parsePrefer(http.Header{"Prefer": values})
	return p.async, p.waiting, p.lenient, p.wait
}

// DefaultLimits returns what the zero Limits stands for.
func DefaultLimits() Limits { return Limits{}.orDefault() }

// ClientIP is where a request from peer with these headers X-Forwarded-For comes from.
func ClientIP(trusted []netip.Prefix, peer string, seen []string) netip.Addr {
	p := proxies{trusted: trusted, log: slog.New(slog.DiscardHandler)}
	return p.client(&http.Request{RemoteAddr: peer, Header: http.Header{"X-Forwarded-For": seen}})
}

// Fields reads the parameter of that name in a list of contents, whose members it returns as well.
func Fields(value string) (picked, there []string, accepted bool) {
	v, bad := fieldsParameter(contentItem).read(value)
	picked, _ = v.([]string)
	return picked, contentItem.names(), bad == nil
}

// Problem returns the answer to a request with this method, target and id that is refused for a
// field and a parameter of that name.
func Problem(method, path, id, name string) *httptest.ResponseRecorder {
	r := &http.Request{Method: method, URL: &url.URL{Path: path}, Header: http.Header{"X-Request-Id": {id}}}
	w := httptest.NewRecorder()
	api := &API{cfg: Config{Prefix: "/api/"}, admission: newAdmission(Limits{}.orDefault())}
	c := &call{API: api, w: &responseWriter{ResponseWriter: w}, r: r, id: requestid.Of(r)}
	var bad []fieldProblem
	if utf8.ValidString(name) { // others never get out of a body
		in := &input{body: &body{}, values: map[string]any{name: nil}}
		in.checkMembers()
		bad = append(in.bad, repeated(name))
	}
	if name != "" { // such a query is malformed
		q := &query{raw: url.Values{name: {"x"}}, read: map[string]any{"fields": nil}}
		q.refuse(q.unknown())
		bad = append(bad, q.bad...)
	}
	c.fail(problemInvalid(bad))
	return w
}
