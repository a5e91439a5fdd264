package httpapi_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/internal/testutil"
	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store"
)

// leave deletes the account of the one who asks.
func leave(as, fate string) request {
	return request{method: "DELETE", path: "users/me/", as: as, body: fmt.Sprintf(`{"current_password":%q,"ratings":%q}`,
		password, fate)}
}

// gone looks for the ratings of those who left until none is stored or on its way.
func (s *server) gone(t *testing.T, who string) {
	t.Helper()
	testutil.Eventually(t, 30*time.Second, "nothing is left of "+who, func() bool {
		if s.lag(t) > 0 {
			return false
		}
		if _, err := s.app.Ratings.ResumeErasures(t.Context(), time.Time{}); err != nil {
			t.Fatal(err)
		}
		n, err := s.store.CountRatings(t.Context(), rating.Filter{Rater: who}, 0)
		if err != nil {
			t.Fatal(err)
		}
		return n == 0 && s.lag(t) == 0
	})
	if _, err := s.app.Recount(t.Context(), func(d rating.Drift) { t.Errorf("a recount found %+v", d) }); err != nil {
		t.Fatal(err)
	}
}

// numbers returns how many ratings of each score a content has, from 1 to 5.
func (s *server) numbers(t *testing.T, contentID string) []int {
	t.Helper()
	s.settle(t, contentID)
	a := s.get(t, nobody, "contents/"+contentID+"/stats/")
	counts, n, sum := []int{}, 0, 0
	for score := 1; score <= 5; score++ {
		counts = append(counts, int(a.at(t, fmt.Sprintf("histogram.%d", score)).(float64)))
		n += counts[score-1]
		sum += score * counts[score-1]
	}
	if a.at(t, "ratings_count") != float64(n) || a.at(t, "sum") != float64(sum) {
		t.Errorf("the numbers do not agree: %s", a)
	}
	return counts
}

// TestDeleteMeRefuses: what is refused leaves everything as it was.
func TestDeleteMeRefuses(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s := serve(t, setup{open: open})
		contentID := s.write(t, "A film")
		s.rate(t, ada, contentID, 4)
		try := func(name, body string, status int, problem string) exchange {
			return exchange{name, request{method: "DELETE", path: "users/me/", as: ada, body: body}, status, problem}
		}
		s.runAll(t, []exchange{
			{"nobody", request{method: "DELETE", path: "users/me/", body: `{`}, 401, "not_authenticated"},
			try("nothing", `{}`, 400, "validation_failed #/ratings=required"),
			try("no word on the ratings", `{"current_password":"`+password+`"}`, 400, "validation_failed #/ratings=required"),
			try("an unknown word", `{"current_password":"`+password+`","ratings":"keep"}`, 400,
				"validation_failed #/ratings=invalid_choice"),
			try("another case", `{"current_password":"`+password+`","ratings":"Delete"}`, 400,
				"validation_failed #/ratings=invalid_choice"),
			try("an empty one", `{"current_password":"`+password+`","ratings":""}`, 400,
				"validation_failed #/ratings=invalid_choice"),
			try("null", `{"current_password":"`+password+`","ratings":null}`, 400, "validation_failed #/ratings=null"),
			try("no word at all", `{"current_password":"`+password+`","ratings":true}`, 400,
				"validation_failed #/ratings=invalid"),
			try("the word before the password", `{"current_password":"wrong","ratings":"keep"}`, 400,
				"validation_failed #/ratings=invalid_choice"),
			try("too much", `{"current_password":"`+password+`","ratings":"delete","contents":"delete"}`, 400,
				"validation_failed #/contents=unknown_field"),
			try("no password", `{"ratings":"delete"}`, 403, "reauth_required"),
			try("a wrong password", `{"current_password":"wrong","ratings":"delete"}`, 403, "reauth_required"),
			{"a query", request{method: "DELETE", path: "users/me/?ratings=delete", as: ada, body: leave(ada, "delete").body},
				400, "validation_failed ?ratings=unknown_parameter"},
			{"all is as it was", request{path: "users/me/", as: ada}, 200, ""},
		})
		s.gone(t, "nobody at all")
		if got := s.numbers(t, contentID); !slices.Equal(got, []int{0, 0, 0, 1, 0}) {
			t.Errorf("the ratings are %v", got)
		}
	})
}

// TestDeleteMe: A25. The account ends at once; its ratings are deleted or nobody's, those in flight
// too; the numbers are exact.
func TestDeleteMe(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		for fate, kept := range map[string]int{"delete": 0, "anonymize": 1} {
			t.Run(fate, func(t *testing.T) {
				t.Parallel()
				f := &faults{}
				s := serve(t, setup{open: open, config: f.into})
				testDeleteMe(t, s, f, fate, kept)
			})
		}
	})
}

