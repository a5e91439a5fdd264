package httpapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/internal/hostcall"
)

const (
	// hostTimeout is how long a request waits for the host's authenticator.
	hostTimeout = 2 * time.Second
	// maxHostCalls bounds the calls of the host's authenticator that run at once, those included
	// whose request has given up.
	maxHostCalls = 1024
)

// hostUsers calls a host's authenticator, which may hang or panic.
type hostUsers struct {
	auth.Authenticator
	room *hostcall.Limiter
}

// Authenticate implements auth.Authenticator.
func (h hostUsers) Authenticate(ctx context.Context, r *http.Request) (auth.Principal, error) {
	answer := make(chan auth.Principal, 1) // not a variable: a late answer must not race with a read
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
