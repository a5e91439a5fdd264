package khodnevis_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/queue/memqueue"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store"
	"github.com/khodnevis/khodnevis/store/memstore"
)

// broken is a store whose circuit breaker is open, and which fails to write since brokenSince.
type broken struct{ store.Store }

var brokenSince = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func (broken) Down() bool              { return true }
func (broken) FailingSince() time.Time { return brokenSince }

// sound is a queue that accepts.
type sound struct{ *memqueue.Queue }

func (sound) FailingSince() time.Time { return time.Time{} }

func TestStats(t *testing.T) {
	t.Parallel()
	app, err := khodnevis.New(khodnevis.Config{Store: broken{memstore.New(memstore.Config{})},
		Queue: sound{memqueue.New(memqueue.Config{})}})
	if err != nil {
		t.Fatal(err)
	}
	film, err := app.Contents.Create(t.Context(), "ana", content.Draft{Title: "Stalker"})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/api/contents/", "/api/contents/", "/api/nowhere/"} {
		app.Handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, path,
			nil))
	}
	if _, err := app.Ratings.Submit(t.Context(), actor.Actor{User: "ben"}, rating.Submission{Content: film.ID,
		Score: 5}); err != nil {
		t.Fatal(err)
	}
	s := app.Stats()
	if s.Backlog.Messages != 1 || s.Backlog.Oldest < 0 || s.InFlight != 0 || s.Waiting != 0 {
		t.Errorf("%+v", s)
	}
	if want := map[int]int64{2: 2, 3: 0, 4: 1, 5: 0}; !maps.Equal(s.Responses, want) {
		t.Errorf("responses are %v, want %v", s.Responses, want)
	}
	if want := map[string]bool{"store": true}; !maps.Equal(s.OpenBreakers, want) {
		t.Errorf("open circuit breakers are %v, want %v", s.OpenBreakers, want)
	}
	if want := map[string]time.Time{"store": brokenSince, "queue": {}}; !maps.Equal(s.FailingSince, want) {
		t.Errorf("writing fails since %v, want %v", s.FailingSince, want)
	}
	w := httptest.NewRecorder()
	app.Metrics().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	for _, line := range []string{`khodnevis_failing_since_seconds{dependency="store"} 1772366400`,
		`khodnevis_failing_since_seconds{dependency="queue"} 0`} {
		if !strings.Contains(w.Body.String(), "\n"+line+"\n") {
			t.Errorf("no line %q in\n%s", line, w.Body)
		}
	}
	if want := map[string]int64{"malformed": 0, "invalid_score": 0, "does_not_exist": 0,
		"unstorable": 0}; !maps.Equal(s.DeadLetters, want) {
		t.Errorf("dead letters are %v, want %v", s.DeadLetters, want)
	}
}
