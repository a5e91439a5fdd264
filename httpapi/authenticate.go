package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/internal/hostcall"
)

const (
	// hostTimeout is how long a request waits for the host's authenticator.
	hostTimeout = 2 * time.Second
	// maxHostCalls is how many calls of the host's authenticator run at once, those included that
	// nobody waits for any more.
	maxHostCalls = 1024
)

// hostUsers is a host's authenticator: nobody knows how it behaves.
type hostUsers struct {
	auth.Authenticator
	room *hostcall.Limiter
}

// Authenticate implements auth.Authenticator.
func (h hostUsers) Authenticate(ctx context.Context, r *http.Request) (auth.Principal, error) {
	answer := make(chan auth.Principal, 1) // not a variable: who answers too late must not write where somebody reads
	err := h.room.Do(ctx, hostTimeout, func(ctx context.Context) error {
		who, err := h.Authenticator.Authenticate(ctx, r.WithContext(ctx))
		answer <- who
		return err
	})
	var panicked *hostcall.PanicError
	if errors.As(err, &panicked) {
		if v, ok := panicked.Value.(error); ok && errors.Is(v, http.ErrAbortHandler) {
			panic(http.ErrAbortHandler) // on the goroutine where it drops the connection
		}
	}
	if err != nil {
		return auth.Principal{}, err
	}
	return <-answer, nil
}

// authenticate finds out who calls. Errors that package auth does not name are failures of the
// server, whatever they wrap.
func (c *call) authenticate(p policy) error {
	who, err := c.cfg.Authenticator.Authenticate(c.r.Context(), c.r)
	var busy *auth.BusyError
	switch {
	case err == nil && !auth.ValidSubject(who.Subject):
		return fmt.Errorf("httpapi: the authenticator returned the subject %q, which is no identifier", who.Subject)
	case err == nil:
		c.who = who
		return nil
	case errors.As(err, &busy):
		return busy
	case errors.Is(err, auth.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("httpapi: authenticate: %w: %s", auth.ErrUnavailable, err.Error())
	case errors.Is(err, auth.ErrNoCredentials):
		if p == public {
			return nil
		}
		return c.scheme.missing
	case errors.Is(err, auth.ErrInvalidCredentials):
		return c.scheme.wrong
	case c.r.Context().Err() != nil: // the client is gone
		return c.r.Context().Err()
	}
	return fmt.Errorf("httpapi: authenticate: %s", err.Error()) // its kind is lost, its text is for the log
}
