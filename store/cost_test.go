package store_test

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"modernc.org/sqlite"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/internal/sqlitefile"
	"github.com/khodnevis/khodnevis/internal/testserver"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store"
	"github.com/khodnevis/khodnevis/store/pgstore"
	"github.com/khodnevis/khodnevis/store/sqlitestore"
)

var costTable = flag.String("cost-table", "", "write what every list costs with 1,000 to 1,000,000 contents "+
	"to this file, which takes some minutes")

// A meter is a store on which what a call looks at can be read off.
type meter struct {
	store.Store
	unit string
	exec func(text string, args ...any) // fills tables
	read func() int64                   // grows by what was looked at
}

// costs are the lists, filters, searches and counts, with what an expected refusal is.
var costs = []struct {
	name  string
	broad bool // refused where there are many contents
	run   func(ctx context.Context, s store.Store, maxRows int) error
}{
	{"contents, newest first", false, contents(content.Filter{}, "-created_at")},
	{"contents by time of change", false, contents(content.Filter{}, "-updated_at")},
	{"contents by title", false, contents(content.Filter{}, "title")},
	{"contents by score", false, contents(content.Filter{}, "-score")},
	{"contents by number of ratings", false, contents(content.Filter{}, "-ratings_count")},
	{"contents of an author", false, contents(content.Filter{Author: "author7"}, "-created_at")},
	{"contents of an author, by title", false, contents(content.Filter{Author: "author7"}, "title")},
	{"contents of an author of a tenth, by title", false, contents(content.Filter{Author: "author0"}, "title")},
	{"contents of a span of time, by title", false,
		contents(content.Filter{CreatedFrom: made(100), CreatedBefore: made(200)}, "title")},
	{"contents with score >= 4, newest first", false, contents(content.Filter{ScoreMin: number(4)}, "-created_at")},
	{"contents with score >= 99, newest first", true, contents(content.Filter{ScoreMin: number(99)}, "-created_at")},
	{"contents with 990 ratings, by title", false, contents(content.Filter{RatingsMin: 900}, "title")},
	{"contents with score >= 4 and 500 ratings, by number of ratings", false,
		contents(content.Filter{ScoreMin: number(4), RatingsMin: 500}, "-ratings_count")},
	{"search for a word of one", false, contents(content.Filter{Terms: []string{"w77"}}, "-created_at")},
	{"search for a word of all", false, contents(content.Filter{Terms: []string{"common"}}, "-created_at")},
	{"search for a word of all, by title", false, contents(content.Filter{Terms: []string{"common"}}, "title")},
	{"search for a word of few and seven of all, by title", false,
		contents(content.Filter{Terms: []string{"a", "b", "c", "d", "e", "f", "common", "rare"}}, "title")},
	{"search for eight words of all, by title", false,
		contents(content.Filter{Terms: []string{"a", "b", "c", "d", "e", "f", "common", "half"}}, "title")},
	{"search for the beginning of a word of all, by title", false,
		contents(content.Filter{Terms: content.Terms("com")}, "title")},
	{"search for two words that nothing has both of", true,
		contents(content.Filter{Terms: []string{"half", "other"}}, "-created_at")},
	{"search within an author", false, contents(content.Filter{Author: "author7", Terms: []string{"common"}},
		"-score")},
	{"count of contents", false, countContents(content.Filter{})},
	{"count of an author", false, countContents(content.Filter{Author: "author0"})},
	{"count of a search", false, countContents(content.Filter{Terms: []string{"common"}})},
	{"count of a search within an author", false,
		countContents(content.Filter{Author: "author7", Terms: []string{"common"}})},
	{"count of contents with score >= 4", true, countContents(content.Filter{ScoreMin: number(4)})},
	{"ratings, newest first", false, ratings(rating.Filter{}, rating.NewestFirst)},
	{"ratings by key", false, ratings(rating.Filter{}, rating.ByKey)},
	{"ratings of a content", false, ratings(rating.Filter{Content: "c0000000"}, rating.ByKey)},
	{"ratings of a content of a third, newest first", false,
		ratings(rating.Filter{Content: "c0000000"}, rating.NewestFirst)},
	{"ratings of a content of few, newest first", false, ratings(rating.Filter{Content: "c0000007"},
		rating.NewestFirst)},
	{"ratings of a rater, newest first", false, ratings(rating.Filter{Rater: "rater7"}, rating.NewestFirst)},
	{"ratings of a rater of a tenth, newest first", false, ratings(rating.Filter{Rater: "rater0"},
		rating.NewestFirst)},
	{"ratings of a rater with score 5", false, ratings(rating.Filter{Rater: "rater7", ScoreMin: whole(5)},
		rating.NewestFirst)},
	{"ratings with score 5, newest first", false, ratings(rating.Filter{ScoreMin: whole(5)}, rating.NewestFirst)},
	{"ratings with score 99, newest first", true, ratings(rating.Filter{ScoreMin: whole(99)}, rating.NewestFirst)},
	{"ratings of a span of time", false, ratings(rating.Filter{UpdatedFrom: made(100), UpdatedBefore: made(200)},
		rating.OldestFirst)},
	{"count of ratings", false, countRatings(rating.Filter{})},
	{"count of a content of a third", false, countRatings(rating.Filter{Content: "c0000000"})},
	{"count of a rater of a tenth with score 5", true,
		countRatings(rating.Filter{Rater: "rater0", ScoreMin: whole(5)})},
}

