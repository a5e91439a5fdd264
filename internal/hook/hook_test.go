package hook_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/khodnevis/khodnevis/internal/errs"
	"github.com/khodnevis/khodnevis/internal/hook"
	"github.com/khodnevis/khodnevis/internal/invalid"
)

func before(t *testing.T, err error) error {
	t.Helper()
	return hook.NewRunner(slog.New(slog.DiscardHandler)).Before(t.Context(), "test", func(context.Context) error { return err })
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	field := func(name, code, detail string, params map[string]any) []invalid.Field {
		return []invalid.Field{{Name: name, Code: code, Detail: detail, Params: params}}
	}
	for name, tt := range map[string]struct {
		given hook.Refusal
		want  string // of status, code and detail; empty: it is no refusal
	}{
		"zero":               {hook.Refusal{}, "422 refused This is refused."},
		"whole":              {hook.Refusal{Status: 403, Code: "too_new", Detail: "Wait."}, "403 too_new Wait."},
		"lowest":             {hook.Refusal{Status: 400}, "400 refused This is refused."},
		"highest":            {hook.Refusal{Status: 499}, "499 refused This is refused."},
		"longest code":       {hook.Refusal{Code: strings.Repeat("a", 64)}, "422 " + strings.Repeat("a", 64) + " This is refused."},
		"success":            {hook.Refusal{Status: 200}, ""},
		"below":              {hook.Refusal{Status: 399}, ""},
		"above":              {hook.Refusal{Status: 500}, ""},
		"without challenge":  {hook.Refusal{Status: 401}, ""},
		"code with capitals": {hook.Refusal{Code: "TooNew"}, ""},
		"code with a digit":  {hook.Refusal{Code: "9lives"}, ""},
		"code with blanks":   {hook.Refusal{Code: "too new"}, ""},
		"long code":          {hook.Refusal{Code: strings.Repeat("a", 65)}, ""},
		"a field":            {hook.Refusal{Fields: field("title", "spoiler", "No.", map[string]any{"word": "x"})}, "422 refused This is refused."},
		"a field of no name": {hook.Refusal{Fields: field("", "spoiler", "No.", nil)}, ""},
		"a field's bad code": {hook.Refusal{Fields: field("title", "", "No.", nil)}, ""},
		"a field of no text": {hook.Refusal{Fields: field("title", "spoiler", "", nil)}, ""},
		"a field of no JSON": {hook.Refusal{Fields: field("title", "spoiler", "No.", map[string]any{"f": func() {}})}, ""},
	} {
		err := before(t, fmt.Errorf("the host: %w", &tt.given))
		var refused *hook.Refusal
		if errors.As(err, &refused) != (tt.want != "") {
			t.Errorf("%s: %v", name, err)
		} else if refused != nil && fmt.Sprint(refused.Status, " ", refused.Code, " ", refused.Detail) != tt.want {
			t.Errorf("%s: %v, want %s", name, refused, tt.want)
		}
	}
	if err := before(t, (*hook.Refusal)(nil)); err == nil || errors.As(err, new(*hook.Refusal)) {
		t.Errorf("a nil pointer: %v", err)
	}
}

func TestRefusalIsNotChanged(t *testing.T) {
	t.Parallel()
	shared := &hook.Refusal{} // a host may return the same one to all
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
	if err := before(t, errors.Join(own, errs.Unavailable)); !errors.Is(err, errs.Unavailable) || errors.Is(err, own) {
		t.Errorf("unavailability: %v", err)
	}
	if err := before(t, nil); err != nil {
		t.Errorf("nothing: %v", err)
	}
	var log bytes.Buffer
	r := hook.NewRunner(slog.New(slog.NewTextHandler(&log, nil)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.After(ctx, "test", func(ctx context.Context) error { return ctx.Err() }) // it has time, though the client is gone
	if log.Len() > 0 {
		t.Errorf("logged: %s", &log)
	}
	r.After(ctx, "test", func(context.Context) error { panic("boom") })
	if !strings.Contains(log.String(), "hook=test") || !strings.Contains(log.String(), "boom") {
		t.Errorf("the log is %q", &log)
	}
}
