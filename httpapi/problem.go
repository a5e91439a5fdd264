package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/internal/errs"
	"github.com/khodnevis/khodnevis/internal/invalid"
	"github.com/khodnevis/khodnevis/rating"
)

// problem is an error with everything that the client may know of it.
type problem struct {
	status  int
	code    string // stable; also the last part of the type
	title   string
	detail  string
	errors  []fieldProblem
	outcome string // of a write that the queue did not confirm
	retry   time.Duration
	header  http.Header
}

func (p *problem) Error() string {
	return fmt.Sprintf("httpapi: %d %s: %s", p.status, p.code, p.detail)
}

// problemCode is the kind of a problem, for programs.
type problemCode string

// problemCodes are all codes, by status. They are API: texts may change, codes do not.
var problemCodes = map[int][]problemCode{
	400: {codeInvalid, "malformed_json", "not_an_object", "malformed_query", "incomplete_body", "body_not_allowed",
		codeInvalidCursor, codeCursorMismatch, codeQueryTooBroad, "rejected", "unstorable"},
	401: {"not_authenticated", "invalid_token", "invalid_login"},
	403: {"permission_denied", "reauth_required"},
	404: {"not_found"},
	405: {"method_not_allowed"},
	406: {"not_acceptable"},
	408: {"timeout"},
	409: {"conflict", "idempotency_key_in_flight"},
	410: {"task_expired", "content_deleted"},
	412: {"precondition_failed"},
	413: {"too_large"},
	414: {"uri_too_long"},
	415: {"unsupported_media_type"},
	422: {"idempotency_key_reused"},
	428: {"precondition_required"},
	429: {"throttled"},
	500: {"internal_error"},
	503: {"unavailable"},
}

// allProblemCodes returns the codes in the order of their statuses.
func allProblemCodes() []problemCode {
	var all []problemCode
	for _, status := range slices.Sorted(maps.Keys(problemCodes)) {
		all = append(all, problemCodes[status]...)
	}
	return all
}

// fieldCodes are all codes of fields, parameters and headers.
var fieldCodes = []fieldCode{
	invalid.Required, invalid.Null, invalid.Type, invalid.Blank, invalid.MaxLength, invalid.MinLength, invalid.MaxValue,
	invalid.MinValue,
	invalid.BadCharacter, invalid.Choice, invalid.Unknown, invalid.ReadOnly, invalid.NotExist, invalid.Unique,
	invalid.Repeated,
	auth.CodeReserved, auth.CodePasswordBlocked, codeUnknownParameter, codeUnsupportedHeader, codeInvalidCursor,
	codeCursorMismatch, codeQueryTooBroad,
}

const titleInvalid = "Invalid request"

const (
	codeInvalid           = "validation_failed"
	codeUnknownParameter  = "unknown_parameter"  // params: allowed
	codeUnsupportedHeader = "unsupported_header" // the header has no meaning here
	codeInvalidCursor     = "invalid_cursor"
	codeCursorMismatch    = "cursor_mismatch"
	codeQueryTooBroad     = "query_too_broad" // params: max, of words
)

// problemDocument is a problem on the wire (RFC 9457).
type problemDocument struct {
	Type      string         `json:"type" doc:"urn:khodnevis:problem: and the code."`
	Title     string         `json:"title" doc:"The kind of problem, for people."`
	Status    int            `json:"status" doc:"The status of the response."`
	Code      problemCode    `json:"code" doc:"The kind of problem, for programs."`
	Detail    string         `json:"detail" doc:"This problem, for people."`
	Instance  link           `json:"instance" doc:"The path of the request."`
	RequestID string         `json:"request_id" doc:"The X-Request-Id, which is also in the log."`
	Outcome   string         `json:"outcome,omitempty" enum:"not_accepted unknown" doc:"Of an unconfirmed write."`
	Errors    []fieldProblem `json:"errors,omitempty" doc:"What is wrong with each field, parameter or header."`
}

