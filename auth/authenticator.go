package auth

import (
	"context"
	"errors"
	"net/http"

	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/internal/errs"
	"github.com/khodnevis/khodnevis/internal/id"
)

var (
	// ErrNoCredentials says that a request carries no credentials at all.
	ErrNoCredentials = errors.New("auth: no credentials")
	// ErrInvalidCredentials says that the credentials of a request are not, or no longer, good.
	ErrInvalidCredentials = errors.New("auth: invalid credentials")
	// ErrUnavailable says that credentials cannot be checked, or nothing be stored, at the moment.
	// It is the same value as the other packages' ErrUnavailable.
	ErrUnavailable = errs.ErrUnavailable
	// ErrUnstorable says that the store will never take what it was given, however often it is
	// tried: it breaks a rule of the database that no rule of this package covers. It is the same
	// value as the other packages' ErrUnstorable.
	ErrUnstorable = errs.ErrUnstorable
)

// Principal is who makes a request.
type Principal struct {
	// Subject is the user's identifier: 1 to 128 bytes of [A-Za-z0-9_.@|=+-], and not "." or "..".
	Subject string
	// Staff may moderate.
	Staff bool
	// Session is the identifier of the session that the request belongs to, or empty.
	Session string
}

// Actor returns the user who acts in the request, as packages content and rating take it.
func (p Principal) Actor() actor.Actor { return actor.Actor{User: p.Subject, Staff: p.Staff} }

// Authenticator finds out who makes a request. Authenticate may be called concurrently. It returns
// ErrNoCredentials for a request without any (an anonymous one), ErrInvalidCredentials for one with
// wrong or outdated ones, and ErrUnavailable when it cannot tell; any other error counts as a
// failure of the server. An error is one of the three at most, and with an error the Principal is
// zero. Whatever a client sends instead of credentials, junk of any length included, is none or
// wrong ones: never a failure.
//
// The Subject of a user is the same in every request, and no other user's.
//
// Authenticate reads the request's header only, never its body, and leaves the request as it is. It
// returns soon after ctx is done; that time ran out does not make good credentials wrong or
// missing.
//
// Package authtest is the suite for implementations.
type Authenticator interface {
	Authenticate(ctx context.Context, r *http.Request) (Principal, error)
}

// Scheme is how users prove who they are, as clients are told.
type Scheme struct {
	// Challenge is the WWW-Authenticate header of a 401, such as `Session realm="blog"` (RFC 9110,
	// section 11.6.1).
	Challenge string
	// Cookie or Header is the name of what carries the credentials, for the OpenAPI document; one
	// of them is set.
	Cookie, Header string
}

// Schemer is optional: an Authenticator that takes something else than the header Authorization
// with a bearer token. Of any other one clients are told that it takes that.
type Schemer interface {
	// Scheme returns always the same.
	Scheme() Scheme
}

// ValidSubject reports whether s can be the Subject of a Principal.
func ValidSubject(s string) bool { return id.Valid(s) }
