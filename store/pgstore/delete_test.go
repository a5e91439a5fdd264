package pgstore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/internal/testutil"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
)

// rows returns how many rows of a table belong to a content.
func (b bench) rows(t testing.TB, table, id string) int {
	t.Helper()
	var n int
	if err := b.db.Get(&n, `SELECT count(*) FROM `+b.schema+`.`+table+` WHERE content_id = $1`, id); err != nil {
		t.Fatal(err)
	}
	return n
}

// leftovers returns how many rows of a content there are in all tables of ratings.
func (b bench) leftovers(t testing.TB, id string) int {
	t.Helper()
	n := 0
	for _, table := range []string{"ratings", "rating_stats", "rating_buckets", "rating_scores", "openings",
		"rebuilds"} {
		n += b.rows(t, table, id)
	}
	return n
}

// wantUnseen fails if any method shows anything of the ratings of a deleted content.
func (b bench) wantUnseen(t testing.TB, id, rater string) {
	t.Helper()
	ctx := t.Context()
	for _, f := range []rating.Filter{{}, {Content: id}, {Rater: rater}, {Content: id, Rater: rater}} {
		if n, err := b.CountRatings(ctx, f, 0); n != 0 || err != nil {
			t.Errorf("%+v: %d ratings, %v", f, n, err)
		}
		for _, o := range []rating.Order{rating.ByKey, rating.NewestFirst, rating.OldestFirst} {
			if found, err := b.ListRatings(ctx, rating.Query{Filter: f, Order: o, Limit: 5}); len(found) != 0 ||
				err != nil {
				t.Errorf("%+v: listed are %v, %v", f, found, err)
			}
		}
	}
	if found, err := b.RatingsByKey(ctx, []rating.Key{{Content: id, Rater: rater}}); len(found) != 0 || err != nil {
		t.Errorf("by key there are %v, %v", found, err)
	}
	if found, err := b.StatsByContent(ctx, []string{id}); len(found) != 0 || err != nil {
		t.Errorf("the numbers are %v, %v", found, err)
	}
	if found, err := b.RatedContents(ctx, "", 5); len(found) != 0 || err != nil {
		t.Errorf("rated are %v, %v", found, err)
	}
	if drifts, err := b.Recount(ctx, []string{id}); len(drifts) != 0 || err != nil {
		t.Errorf("the drifts are %v, %v", drifts, err)
	}
	if found, err := b.RefreshScores(ctx, 5,
		func(rating.History) score.Score { return score.Score{} }); len(found) != 0 || err != nil {
		t.Errorf("folded are %v, %v", found, err)
	}
	outcomes, err := b.ApplyRatings(ctx, rating.Batch{Changes: []rating.Change{change(id, rater, 99, 1)}})
	if err != nil || !outcomes[0].Refused {
		t.Errorf("a later rating is %+v, %v, want refused", outcomes, err)
	}
}

func TestDeleteClears(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := newContent("c")
	if err := s.CreateContent(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ApplyRatings(t.Context(),
		rating.Batch{Changes: []rating.Change{change("c", "r", 1, 3), change("c", "q", 2, 4)}}); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteContent(t.Context(), "c", 0); err != nil {
		t.Fatal(err)
	}
	if n := s.leftovers(t, "c"); n != 0 {
		t.Errorf("%d rows are left", n)
	}
	s.wantUnseen(t, "c", "r")
}

// A batch that began before a deletion and ends after it leaves rows, and so does a deletion of
// very many: nobody sees them, and a sweep takes them away.
func TestLeftoversOfDeletion(t *testing.T) {
	t.Parallel()
	s := open(t)
	ctx := t.Context()
	if err := s.CreateContent(ctx, newContent("c")); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteContent(ctx, "c", 0); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		`INSERT INTO %s.ratings (content_id, rater, epoch, position, created_at, updated_at, score, bucket,
			result, withdrawn)
			SELECT 'c', 'r' || i, 1, i, now(), now(), 3, 24, 'created', false FROM generate_series(1, 4500) i`,
		`INSERT INTO %s.rating_stats (content_id, revision, dirty, open_bucket, open_scores, open_counts)
			VALUES ('c', 4, true, 24, '{3}', '{17}')`,
		`INSERT INTO %s.rating_buckets VALUES ('c', 23, '{3}', '{17}')`,
		`INSERT INTO %s.rating_scores (content_id, revision, n) VALUES ('c', 4, 17)`,
		`INSERT INTO %s.openings VALUES ('c', now())`,
		`INSERT INTO %s.rebuilds VALUES ('c')`,
	} {
		if _, err := s.db.Exec(fmt.Sprintf(text, s.schema)); err != nil {
			t.Fatal(err)
		}
	}
	s.wantUnseen(t, "c", "r1")
	sweep := func() {
		t.Helper()
		if n, err := s.SweepRatings(ctx, instant, 10); n != 0 || err != nil {
			t.Fatalf("swept are %d, %v, want 0: nobody saw them", n, err)
		}
	}
	sweep()
	if n := s.leftovers(t, "c"); n != 0 {
		t.Errorf("%d rows are left after a sweep", n)
	}
	swept := func() (done bool) {
		t.Helper()
		if err := s.db.Get(&done, `SELECT swept FROM `+s.schema+`.deleted_contents WHERE id = 'c'`); err != nil {
			t.Fatal(err)
		}
		return done
	}
	if swept() {
		t.Error("a content deleted just now is done with, although batches may still be under way")
	}
	if _, err := s.db.Exec(`UPDATE `+s.schema+`.deleted_contents SET deleted_at = $1`,
		time.Now().Add(-2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	sweep()
	if !swept() {
		t.Error("a content deleted long ago is not done with")
	}
}

// Two ratings at once, one of them held up between its rows and its numbers, and the deletion of
// their content.
func TestDeleteDuringApply(t *testing.T) {
	t.Parallel()
	s := open(t)
	ctx := t.Context()
	if err := s.CreateContent(ctx, newContent("c")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ApplyRatings(ctx, rating.Batch{Changes: []rating.Change{change("c", "first", 1, 3)}}); err != nil {
		t.Fatal(err)
	}
	tx, err := s.db.Beginx()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback() //nolint:errcheck // of a test
	if _, err := tx.Exec(`SELECT FROM ` + s.schema + `.rating_stats WHERE content_id = 'c' FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	applied := make(chan error, 1)
	go func() {
		_, err := s.ApplyRatings(ctx, rating.Batch{Changes: []rating.Change{change("c", "second", 2, 5)}})
		applied <- err
	}()
	if err := testutil.Try(30*time.Second, func() error { // it waits for the lock
		var n int
		err := s.db.Get(&n, `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'
			AND query LIKE '%' || $1 || '%'`, s.schema)
		if err == nil && n == 0 {
			err = fmt.Errorf("nobody waits")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	deleted := make(chan error, 1)
	go func() { deleted <- s.DeleteContent(ctx, "c", 1) }()
	if err := testutil.Try(30*time.Second, func() error {
		found, err := s.ContentsByID(ctx, []string{"c"})
		if err == nil && len(found) > 0 {
			err = fmt.Errorf("the content is there")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	s.wantUnseen(t, "c", "first")
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	for what, done := range map[string]chan error{"the rating": applied, "the deletion": deleted} {
		if err := <-done; err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	s.wantUnseen(t, "c", "second")
	if _, err := s.SweepRatings(ctx, instant, 10); err != nil {
		t.Fatal(err)
	}
	if n := s.leftovers(t, "c"); n != 0 {
		t.Errorf("%d rows are left after a sweep", n)
	}
}
