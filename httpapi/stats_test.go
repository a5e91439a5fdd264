package httpapi_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/internal/testutil"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/task"
)

// campaign is a content with twenty ratings of 4 on its third day and two hundred ones two days
// later, in the score.
func (s *server) campaign(t *testing.T) (contentID string, opened time.Time) {
	t.Helper()
	contentID = s.write(t, "A film")
	c, err := s.app.Contents.Get(t.Context(), contentID)
	if err != nil {
		t.Fatal(err)
	}
	// The history starts with a rating that is withdrawn.
	starter := rating.Change{Key: rating.Key{Content: contentID, Rater: "starter"},
		Version: rating.Version{Epoch: 1, Offset: 1}, Score: 4, At: c.CreatedAt}
	if _, err := s.store.ApplyRatings(t.Context(), rating.Batch{Changes: []rating.Change{starter}}); err != nil {
		t.Fatal(err)
	}
	starter.Version.Offset, starter.Withdraw = 2, true
	changes := []rating.Change{starter}
	for i := range 220 {
		change := rating.Change{Key: rating.Key{Content: contentID, Rater: fmt.Sprintf("r%d", i)},
			Version: rating.Version{Epoch: 1, Offset: int64(i)}, Score: 4, At: c.CreatedAt.Add(49 * time.Hour)}
		if i >= 20 {
			change.Score, change.At = 1, c.CreatedAt.Add(97*time.Hour)
		}
		changes = append(changes, change)
	}
	if _, err := s.store.ApplyRatings(t.Context(), rating.Batch{Changes: changes}); err != nil {
		t.Fatal(err)
	}
	s.fold(t, contentID)
	return contentID, c.CreatedAt
}

// Numbers belong to one moment: those of ratings that are stored are all there, or none is.
func TestNumbersArePublishedTogether(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s := serve(t, setup{open: open, idle: true})
		contentID := s.write(t, "A film")
		path := "contents/" + contentID + "/"
		if a := s.get(t, nobody, path); a.at(t, "score") != nil || a.at(t, "average_score") != nil {
			t.Errorf("without ratings: %s", a)
		}
		if _, err := s.store.ApplyRatings(t.Context(), rating.Batch{Changes: []rating.Change{
			{Key: rating.Key{Content: contentID, Rater: "a"}, Version: rating.Version{Epoch: 1, Offset: 1}, Score: 4,
				At: time.Now().UTC()},
			{Key: rating.Key{Content: contentID, Rater: "b"}, Version: rating.Version{Epoch: 1, Offset: 2}, Score: 1,
				At: time.Now().UTC()},
		}}); err != nil {
			t.Fatal(err)
		}
		look := func(when string, count float64, score any) {
			t.Helper()
			s.clock.Advance(2 * time.Minute) // the cache lets the older numbers go
			for _, path := range []string{path, path + "stats/"} {
				if a := s.get(t, nobody, path); a.at(t, "ratings_count") != count || a.at(t, "score") != score ||
					a.at(t, "average_score") != score {
					t.Errorf("%s %s: %s", path, when, a)
				}
			}
		}
		look("with ratings that are not published", 0, nil)
		if _, err := s.app.Recalculate(t.Context(), nil, contentID); err != nil {
			t.Fatal(err)
		}
		look("with ratings that are published", 2, 2.5)
	})
}

func TestExplanation(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s := serve(t, setup{open: open})
		contentID, opened := s.campaign(t)
		path := "contents/" + contentID + "/"
		window := fmt.Sprintf(
			`{"ruling":"excluded","from":%q,"until":%q,"note":"a link in a channel"}`,
			opened.Add(4*24*time.Hour+time.Hour).
				Format(time.RFC3339),
			opened.Add(4*24*time.Hour+2*time.Hour).Format(time.RFC3339),
		)

		golden(t, "stats_explained", s.get(t, sam, path+"stats/?explain=1"))
		golden(t, "window", s.do(t, request{method: "POST", path: path + "windows/", as: sam, body: window}))
		s.fold(t, contentID)
		golden(t, "stats_excluded", s.get(t, sam, path+"stats/?explain=1"))
		golden(t, "windows", s.get(t, sam, path+"windows/"))
		golden(t, "stats_with_window", s.get(t, nobody, path+"stats/"))
		if a := s.get(t, nobody, path); a.at(t, "score") != 4.0 || a.at(t, "ratings_count") != 220.0 ||
			a.at(t, "average_score") != 280.0/220 {
			t.Errorf("the content is %s", a)
		}
		windowID := s.get(t, sam, path+"windows/").text(t, "results.0.id")
		s.runAll(t, []exchange{
			{"an unknown value", request{path: path + "stats/?explain=yes", as: sam}, 400,
				"validation_failed ?explain=invalid_choice"},
			{"an explanation for nobody", request{path: path + "stats/?explain=1"}, 401, "not_authenticated"},
			{"an explanation for the author", request{path: path + "stats/?explain=1", as: ada}, 403, "permission_denied"},
			{"an explanation of nothing", request{path: "contents/none/stats/?explain=1", as: ben}, 404, "not_found"},
			{"no explanation", request{path: path + "stats/?explain=0"}, 200, ""},
			{"a window without anything", request{method: "POST", path: path + "windows/", as: sam, body: `{}`}, 400,
				"validation_failed #/ruling=required #/from=required #/until=required"},
			{"a bad window", request{method: "POST", path: path + "windows/", as: sam,
				body: `{"ruling":"deleted","from":"yesterday","until":"2026-01-31T12:00:00Z"}`}, 400,
				"validation_failed #/from=invalid #/ruling=invalid_choice"},
			{"a window of nothing", request{method: "POST", path: "contents/none/windows/", as: ben, body: window}, 404,
				"not_found"},
			{"the windows of nothing", request{path: "contents/none/windows/", as: ben}, 404, "not_found"},
			{"the removal of nothing", request{method: "DELETE", path: "contents/none/windows/", as: ben}, 404, "not_found"},
			{"the removal of no window", request{method: "DELETE", path: path + "windows/?id=none", as: sam}, 404,
				"not_found"},
			{"a removal", request{method: "DELETE", path: path + "windows/?id=" + windowID, as: sam}, 204, ""},
			{"a removal again", request{method: "DELETE", path: path + "windows/?id=" + windowID, as: sam}, 404, "not_found"},
			{"the removal of all", request{method: "DELETE", path: path + "windows/", as: sam}, 204, ""},
		})
		s.fold(t, contentID)
		golden(t, "stats_explained", s.get(t, sam, path+"stats/?explain=1")) // as it was
	})
}

