package pgstore_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lib/pq"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/internal/testutil"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store/pgstore"
)

// plan returns how the server would run a statement.
func (b bench) plan(t *testing.T, text string, args ...any) string {
	t.Helper()
	var lines []string
	if err := b.db.Select(&lines, `EXPLAIN (COSTS OFF) `+b.SQL(text), args...); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return strings.Join(lines, "\n")
}

// wantPlan fails unless the plan has each of the strings wanted and none of those that are not.
func wantPlan(t *testing.T, what, plan string, wanted, not []string) {
	t.Helper()
	for _, s := range wanted {
		if !strings.Contains(plan, s) {
			t.Errorf("%s: the plan has no %q:\n%s", what, s, plan)
		}
	}
	for _, s := range not {
		if strings.Contains(plan, s) {
			t.Errorf("%s: the plan has %q:\n%s", what, s, plan)
		}
	}
}

// full returns a Store with 3,000 contents of ten authors, 60,000 ratings, half of them of one
// content, and a thousand deleted contents.
func full(t *testing.T) bench {
	t.Helper()
	s := open(t)
	for _, text := range []string{
		`INSERT INTO %s.contents SELECT 'c' || i, 'title ' || i, convert_to('title ' || i, 'UTF8'), '',
			ARRAY['title', i::text], 'author' || i %% 10, 1,
			now() + i * interval '1 second', now() - i * interval '1 second' FROM generate_series(1, 3000) i`,
		`INSERT INTO %s.rating_scores (content_id, rank, n) SELECT 'c' || i, i, i FROM generate_series(1, 3000) i`,
		`INSERT INTO %s.rating_stats (content_id, revision, dirty) SELECT 'c' || i, 1, i %% 100 = 0
			FROM generate_series(1, 3000) i`,
		`INSERT INTO %s.rating_buckets SELECT 'c' || i, j, '{3}', '{1}' FROM generate_series(1, 3000) i,
			generate_series(1, 10) j`,
		`INSERT INTO %s.ratings (content_id, rater, epoch, position, created_at, updated_at, score, bucket,
			result, withdrawn)
			SELECT CASE WHEN i %% 2 = 0 THEN 'c1' ELSE 'c' || i %% 3000 END, 'r' || i, 1, i, now(),
				now() + i * interval '1 second', 3, 24, 'created', i %% 50 = 0 FROM generate_series(1, 60000) i`,
		`INSERT INTO %s.deleted_contents (id, swept) SELECT 'd' || i, true FROM generate_series(1, 1000) i`,
		`ANALYZE %s.contents`, `ANALYZE %s.rating_scores`, `ANALYZE %s.rating_stats`, `ANALYZE %s.rating_buckets`,
		`ANALYZE %s.ratings`, `ANALYZE %s.deleted_contents`,
	} {
		if _, err := s.db.Exec(fmt.Sprintf(text, s.schema)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestPlansOfLists(t *testing.T) {
	t.Parallel()
	s := full(t)
	now := time.Now()
	positions := map[content.Field]content.Cursor{
		content.ByCreated: {Time: now.Add(1500 * time.Second), ID: "c1500"},
		content.ByUpdated: {Time: now.Add(-1500 * time.Second), ID: "c1500"},
		content.ByTitle:   {Text: "title 1500", ID: "c1500"}, content.ByScore: {Number: 1500, ID: "c1500"},
		content.ByRatings: {Number: 1500, ID: "c1500"},
	}
	indexes := map[content.Field]string{content.ByCreated: "contents_created", content.ByUpdated: "contents_updated",
		content.ByTitle: "contents_title", content.ByScore: "rating_scores_rank", content.ByRatings: "rating_scores_n"}
	for field, after := range positions {
		for _, desc := range []bool{false, true} {
			for _, place := range []*content.Cursor{nil, &after} {
				text, args := pgstore.ContentQuery(content.Query{Order: content.Order{Field: field, Desc: desc},
					After: place, Limit: 20})
				what := fmt.Sprintf("contents by %s, descending %t, after %v", field, desc, place)
				wanted := []string{indexes[field]}
				if place != nil {
					wanted = append(wanted, "Index Cond: (ROW(")
				}
				wantPlan(t, what, s.plan(t, text, args...), wanted, []string{"Sort", "Seq Scan"})
			}
		}
	}
	text, args := pgstore.ContentQuery(content.Query{Filter: content.Filter{Terms: []string{"1234"}},
		Order: content.Order{Field: content.ByCreated}, Limit: 20})
	wantPlan(t, "a search", s.plan(t, text, args...), []string{"contents_terms"}, []string{"Seq Scan"})
	text, args = pgstore.ContentQuery(content.Query{Filter: content.Filter{Author: "author3"},
		Order: content.Order{Field: content.ByCreated, Desc: true}, Limit: 20})
	wantPlan(t, "contents of an author", s.plan(t, text, args...), []string{"contents_author"},
		[]string{"Seq Scan", "Sort"})

	for what, q := range map[string]rating.Query{
		"all ratings":              {},
		"all ratings, a late page": {After: &rating.Cursor{Key: rating.Key{Content: "c2", Rater: "r"}}},
		"ratings of a hot content": {Filter: rating.Filter{Content: "c1"}},
		"ratings of a hot content, late": {Filter: rating.Filter{Content: "c1"},
			After: &rating.Cursor{Key: rating.Key{Content: "c1", Rater: "r5"}}},
		"ratings of another content": {Filter: rating.Filter{Content: "c7"}},
		"ratings of a rater":         {Filter: rating.Filter{Rater: "r77"}},
		"ratings of a rater, late": {Filter: rating.Filter{Rater: "r77"},
			After: &rating.Cursor{Key: rating.Key{Content: "c7", Rater: "r77"}}},
		"ratings of a content and a rater": {Filter: rating.Filter{Content: "c1", Rater: "r78"}},
	} {
		q.Limit = 20
		text, args := pgstore.RatingQuery(q)
		wanted := []string{"ratings_pkey"}
		if q.Filter.Rater != "" {
			wanted = nil // either index serves
		}
		wantPlan(t, what, s.plan(t, text, args...), wanted, []string{"Seq Scan on ratings",
			"Seq Scan on deleted_contents"})
		if q.Filter.Rater == "" {
			wantPlan(t, what, s.plan(t, text, args...), nil, []string{"Sort"})
		}
	}
	text, args = pgstore.RatingQuery(rating.Query{Filter: rating.Filter{Rater: "r77"}, Order: rating.NewestFirst,
		Limit: 20})
	wantPlan(t, "newest ratings of a rater", s.plan(t, text, args...), []string{"ratings_rater"},
		[]string{"Seq Scan on ratings"})
	text, args = pgstore.RatingQuery(rating.Query{Order: rating.NewestFirst, Limit: 20})
	wantPlan(t, "newest ratings of all", s.plan(t, text, args...), []string{"ratings_updated", "Incremental Sort"},
		[]string{"Seq Scan on ratings"})
}

func TestPlansOfLookUps(t *testing.T) {
	t.Parallel()
	s := full(t)
	ids := pq.StringArray{"c1", "c7", "c2000"}
	for what, step := range map[string]struct {
		text   string
		args   []any
		wanted []string
	}{
		"ratings by key": {pgstore.RatingsByKey, []any{ids, pq.StringArray{"r2", "r7", "r8"}},
			[]string{"Index Scan using ratings_"}},
		"stats of contents": {pgstore.StatsByContent, []any{ids},
			[]string{"rating_scores_pkey"}},
		"contents to recount": {pgstore.RatedContents, []any{"c1", 20},
			[]string{"ratings_pkey", "rating_stats_pkey"}},
		"an audit":        {pgstore.Audit, []any{ids}, []string{"rating_stats_pkey", "rating_buckets_pkey"}},
		"what is dirty":   {pgstore.AnyDirty, nil, []string{"rating_stats_dirty"}},
		"a claim":         {pgstore.Claim, []any{20}, []string{"rating_stats_dirty", "rating_scores_pkey"}},
		"claimed buckets": {pgstore.DirtyBuckets, []any{ids}, []string{"rating_stats_pkey", "rating_buckets_pkey"}},
	} {
		wantPlan(t, what, s.plan(t, step.text, step.args...), step.wanted,
			[]string{"Seq Scan on r", "Seq Scan on deleted_contents"})
	}
}

// Updates of a content's numbers write no index, which they do not when an index has a column that
// they change.
func TestUpdatesStayOnTheirPages(t *testing.T) {
	t.Parallel()
	s := open(t)
	// Few rows of each page are updated, so that none has to wait for room that others'
	// transactions keep occupied.
	const keys, every, turns = 2000, 25, 2
	apply := func(turn, step int) {
		t.Helper()
		var batch rating.Batch
		for i := 0; i < keys; i += step {
			batch.Changes = append(batch.Changes, change(fmt.Sprintf("c%d", i*5/keys), fmt.Sprintf("r%04d", i),
				int64(turn), 1+turn))
		}
		if _, err := s.ApplyRatings(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	apply(0, 1)
	for turn := range turns {
		apply(turn+1, every)
	}
	for table, updates := range map[string]int{"rating_stats": 5 * turns} {
		var n struct {
			All int `db:"n_tup_upd"`
			HOT int `db:"n_tup_hot_upd"`
		}
		if err := testutil.Try(30*time.Second, func() error { // connections report now and then
			if err := s.db.Get(&n, `SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables
				WHERE schemaname = $1 AND relname = $2`, s.schema, table); err != nil {
				return err
			}
			if n.All < updates {
				return fmt.Errorf("%d updates are reported, want %d", n.All, updates)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d of %d updates were HOT", table, n.HOT, n.All)
		if n.HOT < n.All*9/10 {
			t.Errorf("%s: %d of %d updates were HOT", table, n.HOT, n.All)
		}
	}
}
