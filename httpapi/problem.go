package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/internal/invalid"
	"github.com/khodnevis/khodnevis/internal/outage"
	"github.com/khodnevis/khodnevis/rating"
)

// problem is an error with everything that the client may know about it.
type problem struct {
	status  int
	code    string // stable; also the last part of the type
	title   string
	detail  string
	errors  []fieldProblem
	outcome string // of a write whose queue did not take it
	retry   time.Duration
	header  http.Header
}

func (p *problem) Error() string {
	return fmt.Sprintf("httpapi: %d %s: %s", p.status, p.code, p.detail)
}

// fieldProblem is one thing that is wrong with what was sent.
type fieldProblem struct {
	Pointer   string         `json:"pointer,omitempty"`
	Field     string         `json:"field,omitempty"`
	Parameter string         `json:"parameter,omitempty"`
	Header    string         `json:"header,omitempty"`
	Code      string         `json:"code"`
	Detail    string         `json:"detail"`
	Params    map[string]any `json:"params,omitempty"`
}

var (
	problemNotFound      = &problem{status: 404, code: "not_found", title: "Not found", detail: "There is nothing here, or nothing that you may know of."}
	problemForbidden     = &problem{status: 403, code: "permission_denied", title: "Forbidden", detail: "You may not do this."}
	problemNotAcceptable = &problem{status: 406, code: "not_acceptable", title: "Not acceptable", detail: "Answers are application/json."}
	problemURLTooLong    = &problem{status: 414, code: "uri_too_long", title: "URI too long", detail: fmt.Sprintf("The path and the query may have %d bytes together.", maxURL)}
	problemGone          = &problem{status: 410, code: "task_expired", title: "Gone", detail: "Tasks can be asked for during 24 hours."}
	problemConflict      = &problem{status: 409, code: "conflict", title: "Conflict", detail: "Others changed this at the same time. Read it again and retry."}
	problemInternal      = &problem{status: 500, code: "internal_error", title: "Internal error", detail: "The server failed. The request id names the entry in its log."}
	problemNoCredentials = unauthorized("not_authenticated", "Credentials are missing: send Authorization: Bearer with an access token.", `Bearer realm="khodnevis"`)
	problemBadToken      = unauthorized("invalid_token", "The token is wrong, expired or revoked.", `Bearer realm="khodnevis", error="invalid_token"`)
	problemBadLogin      = unauthorized("invalid_login", "There is no active account with this username and password.", `Bearer realm="khodnevis"`)
)

func unauthorized(code, detail, challenge string) *problem {
	return &problem{status: 401, code: code, title: "Unauthorized", detail: detail, header: http.Header{"Www-Authenticate": {challenge}}}
}

func problemMethod(method, allow string) *problem {
	return &problem{status: 405, code: "method_not_allowed", title: "Method not allowed", detail: fmt.Sprintf("%s is not allowed here, only %s.", shorten(method), allow)}
}

// problemInvalid is about fields of the body, parameters or headers.
func problemInvalid(fields []fieldProblem) *problem {
	detail := "1 field is invalid."
	if len(fields) != 1 {
		detail = fmt.Sprintf("%d fields are invalid.", len(fields))
	}
	return &problem{status: 400, code: "validation_failed", title: "Invalid request", detail: detail, errors: fields}
}

// inBody says where a domain's field stands in the body.
func inBody(f invalid.Field) fieldProblem {
	return fieldProblem{Pointer: "#/" + f.Name, Field: f.Name, Code: f.Code, Detail: f.Detail, Params: f.Params}
}

func problemUnavailable(outcome string) *problem {
	detail := "Something that this needs does not answer. Try again later."
	if outcome == "unknown" {
		detail = "The write may or may not have been accepted. Sending it again is safe."
	}
	return &problem{status: 503, code: "unavailable", title: "Unavailable", detail: detail, outcome: outcome, retry: retryAfter()}
}

// retryAfter spreads the clients of an outage over 1 to 5 seconds.
func retryAfter() time.Duration { return time.Duration(1+rand.IntN(5)) * time.Second }

// problemOf says what the client may know of err. It reports whether the rest is worth a line in the log.
func problemOf(err error) (p *problem, log bool) {
	var (
		bad         *invalid.Error
		unavailable *rating.UnavailableError
	)
	switch {
	case errors.As(err, &p):
		return p, false
	case errors.As(err, &bad):
		fields := make([]fieldProblem, len(bad.Fields))
		for i, f := range bad.Fields {
			fields[i] = inBody(f)
		}
		return problemInvalid(fields), false
	case errors.Is(err, content.ErrNotFound), errors.Is(err, rating.ErrNotFound), errors.Is(err, auth.ErrNotFound):
		return problemNotFound, false
	case errors.Is(err, content.ErrForbidden), errors.Is(err, rating.ErrForbidden):
		return problemForbidden, false
	case errors.Is(err, rating.ErrExpired):
		return problemGone, false
	case errors.Is(err, content.ErrConflict), errors.Is(err, auth.ErrConflict):
		return problemConflict, true
	case errors.As(err, &unavailable):
		if unavailable.Unknown {
			return problemUnavailable("unknown"), true
		}
		return problemUnavailable("not_accepted"), true
	case errors.Is(err, outage.Err), errors.Is(err, context.DeadlineExceeded):
		return problemUnavailable(""), true
	}
	if p := userProblem(err); p != nil {
		return p, false
	}
	return problemInternal, true
}

// fail answers with the problem that err stands for.
func (c *call) fail(err error) {
	p, log := problemOf(err)
	if errors.Is(err, context.Canceled) && c.r.Context().Err() != nil {
		log = false // the client is gone
	}
	if log {
		level := slog.LevelWarn
		if p.status == http.StatusInternalServerError {
			level = slog.LevelError
		}
		c.cfg.Logger.LogAttrs(c.r.Context(), level, "httpapi: request failed", slog.Int("status", p.status), slog.String("method", c.r.Method),
			slog.String("path", c.r.URL.Path), slog.String("request_id", c.id), slog.Any("error", err))
	}
	if c.w.begun {
		return
	}
	h := c.w.Header()
	for name, values := range p.header {
		h[name] = values
	}
	h.Set("Cache-Control", "no-store")
	h.Del("ETag")
	if p.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(int((p.retry+time.Second-1)/time.Second)))
	}
	c.write(p.status, "application/problem+json", c.document(p))
}

// instance is the path as the client sent it, whatever the host has stripped off it. A path that is longer than that of any
// resource is cut to the prefix, so that an answer is not as long as the question.
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

// document encodes p in the order that people read it in.
func (c *call) document(p *problem) []byte {
	doc := struct {
		Type      string         `json:"type"`
		Title     string         `json:"title"`
		Status    int            `json:"status"`
		Code      string         `json:"code"`
		Detail    string         `json:"detail"`
		Instance  string         `json:"instance"`
		RequestID string         `json:"request_id"`
		Outcome   string         `json:"outcome,omitempty"`
		Errors    []fieldProblem `json:"errors,omitempty"`
	}{"urn:khodnevis:problem:" + p.code, p.title, p.status, p.code, p.detail, c.instance(), c.id, p.outcome, p.errors}
	body, err := json.Marshal(doc)
	if err != nil {
		panic(err) // params are numbers, strings and lists of them
	}
	return body
}