func number(f float64) *float64 { return &f }
func whole(n int) *int          { return &n }

var epoch = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// made is when content i was made, and rating i was given.
func made(i int) time.Time { return epoch.Add(time.Duration(i) * time.Second) }

const pageSize = 21

func contents(f content.Filter, ordering string) func(context.Context, store.Store, int) error {
	field, desc := strings.CutPrefix(ordering, "-")
	return func(ctx context.Context, s store.Store, maxRows int) error {
		_, err := s.ListContents(ctx, content.Query{Filter: f,
			Order: content.Order{Field: content.Field(field), Desc: desc}, Limit: pageSize, MaxRows: maxRows})
		return err
	}
}

func countContents(f content.Filter) func(context.Context, store.Store, int) error {
	return func(ctx context.Context, s store.Store, maxRows int) error {
		_, err := s.CountContents(ctx, f, maxRows)
		return err
	}
}

func ratings(f rating.Filter, o rating.Order) func(context.Context, store.Store, int) error {
	return func(ctx context.Context, s store.Store, maxRows int) error {
		_, err := s.ListRatings(ctx, rating.Query{Filter: f, Order: o, Limit: pageSize, MaxRows: maxRows})
		return err
	}
}

func countRatings(f rating.Filter) func(context.Context, store.Store, int) error {
	return func(ctx context.Context, s store.Store, maxRows int) error {
		_, err := s.CountRatings(ctx, f, maxRows)
		return err
	}
}

// words are those of content i, in both dialects of SQL.
const words = `'a b c d e f com common ' || CASE WHEN i % 2 = 0 THEN 'half' ELSE 'other' END || CASE
	WHEN i % 1009 = 0 THEN ' rare' ELSE '' END || ' w' || i`

