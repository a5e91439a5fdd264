package httpapi_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/internal/testutil"
)

// L8: a request that fails is one line in the log, escaped and bounded, whatever was sent.
func TestLogLines(t *testing.T) {
	t.Parallel()
	f := &faults{}
	s := serve(t, setup{config: f.into})
	for name, fault := range map[string]any{
		"an error": errors.New("line\r\nlevel=ERROR msg=forged " + strings.Repeat("x", 100_000)),
		"a panic":  "line\r\nlevel=ERROR msg=forged",
	} {
		f.read.Store(fault)
		before := len(f.log.String())
		s.do(t, request{path: "contents/?search=a%0d%0aforged", faulty: true})
		f.read.Store(nil)
		text := f.log.String()[before:]
		if n := strings.Count(text, "\n"); n != 1 || len(text) > 6<<10 || strings.Contains(text, "\r") {
			t.Errorf("%s: %d lines of %d bytes:\n%.2000s", name, n, len(text), text)
		}
	}
}

// brokenCache answers nothing and takes nothing.
type brokenCache struct{ cache.Cache }

var errBroken = errors.New("connection refused")

func (brokenCache) GetMany(context.Context, []string) (map[string]cache.Item, error) {
	return nil, errBroken
}
func (brokenCache) SetMany(context.Context, []cache.Item) error { return errBroken }
func (brokenCache) DeleteMany(context.Context, []string) error  { return errBroken }

// L8: a cache that is down is told once a minute by each place that notices, not with every
// request.
func TestSilentCacheIsLoggedRarely(t *testing.T) {
	t.Parallel()
	log := &testutil.Log{}
	s := serve(t, setup{config: func(c *khodnevis.Config) {
		c.Cache, c.Logger = brokenCache{}, slog.New(slog.NewTextHandler(log, nil))
	}})
	id := s.write(t, "Stalker")
	for range 50 {
		s.repeat(t, 1, rates(ada, id, ""), 202)
		s.repeat(t, 1, request{path: "contents/" + id + "/"}, 200)
		s.repeat(t, 1, request{method: "DELETE", path: "contents/" + s.write(t, "Solaris") + "/", as: ada}, 204)
	}
	for _, msg := range []string{"content: cache does not", "rating: the cache does not answer",
		"rating: the cache accepts no writes"} {
		if n := strings.Count(log.String(), msg); n < 1 || n > 6 { // the service, the worker and the job have a place each
			t.Errorf("%q is logged %d times", msg, n)
		}
	}
}