// fieldProblem is what is wrong with one field, parameter or header.
type fieldProblem struct {
	Pointer   string         `json:"pointer,omitempty" doc:"The place in the body, as a JSON pointer (RFC 6901)."`
	Field     string         `json:"field,omitempty" doc:"The member of the body."`
	Parameter string         `json:"parameter,omitempty" doc:"The parameter of the query."`
	Header    string         `json:"header,omitempty" doc:"The header of the request."`
	Code      fieldCode      `json:"code" doc:"What is wrong, for programs."`
	Detail    string         `json:"detail" doc:"What is wrong, for people."`
	Params    map[string]any `json:"params,omitempty" doc:"The numbers and names in detail, for translation."`
}

// fieldCode is one of fieldCodes.
type fieldCode string

var problemType = schemaType{name: "Problem", of: problemDocument{}}

// manyWords is the problem of a search.
var manyWords = fmt.Sprintf("A search may have at most %d different words and symbols.", content.MaxTerms)

var (
	problemNotFound  = &problem{status: 404, code: "not_found", title: "Not found", detail: "Not found."}
	problemForbidden = &problem{status: 403, code: "permission_denied", title: "Forbidden",
		detail: "You do not have permission to do this."}
	problemNotAcceptable = &problem{status: 406, code: "not_acceptable", title: "Not acceptable",
		detail: "Responses are application/json."}
	problemURLTooLong = &problem{status: 414, code: "uri_too_long", title: "URI too long",
		detail: fmt.Sprintf("The path and the query together may have at most %d bytes.", maxURL)}
	problemGone = &problem{status: 410, code: "task_expired", title: "Gone",
		detail: "Task results are kept for 24 hours."}
	problemDeleted = &problem{status: 410, code: "content_deleted", title: "Gone",
		detail: "An earlier request with this Idempotency-Key created a content that has been deleted since."}
	problemKeyReused = &problem{status: 422, code: "idempotency_key_reused", title: "Idempotency-Key reused",
		detail: "This Idempotency-Key was used with a different body."}
	problemConflict = &problem{status: 409, code: "conflict", title: "Conflict",
		detail: "The resource was changed at the same time. Read it again and retry."}
	problemUnstorable = &problem{status: 400, code: "unstorable", title: "Invalid request",
		detail: "The request has a value that cannot be stored."}
	problemManyWords = &problem{status: 400, code: codeQueryTooBroad, title: "Query too broad", detail: manyWords,
		errors: []fieldProblem{
			{Parameter: "search", Code: codeQueryTooBroad, Detail: manyWords,
				Params: map[string]any{"max": content.MaxTerms}}}}
	problemInternal = &problem{status: 500, code: "internal_error", title: "Internal error",
		detail: "The server failed. The request id identifies the error in its log."}
	problemBadLogin = unauthorized("invalid_login", "No active account has this username and password.",
		`Bearer realm="khodnevis"`)
)

func unauthorized(code, detail, challenge string) *problem {
	return &problem{status: 401, code: code, title: "Unauthorized", detail: detail,
		header: http.Header{"Www-Authenticate": {challenge}}}
}

func problemMethod(method, allow string) *problem {
	return &problem{status: 405, code: "method_not_allowed", title: "Method not allowed",
		detail: fmt.Sprintf("%s is not allowed here, only %s.", shorten(method), allow)}
}

// problemInvalid is about fields of the body, parameters or headers.
func problemInvalid(fields []fieldProblem) *problem {
	status, code, detail := invalid.Problem(len(fields))
	return &problem{status: status, code: code, title: titleInvalid, detail: detail, errors: fields}
}

// clientError is what the ValidationError and the Refusal of every domain package implement.
type clientError interface {
	error
	// Problem passes each field that is wrong to field.
	Problem(field func(name, code, detail string, params map[string]any)) (status int, code, detail string)
}

// problemOfClient returns the problem that err describes. Its fields are members of the body.
func problemOfClient(err clientError) *problem {
	p := &problem{}
	p.status, p.code, p.detail = err.Problem(func(name, code, detail string, params map[string]any) {
		p.errors = append(p.errors, fieldProblem{Pointer: pointer(name), Field: name, Code: fieldCode(code),
			Detail: detail, Params: params})
	})
	switch p.title = http.StatusText(p.status); {
	case p.code == codeInvalid:
		p.title = titleInvalid
	case p.title == "":
		p.title = "Refused"
	}
	if p.status == http.StatusTooManyRequests {
		p.retry = retryAfter()
	}
	return p
}