// The runs of the cron are tasks that staff read.
func TestRuns(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s := serve(t, setup{open: open, config: func(c *khodnevis.Config) {
			c.Recalculate, c.Recount = "@every 1s",
				"@every 1s"
		}})
		for job, result := range map[string][]string{task.Recalculate: {"contents"}, task.Recount: {"contents",
			"drifted"}} {
			path := "tasks/" + job + "@latest/"
			testutil.Eventually(t, 30*time.Second, "the first run is done", func() bool {
				a, err := s.send(t, request{path: path, as: sam})
				return err == nil && a.status == 200 && a.at(t, "state") == "SUCCESS"
			})
			a := s.get(t, sam, path)
			for a.at(t, "state") != "SUCCESS" { // another one has begun
				a = s.get(t, sam, path)
			}
			if got := a.keys(t, "result"); a.text(t, "name") != job || !slices.Equal(got, result) {
				t.Errorf("%s: %s", job, a)
			}
			s.runAll(t, []exchange{
				{"the run by its own identifier", request{path: "tasks/" + a.text(t, "id") + "/", as: sam}, 200, ""},
				{"a run for a user", request{path: path, as: ben}, 404, "not_found"},
				{"a run for nobody", request{path: path}, 401, "not_authenticated"},
				{"a run long ago", request{path: "tasks/" + job + "@20200101T000000Z/", as: sam}, 410, "task_expired"},
				{"a run to come", request{path: "tasks/" + job + "@20990101T000000Z/", as: sam}, 404, "not_found"},
			})
		}
	})
}

// Lists by score follow the rank: one 5 does not stand above many 4s, although its score is
// greater.
func TestOrderByScoreIsByRank(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s := serve(t, setup{open: open})
		loved, liked := s.write(t, "loved by one"), s.write(t, "liked by many")
		s.rate(t, ada, loved, 5)
		var changes []rating.Change
		for i := range 30 {
			changes = append(changes, rating.Change{Key: rating.Key{Content: liked, Rater: fmt.Sprintf("r%d", i)},
				Version: rating.Version{Epoch: 1, Offset: int64(i)}, Score: 4, At: s.clock.Now()})
		}
		if _, err := s.store.ApplyRatings(t.Context(), rating.Batch{Changes: changes}); err != nil {
			t.Fatal(err)
		}
		s.fold(t, loved)
		s.fold(t, liked)
		for ordering, want := range map[string][]string{"-score": {liked, loved}, "score": {loved, liked}} {
			a := s.get(t, nobody, "contents/?ordering="+ordering)
			if got := a.list(t, "id"); !slices.Equal(got, want) {
				t.Errorf("ordered by %s: %s", ordering, a)
			}
		}
		if a := s.get(t, nobody, "contents/"+loved+"/"); a.at(t, "score") != 5.0 {
			t.Errorf("the one 5: %s", a)
		}
	})
}

// TestRecalculationIsWaitedFor: a recalculation is a task like any other.
func TestRecalculationIsWaitedFor(t *testing.T) {
	t.Parallel()
	s := serve(t, setup{})
	id := s.write(t, "Stalker")
	r := request{method: "POST", path: "contents/" + id + "/stats/recalculate/", as: sam}
	if a := s.do(t, r); a.status != 202 || a.header.Get("Preference-Applied") != "respond-async" {
		t.Errorf("%s\n%v", a, a.header)
	}
	r.prefer = "wait=10"
	if a := s.do(t, r); a.status != 202 || a.header.Get("Preference-Applied") != "wait=10" ||
		a.text(t, "state") != "SUCCESS" {
		t.Errorf("with %s: %s\n%v", r.prefer, a, a.header)
	}
}
