package auth

import (
	"context"
	"errors"
	"net/http"

	"github.com/khodnevis/khodnevis/internal/outage"
)

var (
	// ErrNoCredentials says that a request carries no credentials at all.
	ErrNoCredentials = errors.New("auth: no credentials")
	// ErrInvalidCredentials says that the credentials of a request are not, or no longer, good.
	ErrInvalidCredentials = errors.New("auth: invalid credentials")
	// ErrUnavailable says that credentials cannot be checked, or nothing be stored, at the moment. It is the same value as the
	// other packages' ErrUnavailable.
	ErrUnavailable = outage.Err
)

// Principal is who makes a request.
type Principal struct {
	// Subject is the user's identifier: 1 to 128 bytes of [A-Za-z0-9_.@|=+-].
	Subject string
	// Staff may moderate.
	Staff bool
	// Session is the identifier of the session that the request belongs to, or empty.
	Session string
}

// Authenticator finds out who makes a request. Authenticate may be called concurrently. It returns ErrNoCredentials for a request
// without any (an anonymous one), ErrInvalidCredentials for one with wrong or outdated ones, and ErrUnavailable when it cannot
// tell; any other error counts as a failure of the server. It reads the request's header only, never its body.
type Authenticator interface {
	Authenticate(ctx context.Context, r *http.Request) (Principal, error)
}
