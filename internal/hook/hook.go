// Package hook runs the functions of a host that take part in the work of a service, and holds the
// error with which they refuse. The domain packages export the error under their own names, so that
// hosts never need this package.
package hook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/khodnevis/khodnevis/internal/deadline"
	"github.com/khodnevis/khodnevis/internal/errs"
	"github.com/khodnevis/khodnevis/internal/hostcall"
	"github.com/khodnevis/khodnevis/internal/invalid"
)

const (
	// Timeout is how long the work waits for a hook.
	Timeout = 2 * time.Second
	// places is how many hooks of one service run at once, those included that nobody waits for any
	// more.
	places = 256
	// maxCode is the greatest length of a Refusal's Code.
	maxCode = 64
)

// Refusal is the error with which a before-hook says no. Its text goes to the client as it is. Its
// zero value is usable.
type Refusal struct {
	// Status is the answer's, 400 to 499 but 401. Default 422.
	Status int
	// Code is what clients switch on: a lower case letter, then up to 63 of [a-z0-9_]. Default
	// "refused".
	Code string
	// Detail is an English sentence for people. Default "This is refused."
	Detail string
	// Fields are what is wrong with which field; see Add. None: it is the whole that is refused.
	Fields []invalid.Field
}

// Error implements error.
func (r *Refusal) Error() string {
	return fmt.Sprintf("refused: %d %s: %s", r.Status, r.Code, r.Detail)
}

// Add records a field that is wrong: its name, as in the body, a code and a sentence like the
// Refusal's, and the numbers and names in that sentence.
func (r *Refusal) Add(name, code, detail string, params map[string]any) {
	r.Fields = append(r.Fields, invalid.Field{Name: name, Code: code, Detail: detail, Params: params})
}

// whole returns r with its defaults, or an error that is no refusal if clients could make nothing
// of it.
func (r *Refusal) whole() error {
	if r == nil {
		return errors.New("a refusal is a nil pointer, which is not a nil error")
	}
	w := *r
	if w.Status == 0 {
		w.Status = 422
	}
	if w.Code == "" {
		w.Code = "refused"
	}
	if w.Detail == "" {
		w.Detail = "This is refused."
	}
	if w.Status < 400 || w.Status > 499 || w.Status == 401 {
		return fmt.Errorf("a refusal has the status %d", w.Status)
	}
	if !validCode(w.Code) {
		return fmt.Errorf("a refusal has the code %q", w.Code)
	}
	for _, f := range w.Fields {
		if f.Name == "" || f.Detail == "" || !validCode(f.Code) {
			return fmt.Errorf("a refusal has the field %+v", f)
		}
		if _, err := json.Marshal(f.Params); err != nil {
			return fmt.Errorf("a refusal has a field %s that cannot be encoded: %s", f.Name, err.Error())
		}
	}
	return &w
}

func validCode(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (i == 0 || (c < '0' || c > '9') && c != '_') {
			return false
		}
	}
	return s != "" && len(s) <= maxCode
}

// Runner runs the hooks of one service.
type Runner struct {
	room *hostcall.Limiter
	log  *slog.Logger
}

// NewRunner returns a Runner that tells log what after-hooks do wrong.
func NewRunner(log *slog.Logger) *Runner { return &Runner{room: hostcall.NewLimiter(places), log: log} }

// Before runs a hook that may refuse. The error is nil, a *Refusal, one that wraps
// errs.Unavailable, or one of no kind at all: what a host's function failed with must not pass for
// a failure of the service.
func (r *Runner) Before(ctx context.Context, name string, f func(context.Context) error) error {
	err := r.room.Do(ctx, Timeout, f)
	var refused *Refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused):
		if err = refused.whole(); errors.As(err, &refused) {
			return refused
		}
	case errors.Is(err, errs.Unavailable):
		return fmt.Errorf("hook %s: %w: %s", name, errs.Unavailable, err.Error())
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return fmt.Errorf("hook %s: %s", name, err.Error())
}

// After runs a hook that is told what has happened. Nothing that it does changes that, so its
// failures are logged. The end of ctx does not reach the hook, but After waits for the hook no
// longer than until the deadline of ctx.
func (r *Runner) After(ctx context.Context, name string, f func(context.Context) error) {
	wait, cancel := deadline.Keep(ctx)
	defer cancel()
	ctx = context.WithoutCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := r.room.Do(ctx, Timeout, f); err != nil {
			r.log.ErrorContext(ctx, "a hook failed after the fact", "hook", name, "error", err)
		}
	}()
	select {
	case <-done:
	case <-wait.Done():
	}
}
