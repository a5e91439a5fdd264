package httpapi

import (
	"net/http"
	"slices"
	"time"

	"github.com/khodnevis/khodnevis/content"
)

// policy says who may call a route. Rules about a resource (its author, its rater) belong to the
// services.
type policy int

const (
	public     policy = iota // everybody; credentials are checked if they are sent
	signedIn                 // users
	staffOnly                // staff
	credential               // everybody; the body is the credential, and Authorization is not read
)

func (p policy) String() string {
	return [...]string{public: "everybody", signedIn: "users", staffOnly: "staff",
		credential: "everybody, by the body"}[p]
}

// route describes one method of a resource. The router, the pipeline and the schema are made of it,
// so it is the only description.
type route struct {
	// name is the operationId of the schema. A route without a name is not in the schema.
	name        string
	summary     string
	description string // more than the summary, if there is more to say
	policy      policy
	query       []parameter
	header      []header
	// body describes what may be sent. Nil: no body.
	body *body
	// responses are those that are not problems.
	responses []response
	// problems are statuses of further problems, each with the first of its problemCodes. codes are
	// further codes.
	problems []int
	codes    []problemCode
	// page: the response is for people, so Accept is not checked.
	page bool
	kind requestKind // what it counts as; set by newRouter
	run  func(*call) error
}

// methods maps the methods of a path to routes. HEAD and OPTIONS follow from the others.
type methods map[string]route

// response is one response of a route.
type response struct {
	status      int
	description string
	body        *schemaType // nil: none
	header      []header
}

// schemaType is a JSON object of responses: a Go type, and how it is used.
type schemaType struct {
	name string // of the schema
	// of is a value of the Go type. The schema has a member for each of its fields, described by
	// the tags doc (its description), enum (its values) and null (it may be null). Members without
	// omitempty are required.
	of any
	// omit is a member that is left out. require is a member that is required in spite of its
	// omitempty.
	omit, require string
	// partial: the parameter fields may leave members out.
	partial bool
	// list: the type is that of the results of an envelope.
	list bool
	// next is the operation that reads what was created or accepted. by is the member with its
	// identifier.
	next, by string
}

// header is a header of a request or a response.
type header struct {
	name        string
	description string
	schema      object
	// always: every response of that kind has it.
	always bool
}

var textSchema = object{{"type", "string"}}

// Headers of requests.
var (
	preferWait = header{name: "Prefer", schema: textSchema,
		description: "`wait=N` waits up to N seconds (at most 10) for the task; `respond-async` does not wait at all. " +
			"RFC 7240."}
	ifMatchHeader = header{name: "If-Match", schema: object{{"type", "string"},
		{"pattern", `^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$`}},
		description: "The ETag of the content to change. Only its part for the content itself is compared, not its part " +
			"for the ratings. " +
			"412 if it differs. `*` matches any. RFC 9110, 13.1.1."}
	ifNoneMatchHeader = header{name: "If-None-Match", schema: textSchema,
		description: "The ETag of the client's copy. 304 if it still matches. RFC 9110, 13.1.2."}
	idempotencyHeader = header{name: "Idempotency-Key", schema: object{{"type", "string"}, {"pattern", `^[!-~]+$`},
		{"maxLength", maxIdempotencyKey}},
		description: "A key of the client's choice, which creates at most one content within 24 hours. The same request " +
			"with the same key gets the " +
			"first response again; if that is no longer kept, the content as it is now, or 410 if it was deleted. With " +
			"another body it is " +
			"422, and 409 while the first request is in flight."}
)

// Headers of responses.
var (
	requestIDHeader = header{name: "X-Request-Id", always: true,
		description: "The identifier that the client sent, if it is valid, or a new one. Also in problems and logs.",
		schema:      object{{"type", "string"}, {"pattern", `^[A-Za-z0-9._-]{1,64}$`}}}
	etagHeader = header{name: "ETag", always: true,
		description: "The version of the response, for If-None-Match and If-Match.", schema: object{{"type", "string"},
			{"pattern", `^"[!#-~]+"$`}}}
	ageHeader = header{name: "Age", description: "The age of a stale response in seconds, at most 300, sent " +
		"while the store does not respond (stale-if-error). RFC 9111, 5.1.", schema: object{{"type", "integer"},
		{"minimum", 0}, {"maximum", int(content.MaxStale / time.Second)}}}
	locationHeader = header{name: "Location", always: true, description: "The path of the new resource.",
		schema: linkSchema}
	linkHeader = header{name: "Link", description: "The next page, as `<…>; rel=\"next\"`. RFC 8288.",
		schema: textSchema}
	appliedHeader = header{name: "Preference-Applied", description: "The preference that was applied. RFC 7240.",
		schema: textSchema}
	replayedHeader = header{name: "Idempotency-Replayed",
		description: "`true` if an earlier request with the same Idempotency-Key created this.",
		schema:      object{{"const", "true"}}}
	policyHeader = header{name: "RateLimit-Policy",
		description: "The quota with the least left, such as `\"rating-user\";q=60;w=60`.", schema: textSchema}
	limitHeader = header{name: "RateLimit",
		description: "What is left of that quota, and the seconds until it is full again, such as " +
			"`\"rating-user\";r=12;t=30`.", schema: textSchema}
	retryAfterHeader = header{name: "Retry-After", description: "The seconds after which to try again.",
		schema: object{{"type", "integer"}, {"minimum", 1}}}
	allowHeader = header{name: "Allow", always: true, description: "The methods of the resource.",
		schema: textSchema}
	acceptHeader = header{name: "Accept", always: true, description: "The media type to send.",
		schema: object{{"const", "application/json"}}}
)