func testDeleteMe(t *testing.T, s *server, f *faults, fate string, kept int) {
	still, changed, fresh := s.write(t, "Rated once"), s.write(t, "Rated again"), s.write(t, "Rated at the last moment")
	for _, id := range []string{still, changed} {
		s.rate(t, ada, id, 5)
		s.rate(t, ben, id, 2)
	}
	s.fold(t, still)
	score := s.get(t, nobody, "contents/"+still+"/").header.Get("ETag")
	old := s.tokens[ada]
	login := s.do(t, request{method: "POST", path: "users/login/", body: `{"username":"ada","password":"` + password +
		`"}`})
	s.tokens[ada] = login.text(t, "access")

	f.apply.Store(store.ErrUnavailable) // what is accepted from now on is in flight
	for id, n := range map[string]int{changed: 4, fresh: 3} {
		if a := s.do(t, request{method: "POST", path: "ratings/", as: ada, body: fmt.Sprintf(`{"content":%q,"score":%d}`,
			id, n)}); a.status != 202 {
			t.Fatalf("rate: %s", a)
		}
	}
	if a := s.do(t, leave(ada, fate)); a.status != 204 {
		t.Fatalf("delete: %s", a)
	}
	s.runAll(t, []exchange{
		{"a second time", leave(ada, fate), 401, "invalid_token"},
		{"another session", request{path: "users/me/", header: bearer(old)}, 401, "invalid_token"},
		{"rate", request{method: "POST", path: "ratings/", as: ada, body: fmt.Sprintf(`{"content":%q,"score":1}`, fresh)},
			401, "invalid_token"},
		{"refresh", request{method: "POST", path: "users/token/refresh/", body: fmt.Sprintf(`{"refresh":%q}`,
			login.text(t, "refresh"))}, 401, "invalid_token"},
		{"log in", request{method: "POST", path: "users/login/", body: `{"username":"ada","password":"` + password + `"}`},
			401, "invalid_login"},
		{"take the name", request{method: "POST", path: "users/", body: `{"username":"ADA","password":"` + password + `"}`},
			400, "validation_failed #/username=unique"},
		{"the contents stay", request{path: "contents/" + still + "/"}, 200, ""},
	})

	f.apply.Store(nil)
	s.gone(t, s.ids[ada])
	for id, want := range map[string][]int{still: {0, 1, 0, 0, kept}, changed: {0, 1, 0, kept, 0}, fresh: {0, 0, kept, 0,
		0}} {
		if got := s.numbers(t, id); !slices.Equal(got, want) {
			t.Errorf("the ratings of %s are %v, want %v", id, got, want)
		}
		raters := s.get(t, nobody, "ratings/?content="+id).list(t, "rater")
		raters = slices.DeleteFunc(raters, func(r string) bool { return r == s.ids[ben] })
		if len(raters) != kept || kept == 1 && !strings.HasPrefix(raters[0], "anonymous-") {
			t.Errorf("the raters beside ben are %q", raters)
		}
	}
	if got := s.get(t, nobody, "ratings/?rater="+s.ids[ada]).list(t, "id"); len(got) > 0 {
		t.Errorf("left are %q", got)
	}
	if now := s.get(t, nobody, "contents/"+still+"/").header.Get("ETag"); kept == 1 && now != score {
		t.Errorf("the numbers moved: %s is %s", score, now)
	}
}

// TestDeleteMeFails: a store that fails leaves an account that can be deleted later; a queue that
// is down keeps nobody.
func TestDeleteMeFails(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		f := &faults{}
		s := serve(t, setup{open: open, config: f.into})
		contentID := s.write(t, "A film")
		s.rate(t, ada, contentID, 4)
		s.rate(t, ben, contentID, 2)
		f.update.Store(store.ErrUnavailable)
		r := leave(ada, "delete")
		r.faulty = true
		if a := s.do(t, r); a.status != 503 {
			t.Errorf("with a store that fails: %s", a)
		}
		f.update.Store(nil)
		s.gone(t, "nobody at all")
		if got := s.numbers(t, contentID); !slices.Equal(got, []int{0, 1, 0, 1, 0}) {
			t.Errorf("after that the ratings are %v", got)
		}
		f.publish.Store(queue.ErrNotAccepted)
		if a := s.do(t, leave(ada, "delete")); a.status != 204 {
			t.Errorf("without a queue: %s", a)
		}
		f.publish.Store(nil)
		f.depart.Store(store.ErrUnavailable) // all that comes after the deletion itself is lost
		if a := s.do(t, leave(ben, "anonymize")); a.status != 204 {
			t.Errorf("with a store that fails after the deletion: %s", a)
		}
		s.gone(t, s.ids[ada])
		s.gone(t, s.ids[ben])
		if got := s.numbers(t, contentID); !slices.Equal(got, []int{0, 1, 0, 0, 0}) {
			t.Errorf("in the end the ratings are %v", got)
		}
	})
}

// TestHostErases: a host deletes its users by itself, and has their ratings forgotten.
func TestHostErases(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s := serve(t, setup{open: open, config: func(c *khodnevis.Config) { c.Authenticator = bearerUsers{} }})
		for _, name := range []string{ada, ben, sam} {
			s.ids[name], s.tokens[name] = "host|"+name, name
		}
		contentID := s.write(t, "A film")
		for i, name := range []string{ada, ben, sam} {
			s.rate(t, name, contentID, 3+i)
		}
		if a := s.do(t, leave(ada, "delete")); a.status != 404 {
			t.Errorf("there is a route: %s", a)
		}
		for name, fate := range map[string]rating.ErasureMode{ada: rating.EraseDelete, ben: rating.EraseAnonymize} {
			if err := s.app.Ratings.Erase(t.Context(), s.ids[name], fate); err != nil {
				t.Fatal(err)
			}
			s.gone(t, s.ids[name])
		}
		if got := s.numbers(t, contentID); !slices.Equal(got, []int{0, 0, 0, 1, 1}) {
			t.Errorf("the ratings are %v", got)
		}
	})
}
