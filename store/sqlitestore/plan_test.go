package sqlitestore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store/sqlitestore"
)

// plan returns SQLite's plan of a statement, one step a line.
func plan(t *testing.T, s *sqlitestore.Store, text string, args []any, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var steps []struct {
		ID     int    `db:"id"`
		Parent int    `db:"parent"`
		Unused int    `db:"notused"`
		Detail string `db:"detail"`
	}
	if err := s.File().Reader().SelectContext(t.Context(), &steps, "EXPLAIN QUERY PLAN "+text, args...); err != nil {
		t.Fatal(err)
	}
	lines := make([]string, len(steps))
	for i, step := range steps {
		lines[i] = step.Detail
	}
	return strings.Join(lines, "\n")
}

// A page costs the same wherever it stands in the list: its index is entered at the position and
// read in its order.
func TestListsOfContentsFollowAnIndex(t *testing.T) {
	t.Parallel()
	s := open(t)
	indexes := map[content.Field]string{
		content.ByCreated: "contents_created ((created_at,id)",
		content.ByUpdated: "contents_updated ((updated_at,id)",
		content.ByTitle:   "contents_title ((title_key,id)",
		content.ByScore:   "rating_stats_rank ((rank,content)",
		content.ByRatings: "rating_stats_n ((n,content)",
	}
	after := &content.Cursor{Time: time.Now(), ID: "x"}
	for field, index := range indexes {
		for _, desc := range []bool{false, true} {
			q := content.Query{Order: content.Order{Field: field, Desc: desc}, After: after, Limit: 20}
			text, args, err := sqlitestore.ContentList(q)
			got := plan(t, s, text, args, err)
			// The page itself is sorted again when the texts have been read; what counts is the
			// search for it.
			search, _, _ := strings.Cut(got, "SCAN p")
			if !strings.Contains(search, index) || strings.Contains(search, "TEMP B-TREE") {
				t.Errorf("%s, descending %v:\n%s", field, desc, got)
			}
		}
	}
	q := content.Query{Filter: content.Filter{Author: "a"}, Order: content.Order{Field: content.ByCreated,
		Desc: true}, After: after, Limit: 20}
	text, args, err := sqlitestore.ContentList(q)
	if got := plan(t, s, text, args, err); !strings.Contains(got,
		"contents_author (author=? AND (created_at,id)<(?,?))") {
		t.Errorf("of one author:\n%s", got)
	}
}

func TestListsOfRatingsFollowAnIndex(t *testing.T) {
	t.Parallel()
	s := open(t)
	after := &rating.Cursor{At: time.Now(), Key: rating.Key{Content: "c", Rater: "r"}}
	for _, list := range []struct {
		name   string
		filter rating.Filter
		order  rating.Order
		index  string
	}{
		{"all, newest first", rating.Filter{}, rating.NewestFirst, "ratings_updated ((updated_at,content,rater)<"},
		{"all, oldest first", rating.Filter{}, rating.OldestFirst, "ratings_updated ((updated_at,content,rater)>"},
		{"all, by key", rating.Filter{}, rating.ByKey, "PRIMARY KEY ((content,rater)>"},
		{"a content's, by key", rating.Filter{Content: "c"}, rating.ByKey, "PRIMARY KEY (content=? AND rater>?)"},
		{"a rater's, newest first", rating.Filter{Rater: "r"}, rating.NewestFirst,
			"ratings_rater (rater=? AND (updated_at,content)<"},
		{"a rater's, oldest first", rating.Filter{Rater: "r"}, rating.OldestFirst,
			"ratings_rater (rater=? AND (updated_at,content)>"},
	} {
		text, args, err := sqlitestore.RatingList(rating.Query{Filter: list.filter, Order: list.order, After: after,
			Limit: 20})
		if got := plan(t, s, text, args, err); !strings.Contains(got, list.index) ||
			strings.Contains(got, "TEMP B-TREE") {
			t.Errorf("%s:\n%s", list.name, got)
		}
	}
}