// everyResponse has the headers that any response may have.
var everyResponse = []header{requestIDHeader, policyHeader, limitHeader, appliedHeader}

var linkSchema = object{{"type", "string"}, {"format", "uri-reference"}}

// required returns the header as one that every response has.
func (h header) required() header {
	h.always = true
	return h
}

// Responses of many routes.
func ok(description string, body schemaType, headers ...header) response {
	return response{http.StatusOK, description, &body, headers}
}

func noContent(description string) response {
	return response{http.StatusNoContent, description, nil, nil}
}

var notModified = response{http.StatusNotModified, "The copy of the client is up to date.", nil, []header{etagHeader}}

// accepted is the response to a write that waits in the queue.
func accepted(description string) response {
	return response{http.StatusAccepted, description, &receiptType, []header{locationHeader, appliedHeader.required()}}
}

// problemsOf returns the codes of the problems that a route may respond with, in the order of
// problemCodes: those that it names, and those that come from what it takes.
func (a *API) problemsOf(rt route, hasID bool) []problemCode {
	given := append([]problemCode{codeInvalid, "malformed_query", "incomplete_body", "timeout", "too_large",
		"uri_too_long", "throttled", "internal_error", "unavailable"}, rt.codes...)
	for _, status := range rt.problems {
		given = append(given, problemCodes[status][0])
	}
	for _, c := range []struct {
		given bool
		codes []problemCode
	}{
		{!rt.page, []problemCode{"not_acceptable"}},
		{rt.body == nil, []problemCode{"body_not_allowed"}},
		{rt.body != nil, []problemCode{"malformed_json", "not_an_object", "unsupported_media_type"}},
		{rt.body != nil && !rt.queued() || rt.asks("search"), []problemCode{"unstorable"}},
		{rt.queued(), []problemCode{"rejected"}},
		{rt.policy != credential, []problemCode{"invalid_token"}},
		{rt.policy == signedIn || rt.policy == staffOnly || rt.asksForMe() || slices.Contains(rt.problems,
			http.StatusForbidden), []problemCode{"not_authenticated"}},
		{rt.policy == staffOnly, []problemCode{"permission_denied"}},
		{hasID, []problemCode{"not_found"}},
		{rt.asks("cursor"), []problemCode{codeInvalidCursor, codeCursorMismatch}},
		{rt.asks("count"), []problemCode{codeQueryTooBroad}},
		{rt.takes(ifMatchHeader), []problemCode{"precondition_failed"}},
		{rt.takes(ifMatchHeader) && a.cfg.RequireIfMatch, []problemCode{"precondition_required"}},
		{rt.takes(idempotencyHeader) && a.cfg.Cache != nil,
			[]problemCode{"idempotency_key_in_flight", "content_deleted", "idempotency_key_reused"}},
	} {
		if c.given {
			given = append(given, c.codes...)
		}
	}
	return slices.DeleteFunc(allProblemCodes(), func(code problemCode) bool { return !slices.Contains(given, code) })
}

// queued reports whether the route writes through the queue.
func (rt route) queued() bool {
	return slices.ContainsFunc(rt.responses, func(r response) bool { return r.status == http.StatusAccepted })
}

// asks reports whether the route has a parameter.
func (rt route) asks(name string) bool {
	return slices.ContainsFunc(rt.query, func(p parameter) bool { return p.name == name })
}

func (rt route) asksForMe() bool {
	return slices.ContainsFunc(rt.query, func(p parameter) bool { return p.me })
}

func (rt route) takes(h header) bool {
	return slices.ContainsFunc(rt.header, func(own header) bool { return own.name == h.name })
}
