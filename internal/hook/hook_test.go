package hook_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/internal/errs"
	"github.com/khodnevis/khodnevis/internal/hook"
)

func before(t *testing.T, err error) error {
	t.Helper()
	return hook.Before(t.Context(), "test", func(context.Context) error { return err })
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	field := func(name, code, detail string, params map[string]any) []content.FieldError {
		return []content.FieldError{{Name: name, Code: code, Detail: detail, Params: params}}
	}
	for name, tt := range map[string]struct {
		given content.Refusal
		want  string // of status, code and detail; empty: it is no refusal
	}{
		"zero":    {content.Refusal{}, "422 refused This is refused."},
		"whole":   {content.Refusal{Status: 403, Code: "too_new", Detail: "Wait."}, "403 too_new Wait."},
		"lowest":  {content.Refusal{Status: 400}, "400 refused This is refused."},
		"highest": {content.Refusal{Status: 499}, "499 refused This is refused."},
		"longest code": {content.Refusal{Code: strings.Repeat("a", 64)}, "422 " + strings.Repeat("a", 64) +
			" This is refused."},
		"success":            {content.Refusal{Status: 200}, ""},
		"below":              {content.Refusal{Status: 399}, ""},
		"above":              {content.Refusal{Status: 500}, ""},
		"without challenge":  {content.Refusal{Status: 401}, ""},
		"code with capitals": {content.Refusal{Code: "TooNew"}, ""},
		"code with a digit":  {content.Refusal{Code: "9lives"}, ""},
		"code with blanks":   {content.Refusal{Code: "too new"}, ""},
		"long code":          {content.Refusal{Code: strings.Repeat("a", 65)}, ""},
		"a field": {content.Refusal{Fields: field("title", "spoiler", "No.", map[string]any{"word": "x"})},
			"422 refused This is refused."},
		"a field of no name": {content.Refusal{Fields: field("", "spoiler", "No.", nil)}, ""},
		"a field's bad code": {content.Refusal{Fields: field("title", "", "No.", nil)}, ""},
		"a field of no text": {content.Refusal{Fields: field("title", "spoiler", "", nil)}, ""},
		"a field of no JSON": {content.Refusal{Fields: field("title", "spoiler", "No.", map[string]any{"f": func() {}})},
			""},
	} {
		err := before(t, fmt.Errorf("the host: %w", &tt.given))
		var refused *content.Refusal
		if errors.As(err, &refused) != (tt.want != "") {
			t.Errorf("%s: %v", name, err)
		} else if refused != nil && fmt.Sprint(refused.Status, " ", refused.Code, " ", refused.Detail) != tt.want {
			t.Errorf("%s: %v, want %s", name, refused, tt.want)
		}
	}
	if err := before(t, (*content.Refusal)(nil)); err == nil || errors.As(err, new(*content.Refusal)) {
		t.Errorf("a nil pointer: %v", err)
	}
}

func TestRefusalIsNotChanged(t *testing.T) {
	t.Parallel()
	shared := &content.Refusal{} // a host may return the same one to all
	if err := before(t, shared); err == nil || shared.Status != 0 || shared.Code != "" {
		t.Errorf("%v left %+v", err, shared)
	}
}

// What a host's function fails with must not pass for this module's own.
func TestErrorsLoseTheirKind(t *testing.T) {
	t.Parallel()
	own := errors.New("not found")
	if err := before(t, own); err == nil || errors.Is(err, own) || !strings.Contains(err.Error(), "not found") {
		t.Errorf("an error: %v", err)
	}
	err := before(t, errors.Join(own, errs.ErrUnavailable))
	if !errors.Is(err, errs.ErrUnavailable) || errors.Is(err, own) {
		t.Errorf("unavailability: %v", err)
	}
	if err := before(t, nil); err != nil {
		t.Errorf("nothing: %v", err)
	}
}

func TestAfter(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// it has time, though the client is gone
	hook.After(ctx, log, "test", func(ctx context.Context) error { return ctx.Err() })
	if out.Len() > 0 {
		t.Errorf("logged: %s", &out)
	}
	hook.After(ctx, log, "test", func(context.Context) error { panic("boom") })
	if !strings.Contains(out.String(), "hook=test") || !strings.Contains(out.String(), "boom") {
		t.Errorf("the log is %q", &out)
	}
}

// The context of a hook ends after 2 s, or with the request if that is sooner. The hook runs in the
// goroutine of the caller, whose wait lasts as long as the hook.
func TestDeadlines(t *testing.T) {
	t.Parallel()
	kinds := map[string]func(context.Context, func(context.Context) error) error{
		"before": func(ctx context.Context, f func(context.Context) error) error { return hook.Before(ctx, "test", f) },
		"after": func(ctx context.Context, f func(context.Context) error) error {
			hook.After(ctx, slog.New(slog.DiscardHandler), "test", f)
			return nil
		},
	}
	for name, call := range kinds {
		for _, request := range []time.Duration{time.Second, time.Minute} {
			t.Run(fmt.Sprint(name, request), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					ctx, cancel := context.WithTimeout(t.Context(), request)
					defer cancel()
					want := min(request, 2*time.Second)
					began := time.Now()
					err := call(ctx, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
					if took := time.Since(began); took != want {
						t.Errorf("a hook that heeds its context took %v, want %v", took, want)
					}
					if name == "before" && !errors.Is(err, errs.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("a hook that heeds its context: %v", err)
					}
					began = time.Now()
					if err := call(ctx, func(context.Context) error { time.Sleep(time.Hour); return nil }); err != nil ||
						time.Since(began) != time.Hour {
						t.Errorf("a hook that ignores its context: %v after %v", err, time.Since(began))
					}
				})
			})
		}
	}
}
