package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/rating"
)

// moderation is what a host's before-hooks do, by a word that the title has or by the score.
func moderation(_ context.Context, word string) error {
	switch {
	case strings.Contains(word, "refused"):
		return &content.Refusal{}
	case strings.Contains(word, "spoiler"):
		r := &content.Refusal{Status: 400, Code: "spoiler", Detail: "Do not tell how it ends."}
		r.Add("title", "spoiler_word", "This word tells how it ends.", map[string]any{"word": "dies"})
		return fmt.Errorf("moderation: %w", r)
	case strings.Contains(word, "often"):
		return &content.Refusal{Status: 429, Code: "too_often", Detail: "One a day."}
	case strings.Contains(word, "closed"):
		return &content.Refusal{Status: 403, Code: "closed", Detail: "It is closed."}
	case strings.Contains(word, "down"):
		return fmt.Errorf("moderation at 10.0.0.1: %w", content.ErrUnavailable)
	case strings.Contains(word, "missing"):
		return content.ErrNotFound
	case strings.Contains(word, "broken"):
		return &content.Refusal{Status: 302}
	case strings.Contains(word, "fails"):
		return errors.New("sql: moderation")
	case strings.Contains(word, "panics"):
		panic("moderation")
	}
	return nil
}

// byScore has a word for each score.
var byScore = map[int]string{1: "closed", 2: "down", 3: "panics", 4: "often"}

func moderated(c *khodnevis.Config) {
	c.Hooks = khodnevis.Hooks{
		Contents: content.Hooks{
			BeforeCreate: func(ctx context.Context, c content.Content) error { return moderation(ctx, c.Title) },
			BeforeUpdate: func(ctx context.Context, _ actor.Actor, _, changed content.Content) error {
				return moderation(ctx, changed.Title)
			},
			BeforeDelete: func(ctx context.Context, _ actor.Actor, c content.Content) error {
				return moderation(ctx, c.Description)
			},
			AfterCreate: func(context.Context, content.Content) error { panic("after") },
			AfterUpdate: func(context.Context, actor.Actor, content.Content, content.Content) error {
				return errors.New("after")
			},
			AfterDelete: func(context.Context, actor.Actor, content.Content) error { return &content.Refusal{} },
		},
		Ratings: rating.Hooks{
			BeforeSubmit: func(ctx context.Context, _ actor.Actor, sub rating.Submission) error {
				return moderation(ctx, byScore[sub.Score])
			},
			BeforeWithdraw: func(context.Context, actor.Actor, rating.Key) error {
				return &rating.Refusal{Status: 409, Code: "final", Detail: "Ratings are final."}
			},
		},
	}
}