// fill stores n contents and three times as many ratings: a third of one content, a tenth of one
// rater, and of others alike.
func (m meter) fill(n int, sqlite bool) {
	series := func(n int) string { return fmt.Sprintf(`generate_series(0, %d::bigint) AS g(i)`, n-1) }
	at := `timestamptz '2020-01-01 00:00:00Z' + i * interval '1 second'`
	id := func(expr string) string { return `'c' || lpad((` + expr + `)::text, 7, '0')` }
	title, epochAndPosition := `convert_to('title ' || i * 7919 % 1000003, 'UTF8')`, "epoch, position"
	if sqlite {
		series = func(n int) string {
			return fmt.Sprintf(`(WITH RECURSIVE g(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM g WHERE i < %d)
				SELECT i FROM g)`, n-1)
		}
		at = fmt.Sprintf(`%d + i * 1000000`, epoch.UnixMicro())
		id = func(expr string) string { return `printf('c%07d', ` + expr + `)` }
		title, epochAndPosition = `CAST('title ' || i * 7919 % 1000003 AS BLOB)`, `epoch, "offset"`
	}
	author := `CASE WHEN i % 10 = 0 THEN 'author0' ELSE 'author' || i % 1000 END`
	values := `1 + i * 37 % 4001 * 0.001, 10, 1 + i * 31 % 4001 * 0.001`
	rows := fmt.Sprintf(`SELECT CASE WHEN i %% 3 = 0 THEN %s ELSE %s END, CASE WHEN i %% 3 > 0
		AND i %% 10 = 0 THEN 'rater0' ELSE 'rater' || (CASE WHEN i %% 3 = 0 THEN i ELSE i %% 20011 END) END, 1, i,
		%s, %s, 1 + i %% 5, 1, 'created'`,
		id("0"), id(fmt.Sprintf("i * 7919 %% %d", n)), at, at)
	if sqlite {
		m.exec(`INSERT INTO contents (num, id, title, title_key, author, version, created_at, updated_at,
			description) SELECT i + 1, ` + id("i") + `, 'title ' ||
			i * 7919 % 1000003, ` + title + `, ` + author + `, 1, ` + at + `, ` + at + `, '' FROM ` + series(n))
		m.exec(`INSERT INTO content_terms (rowid, terms) SELECT i + 1, ` + words + ` FROM ` + series(n))
		m.exec(`INSERT INTO rating_stats (content, n, value, weight, rank, revision) SELECT ` + id("i") +
			`, i * 7919 % 1000, ` + values + `, 1 FROM ` + series(n))
		m.exec(`INSERT INTO ratings (content, rater, ` + epochAndPosition +
			`, created_at, updated_at, score, bucket, result) ` + rows + ` FROM ` + series(3*n) +
			` WHERE TRUE ON CONFLICT DO NOTHING`)
		return
	}
	m.exec(`INSERT INTO {s}.contents (id, title, title_key, description, terms, author, version, created_at,
		updated_at) SELECT ` + id("i") + `, 'title ' || i * 7919 % 1000003, ` + title + `, '',
		string_to_array(` + words + `, ' '), ` + author + `, 1, ` + at + `, ` + at + ` FROM ` + series(n))
	m.exec(`INSERT INTO {s}.rating_scores (content_id, n, value, weight, rank) SELECT ` + id("i") +
		`, i * 7919 % 1000, ` + values + ` FROM ` + series(n))
	m.exec(`INSERT INTO {s}.rating_stats (content_id, revision, dirty) SELECT ` + id("i") +
		`, 1, i < 50 FROM ` + series(n))
	m.exec(`INSERT INTO {s}.ratings (content_id, rater, ` + epochAndPosition +
		`, created_at, updated_at, score, bucket, result, withdrawn) ` + rows + `, false FROM ` + series(3*n) +
		` ON CONFLICT DO NOTHING`)
	for _, table := range []string{"contents", "rating_scores", "rating_stats", "ratings"} {
		m.exec(`VACUUM ANALYZE {s}.` + table)
	}
}

