package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestClientKeepsTrying(t *testing.T) {
	t.Parallel()
	type step struct {
		status int
		body   string
	}
	for name, tc := range map[string]struct {
		first    step // what comes before a 202
		key      string
		status   int
		attempts int
		unsure   bool
	}{
		"not accepted":         {step{503, `{"outcome":"not_accepted"}`}, "", 202, 2, false},
		"unknown":              {step{503, `{"outcome":"unknown"}`}, "", 202, 2, true},
		"no word of outcome":   {step{503, ``}, "", 202, 2, true},
		"internal error":       {step{500, `{}`}, "", 202, 2, true},
		"bad gateway":          {step{502, `<html>`}, "", 202, 2, true},
		"limited":              {step{429, `{}`}, "", 202, 2, false},
		"cut":                  {step{0, ``}, "", 202, 2, true},
		"key in flight":        {step{409, `{}`}, "k", 202, 2, false},
		"conflict":             {step{409, `{}`}, "", 409, 1, false},
		"a redirect":           {step{301, ``}, "", 301, 1, false},
		"a definite no":        {step{400, `{}`}, "", 400, 1, false},
		"a no without account": {step{401, `{}`}, "", 401, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			steps := make(chan step, 2)
			steps <- tc.first
			steps <- step{202, `{}`}
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s := <-steps
				if r.Header.Get("Idempotency-Key") != tc.key || r.Header.Get("Content-Type") != "application/json" {
					s = step{status: 422}
				}
				if s.status == 0 {
					panic(http.ErrAbortHandler)
				}
				w.Header().Set("Location", "/elsewhere/")
				w.WriteHeader(s.status)
				_, _ = w.Write([]byte(s.body))
			}))
			defer srv.Close()
			c := newClient([]string{srv.URL + "/"}, 1, time.Minute)
			a, err := c.do(t.Context(), request{method: http.MethodPost, path: "x/", body: "y", idempotencyKey: tc.key})
			if err != nil {
				t.Fatal(err)
			}
			if a.status != tc.status || a.attempts != tc.attempts || a.unsure != tc.unsure {
				t.Errorf("status %d in %d attempts, unsure %v; want %d, %d, %v", a.status, a.attempts, a.unsure, tc.status,
					tc.attempts, tc.unsure)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]time.Duration{"": 0, "3": 3 * time.Second, "-1": 0, "99999999999": maxRetryAfter,
		"soon": 0} {
		if got := retryAfter(http.Header{"Retry-After": {value}}); got != want {
			t.Errorf("Retry-After %q is %v, want %v", value, got, want)
		}
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	for _, bar := range []bool{true, false} {
		var out bytes.Buffer
		shown := make(chan struct{}, 1)
		p := &progress{out: &out, bar: bar, every: time.Millisecond, trouble: func() string {
			select {
			case shown <- struct{}{}:
			default:
			}
			return "a\nlong trouble " + strings.Repeat("x", 200)
		}}
		ph := p.phase("ratings", 2000)
		ph.done.Add(1000)
		<-shown // the call at the start
		<-shown
		ph.end()
		got := out.String()
		if !strings.Contains(got, "1,000 / 2,000") || !strings.Contains(got, "again: a long") ||
			!strings.HasSuffix(got, "\n") {
			t.Errorf("bar %v: %q", bar, got)
		}
		if bar != strings.Contains(got, "[###############...............]") {
			t.Errorf("bar %v: %q", bar, got)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -123: "-123", -1234567: "-1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("thousands(%d) = %q, want %q", n, got, want)
		}
	}
}