// TestHooks: what before-hooks say becomes the answer and nothing is written; what after-hooks do
// changes no answer.
func TestHooks(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		f := &faults{}
		s := serve(t, setup{open: open, config: func(c *khodnevis.Config) {
			f.into(c)
			moderated(c)
		}})
		contentID := s.write(t, "A film")
		closed := s.do(t, request{method: "POST", path: "contents/", as: ada, body: `{"title":"t","description":"closed"}`})
		if closed.status != 201 || closed.header.Get("Location") == "" {
			t.Fatalf("a panic after the fact: %s", closed)
		}
		s.rate(t, ada, contentID, 5)
		title := func(word string) string { return fmt.Sprintf(`{"title":%q}`, word) }
		score := func(n int) string { return fmt.Sprintf(`{"content":%q,"score":%d}`, contentID, n) }
		one, rated := "contents/"+contentID+"/", "ratings/"+contentID+":"+s.ids[ada]+"/"
		s.runAll(t, []exchange{
			{"refused", request{method: "POST", path: "contents/", as: ada, body: title("refused"), refused: true}, 422,
				"refused"},
			{"with a field", request{method: "POST", path: "contents/", as: ada, body: title("a spoiler"), refused: true}, 400,
				"spoiler #/title=spoiler_word"},
			{"too often", request{method: "POST", path: "contents/", as: ada, body: title("often"), refused: true}, 429,
				"too_often"},
			{"cannot tell", request{method: "POST", path: "contents/", as: ada, body: title("down"), faulty: true}, 503,
				"unavailable"},
			{"another's error", request{method: "POST", path: "contents/", as: ada, body: title("missing"), faulty: true}, 500,
				"internal_error"},
			{"a broken refusal", request{method: "POST", path: "contents/", as: ada, body: title("broken"), faulty: true}, 500,
				"internal_error"},
			{"an error", request{method: "PATCH", path: one, as: ada, body: title("fails"), faulty: true}, 500,
				"internal_error"},
			{"a panic", request{method: "PATCH", path: one, as: ada, body: title("panics"), faulty: true}, 500,
				"internal_error"},
			{"a change", request{method: "PATCH", path: one, as: ada, body: title("closed"), refused: true}, 403, "closed"},
			{"a whole change", request{method: "PUT", path: one, as: ada, body: `{"title":"closed","description":""}`,
				refused: true}, 403, "closed"},
			{"a removal", request{method: "DELETE", path: closed.header.Get("Location"), as: ada, refused: true}, 403,
				"closed"},
			{"a rating", request{method: "POST", path: "ratings/", as: ada, body: score(1), refused: true}, 403, "closed"},
			{"a rating that cannot be decided on", request{method: "POST", path: "ratings/", as: ada, body: score(2),
				faulty: true}, 503, "unavailable"},
			{"a rating with a panic", request{method: "POST", path: "ratings/", as: ada, body: score(3), faulty: true}, 500,
				"internal_error"},
			{"a change of a rating", request{method: "PATCH", path: rated, as: ada, body: `{"score":1}`, refused: true}, 403,
				"closed"},
			{"one's own rating", request{method: "PUT", path: one + "rating/", as: ben, body: `{"score":4}`, refused: true},
				429, "too_often"},
			{"a withdrawal", request{method: "DELETE", path: rated, as: ada, refused: true}, 409, "final"},
			{"one's own withdrawal", request{method: "DELETE", path: one + "rating/", as: ada, refused: true}, 409, "final"},
		})
		if a := s.do(t, request{method: "POST", path: "contents/", as: ada, body: title("often"),
			refused: true}); !number.MatchString(a.header.Get("Retry-After")) {
			t.Errorf("429 with Retry-After %q", a.header.Get("Retry-After"))
		}
		if a := s.do(t, request{method: "POST", path: "ratings/", as: ada, body: score(2), faulty: true}); a.at(t,
			"outcome") != "not_accepted" || a.header.Get("Retry-After") == "" {
			t.Errorf("503: %s", a)
		}
		a := s.do(t, request{method: "POST", path: "contents/", as: ada, body: title("a spoiler"), refused: true})
		for path, want := range map[string]string{"title": "Bad Request", "detail": "Do not tell how it ends.",
			"errors.0.detail": "This word tells how it ends.", "errors.0.params.word": "dies"} {
			if got := a.at(t, path); got != want {
				t.Errorf("%s is %q, want %q", path, got, want)
			}
		}
		if a := s.get(t, nobody, "contents/?count=exact"); a.at(t, "count") != 2.0 {
			t.Errorf("there are %s", a)
		}
		if a := s.get(t, nobody, one); a.at(t, "title") != "A film" || a.at(t, "ratings_count") != 1.0 ||
			a.at(t, "average_score") != 5.0 {
			t.Errorf("it is %s", a)
		}
		if n := s.lag(t); n != 0 {
			t.Errorf("%d messages wait", n)
		}
		s.runAll(t, []exchange{
			{"what passes", request{method: "PATCH", path: one, as: ada, body: title("fine")}, 200, ""},
			{"what passes", request{method: "DELETE", path: one, as: ada}, 204, ""},
		})
		for _, want := range []string{"hook content.BeforeUpdate",
			"hook content.BeforeCreate: a refusal has the status 302", "hook=content.AfterCreate",
			"hook=content.AfterUpdate", "hook=content.AfterDelete"} {
			if !strings.Contains(f.log.String(), want) {
				t.Errorf("the log has no %q", want)
			}
		}
	})
}

// TestHooksAndIdempotencyKey: a refusal is no answer to keep, and an answer that is kept is not
// decided on again.
func TestHooksAndIdempotencyKey(t *testing.T) {
	t.Parallel()
	calls := 0
	s := serve(t, setup{config: func(c *khodnevis.Config) {
		c.Hooks.Contents.BeforeCreate = func(context.Context, content.Content) error {
			if calls++; calls == 1 {
				return &content.Refusal{}
			}
			return nil
		}
	}})
	for i, want := range []int{http.StatusUnprocessableEntity, http.StatusCreated, http.StatusCreated} {
		a := s.do(t, request{method: "POST", path: "contents/", as: ada, body: `{"title":"t"}`,
			header: map[string]string{"Idempotency-Key": "k"}, refused: i == 0})
		if a.status != want || (a.header.Get("Idempotency-Replayed") != "") != (i == 2) {
			t.Errorf("try %d: %s", i, a)
		}
	}
	if calls != 2 {
		t.Errorf("%d decisions", calls)
	}
}