// sqliteMeter counts the pages of the file that are asked for, cached or not. Each has some rows.
func sqliteMeter(t *testing.T, n int) meter {
	t.Helper()
	file, err := sqlitefile.Open(filepath.Join(t.TempDir(), "cost.db"), sqlitefile.Config{Lists: 1})
	if err != nil {
		t.Fatal(err)
	}
	s, err := sqlitestore.New(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	m := meter{Store: s, unit: "pages",
		exec: func(text string, args ...any) {
			if err := file.Write(t.Context(), func(tx sqlitefile.Tx) error {
				_,
					err := tx.Exec(text, args...)
				return err
			}); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
		},
		read: func() (pages int64) {
			conn, err := file.Lists().Connx(t.Context())
			if err == nil {
				err = conn.Raw(func(c any) error {
					for _, op := range []sqlite.DBStatusOp{sqlite.DBStatusCacheHit, sqlite.DBStatusCacheMiss} {
						n, _, err := c.(sqlite.DBStatus).Status(op, false)
						if err != nil {
							return err
						}
						pages += int64(n)
					}
					return nil
				})
				err = errors.Join(err, conn.Close())
			}
			if err != nil {
				t.Fatal(err)
			}
			return pages
		}}
	m.fill(n, true)
	return m
}

// postgresMeter counts the rows that are read from tables and indexes.
func postgresMeter(t *testing.T, n int) meter {
	t.Helper()
	db, err := pgstore.Open(testserver.Postgres(t), pgstore.OpenConfig{MaxConns: 1,
		StatementTimeout: 10 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	schema := "khodnevis_cost_" + strings.ToLower(rand.Text())
	t.Cleanup(func() {
		_, err := db.Exec(`DROP SCHEMA IF EXISTS ` + schema + ` CASCADE`)
		if err := errors.Join(err, db.Close()); err != nil {
			t.Error(err)
		}
	})
	s, err := pgstore.New(db, pgstore.Config{Schema: schema})
	if err == nil {
		err = s.Migrate(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	m := meter{Store: s, unit: "rows",
		exec: func(text string, args ...any) {
			if _, err := db.Exec(strings.ReplaceAll(text, "{s}", schema), args...); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
		},
		read: func() int64 { return readRows(t, db, schema) }}
	m.fill(n, false)
	return m
}

func readRows(t *testing.T, db *sqlx.DB, schema string) (rows int64) {
	t.Helper()
	if _, err := db.Exec(`SELECT pg_stat_force_next_flush()`); err != nil {
		t.Fatal(err)
	}
	if err := db.Get(&rows, `SELECT (SELECT coalesce(sum(seq_tup_read), 0) FROM pg_stat_user_tables
		WHERE schemaname = $1) +
		(SELECT coalesce(sum(idx_tup_read), 0) FROM pg_stat_user_indexes
			WHERE schemaname = $1)`, schema); err != nil {
		t.Fatal(err)
	}
	return rows
}

// cost runs one call and returns what it looked at, and whether it was refused.
func (m meter) cost(t *testing.T, run func(context.Context, store.Store, int) error, maxRows int) (looked int64,
	broad bool) {
	t.Helper()
	before := m.read()
	err := run(t.Context(), m.Store, maxRows)
	looked = m.read() - before
	if broad = errors.Is(err, content.ErrTooBroad); err != nil && !broad {
		t.Fatal(err)
	}
	return looked, broad
}

// TestWhatListsRead asserts that a call looks at no more where there are thirty times as many
// rows as it may look at.
func TestWhatListsRead(t *testing.T) {
	t.Parallel()
	const maxRows = 400
	for name, stack := range map[string]struct {
		open  func(*testing.T, int) meter
		bound int64
	}{
		// A row costs its look-ups in some indexes, of two or three pages each.
		"sqlitestore": {sqliteMeter, 12 * maxRows},
		// A row is looked at in its table, in the index that led there, and in tables that it is
		// joined with; some parts are tried in turn.
		"pgstore": {postgresMeter, 10 * maxRows},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, n := range []int{maxRows, 30 * maxRows} {
				m := stack.open(t, n)
				for _, c := range costs {
					looked, broad := m.cost(t, c.run, maxRows)
					if looked > stack.bound || broad && !c.broad {
						t.Errorf("%s, of %d contents: %d %s, refused %t; want at most %d", c.name, n, looked, m.unit,
							broad, stack.bound)
					}
				}
			}
		})
	}
}

// TestCostTable measures what TestWhatListsRead asserts, with many more rows, and writes it down.
func TestCostTable(t *testing.T) {
	if *costTable == "" {
		t.Skip("run with -cost-table=FILE") // it takes some minutes and hundreds of megabytes
	}
	var out strings.Builder
	out.WriteString("# What lists, filters, searches and counts cost\n\n" +
		"Written by `go test ./store -run TestCostTable -timeout 1h -cost-table ../docs/query-costs.md` with " +
		"a PostgreSQL (see README.md).\n" +
		"Rows are those read from tables and indexes, pages those of the SQLite file that were asked for; " +
		"the time is the median of five.\n" +
		"There are three times as many ratings as contents: 10³ and 3·10³, 33,333 and 10⁵, 10⁶ and 3·10⁶. " +
		"`400` is `query_too_broad`.\n")
	for _, stack := range []struct {
		name string
		open func(*testing.T, int) meter
	}{{"SQLite", sqliteMeter}, {"PostgreSQL", postgresMeter}} {
		// 3,000, 100,000 and 3,000,000 ratings.
		sizes := []meter{stack.open(t, 1000), stack.open(t, 33_333), stack.open(t, 1_000_000)}
		fmt.Fprintf(&out, "\n## %s\n\n| of | 10³ contents: %[2]s | ms | 10⁵ ratings: %[2]s | ms | 3·10⁶ "+
			"ratings: %[2]s | ms |\n"+
			"|---|---|---|---|---|---|---|\n", stack.name, sizes[0].unit)
		for _, c := range costs {
			fmt.Fprintf(&out, "| %s", c.name)
			for _, m := range sizes {
				var times []time.Duration
				var looked int64
				var broad bool
				for range 5 {
					began := time.Now()
					if err := c.run(t.Context(), m.Store, content.MaxRows); err != nil &&
						!errors.Is(err, content.ErrTooBroad) {
						t.Fatal(err)
					}
					times = append(times, time.Since(began))
				}
				looked, broad = m.cost(t, c.run, content.MaxRows)
				slices.Sort(times)
				refused := ""
				if broad {
					refused = ", 400"
				}
				fmt.Fprintf(&out, " | %d%s | %.1f", looked, refused, float64(times[2].Microseconds())/1000)
			}
			out.WriteString(" |\n")
		}
		if err := os.WriteFile(*costTable, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