func problemUnavailable(outcome string) *problem {
	detail := "A dependency of the server does not respond. Try again later."
	if outcome == "unknown" {
		detail = "It is not known whether the write was accepted. It is safe to send it again."
	}
	return &problem{status: 503, code: "unavailable", title: "Unavailable", detail: detail, outcome: outcome,
		retry: retryAfter()}
}

// fullRetry is when to try again after a full disk: somebody has to make room first.
const fullRetry = 30 * time.Second

// until returns p with the time after which the cause may have ended.
func (p *problem) until(cause error) *problem {
	if errors.Is(cause, errs.ErrFull) {
		p.retry = fullRetry
	}
	return p
}

// retryAfter spreads retries over 1 to 5 seconds (jitter).
func retryAfter() time.Duration { return time.Duration(1+rand.IntN(5)) * time.Second }

// problemOf returns what the client may know of err, and whether err is worth a line in the log.
func problemOf(err error) (p *problem, log bool) {
	var (
		bad         clientError
		unavailable *rating.UnavailableError
	)
	switch {
	case errors.As(err, &p):
		return p, false
	case errors.As(err, &bad):
		return problemOfClient(bad), false
	case errors.Is(err, content.ErrNotFound), errors.Is(err, rating.ErrNotFound), errors.Is(err, auth.ErrNotFound):
		return problemNotFound, false
	case errors.Is(err, content.ErrForbidden), errors.Is(err, rating.ErrForbidden):
		return problemForbidden, false
	case errors.Is(err, rating.ErrExpired):
		return problemGone, false
	case errors.Is(err, content.ErrDeleted):
		return problemDeleted, false
	case errors.Is(err, content.ErrKeyReused):
		return problemKeyReused, false
	case errors.Is(err, content.ErrConflict), errors.Is(err, auth.ErrConflict):
		return problemConflict, true
	case errors.As(err, &unavailable):
		if unavailable.Unknown {
			return problemUnavailable("unknown").until(err), true
		}
		return problemUnavailable("not_accepted").until(err), true
	case errors.Is(err, errs.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return problemUnavailable("").until(err), true
	case errors.Is(err, errs.ErrUnstorable):
		return problemUnstorable, true // a rule of a domain package is missing
	}
	if p := userProblem(err); p != nil {
		return p, false
	}
	return problemInternal, true
}

// logFailure logs the cause of a problem.
func (c *call) logFailure(p *problem, err error) {
	level := slog.LevelWarn
	if p.status == http.StatusInternalServerError {
		level = slog.LevelError
	}
	c.cfg.Logger.LogAttrs(c.r.Context(), level, "httpapi: request failed", slog.Int("status", p.status),
		slog.String("method", shorten(c.r.Method)),
		slog.String("path", cut(c.r.URL.Path, 512)), slog.String("request_id", c.id), slog.String("error",
			cut(err.Error(), 4<<10)))
}

// writeProblem responds with p.
func (c *call) writeProblem(p *problem) {
	h := c.w.Header()
	for name, values := range p.header {
		h[name] = values
	}
	h.Set("Cache-Control", "no-store")
	h.Del("ETag")
	if p.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(seconds(p.retry)))
	}
	c.write(p.status, "application/problem+json", c.document(p))
}

// cut bounds a text of the client in the log. The slog.Handler escapes it.
func cut(s string, longest int) string {
	if len(s) > longest {
		return s[:longest] + "…"
	}
	return s
}

// instance returns the path as the client sent it, whatever the host has stripped. A path longer
// than that of any resource becomes the prefix, so that the response is not as long as the request.
func (c *call) instance() string {
	const longest = 1 << 10
	u, err := url.ParseRequestURI(c.r.RequestURI)
	if err != nil {
		u = c.r.URL // a host that makes requests by itself may leave the other one empty
	}
	if path := u.EscapedPath(); len(path) <= longest {
		return path
	}
	return c.cfg.Prefix
}

// document encodes p.
func (c *call) document(p *problem) []byte {
	doc := problemDocument{"urn:khodnevis:problem:" + p.code, p.title, p.status, problemCode(p.code), p.detail,
		link(c.instance()), c.id, p.outcome, p.errors}
	body, err := json.Marshal(doc)
	if err != nil {
		panic(err) // params are numbers, strings and lists of them
	}
	return body
}
