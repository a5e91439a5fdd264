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
