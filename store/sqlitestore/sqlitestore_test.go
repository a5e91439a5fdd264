package sqlitestore_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/internal/sqlitefile"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
	"github.com/khodnevis/khodnevis/store"
	"github.com/khodnevis/khodnevis/store/sqlitestore"
	"github.com/khodnevis/khodnevis/store/storetest"
)

func openAt(t testing.TB, path string) *sqlitestore.Store {
	t.Helper()
	s, err := sqlitestore.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func newPath(t testing.TB) string { return filepath.Join(t.TempDir(), "s.db") }

func open(t testing.TB) *sqlitestore.Store {
	t.Helper()
	return openAt(t, newPath(t))
}

// execute runs statements past the store.
func execute(t testing.TB, s *sqlitestore.Store, queries ...string) {
	t.Helper()
	if err := s.File().Write(context.Background(), func(tx sqlitefile.Tx) error {
		for _, q := range queries {
			if _, err := tx.Exec(q); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// at returns a time n microseconds after some moment.
func at(n int) time.Time { return time.UnixMicro(1_700_000_000_000_000 + int64(n)).UTC() }

func create(t testing.TB, s *sqlitestore.Store, id, title, description string) {
	t.Helper()
	c := content.Content{ID: id, Title: title, Description: description, Author: "a", Version: 1, CreatedAt: at(0),
		UpdatedAt: at(0)}
	if err := s.CreateContent(context.Background(), c); err != nil {
		t.Fatal(err)
	}
}

func rate(t testing.TB, s *sqlitestore.Store, offset int64, id, rater string, score int) {
	t.Helper()
	c := rating.Change{Key: rating.Key{Content: id, Rater: rater}, Version: rating.Version{Epoch: 1, Offset: offset},
		Score: score, At: at(0).AddDate(0, 0, int(offset))}
	if _, err := s.ApplyRatings(context.Background(), rating.Batch{Changes: []rating.Change{c}}); err != nil {
		t.Fatal(err)
	}
}

func TestContract(t *testing.T) {
	// Timeout for the race detector on a busy machine.
	storetest.Run(t, func(t *testing.T) store.Store { return open(t) }, storetest.Config{Timeout: 5 * time.Minute})
}

func TestNewerFileIsRefused(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s := openAt(t, path)
	execute(t, s, "INSERT INTO migrations (component, version, name, applied_at) VALUES ('store', 1000, "+
		"'1000_future.sql', 0)")
	if _, err := sqlitestore.Open(path); !errors.Is(err, sqlitefile.ErrNewer) {
		t.Errorf("got %v", err)
	}
}

func TestTwoOpensOfOneFileShareIt(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	a, b := openAt(t, path), openAt(t, path)
	create(t, a, "c1", "one", "")
	create(t, b, "c2", "two", "")
	for _, s := range []*sqlitestore.Store{a, b} {
		if n, err := s.CountContents(t.Context(), content.Filter{}, 0); err != nil || n != 2 {
			t.Errorf("%d contents (%v), want 2", n, err)
		}
	}
	first, err := a.Installation(t.Context())
	second, err2 := b.Installation(t.Context())
	if errors.Join(err, err2) != nil || first != second {
		t.Errorf("one file has the identities %q and %q, %v, %v", first, second, err, err2)
	}
}

func TestFullDiskIsUnavailableAndPasses(t *testing.T) {
	t.Parallel()
	s := open(t)
	execute(t, s, "PRAGMA max_page_count = 100")
	big := content.Content{Title: "t", Description: strings.Repeat("x ", 30_000), Author: "a", Version: 1,
		CreatedAt: at(0), UpdatedAt: at(0)}
	var err error
	for i := 0; err == nil; i++ {
		big.ID = fmt.Sprint("big", i)
		err = s.CreateContent(t.Context(), big)
	}
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("on a full disk: %v", err)
	}
	if found, err := s.ContentsByID(t.Context(), []string{big.ID}); err != nil || len(found) != 0 {
		t.Errorf("found %d of a content that was refused (%v)", len(found), err)
	}
	execute(t, s, "PRAGMA max_page_count = 10000")
	if err := s.CreateContent(t.Context(), big); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

func TestClosedStoreAnswersWithErrors(t *testing.T) {
	t.Parallel()
	s := open(t)
	if err := s.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Ping(t.Context()); err == nil {
		t.Error("a closed store answers")
	}
	if _, err := s.StreamEpoch(t.Context(), "s"); err == nil {
		t.Error("a closed store writes")
	}
}

// Every word that content.Terms makes is one token of the index, whatever the version of Unicode
// that SQLite knows.
func TestEveryTermIsFound(t *testing.T) {
	t.Parallel()
	s := open(t)
	long := strings.Repeat("ب", 20_000)
	words := []string{
		"plain", "ÜBER", "straße", "ſ", "İstanbul", "Kelvin", "کتاب", "می\u200cخواهم", "२०२६",
		"𞤀𞤣𞤤𞤢𞤥", "𖿢", "𫝀",
		"ꟊ", "e\u0301tude", "\u0301", "ⅷ", "한국어", "日本語",
		"ﷺ", "x2", "2x", "AND", "near", "ᲀ", "𑻠", long, long + "x",
	}
	for i, word := range words {
		create(t, s, fmt.Sprintf("c%03d", i), "title "+word+"!", "other words")
	}
	for i, word := range words {
		terms := content.Terms(word)
		if len(terms) == 0 {
			continue // such as a number that is neither letter nor digit
		}
		found, err := s.ListContents(t.Context(), content.Query{Filter: content.Filter{Terms: terms},
			Order: content.Order{Field: content.ByTitle}, Limit: 100})
		if err != nil {
			t.Errorf("%.40q: %v", word, err)
			continue
		}
		var ids []string
		for j, other := range words { // what content.Terms says is equal
			if strings.Join(content.Terms(other), " ") == strings.Join(terms, " ") {
				ids = append(ids, fmt.Sprintf("c%03d", j))
			}
		}
		if len(found) != len(ids) {
			t.Errorf("%.40q (%d) is found %d times, want %v", word, i, len(found), ids)
		}
	}
	for _, wrong := range []string{"", `"`, `a"b`, "a b", "a*", "NEAR(a)", "\x00", "^a", "terms:a"} {
		n, err := s.CountContents(t.Context(), content.Filter{Terms: []string{wrong}}, 0)
		if err != nil || n != 0 {
			t.Errorf("%q: found %d (%v)", wrong, n, err)
		}
	}
}

// A content with many ratings is deleted in transactions of a thousand of them at most, so that
// nobody waits long for a turn to write.
func TestDeletionIsDoneInPieces(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(s *sqlitestore.Store) error{
		"DeleteContent": func(s *sqlitestore.Store) error { return s.DeleteContent(t.Context(), "c", 0) },
		"EraseContent":  func(s *sqlitestore.Store) error { return s.EraseContent(t.Context(), "c") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			create(t, s, "c", "title", "")
			var batch rating.Batch
			for i := range 2500 {
				c := rating.Change{Version: rating.Version{Epoch: 1}, Score: 4, At: at(i)}
				c.Key = rating.Key{Content: "c", Rater: fmt.Sprint("r", i)}
				batch.Changes = append(batch.Changes, c)
			}
			if _, err := s.ApplyRatings(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
			left := func(when string, want int) {
				t.Helper()
				var n int
				if _, err := s.File().Get(t.Context(), &n, `SELECT count(*) FROM ratings`); err != nil || n != want {
					t.Errorf("%s: %d rows (%v), want %d", when, n, err, want)
				}
			}
			if err := remove(s); err != nil {
				t.Fatal(err)
			}
			left("deleted", 1500)
			if _, err := s.SweepRatings(t.Context(), at(-1), 1); err != nil {
				t.Fatal(err)
			}
			left("swept", 0)
			var marks int
			if _, err := s.File().Get(t.Context(), &marks, `SELECT count(*) FROM clearing`); err != nil ||
				marks != 0 {
				t.Errorf("%d contents are still to be cleared (%v)", marks, err)
			}
		})
	}
}

func TestRecountRepairsAndReportsDrift(t *testing.T) {
	t.Parallel()
	corruptions := map[string][]string{
		"bucket":           {"UPDATE rating_buckets SET n = n + 1 WHERE bucket = 24"},
		"empty bucket":     {"INSERT INTO rating_buckets VALUES ('c', 1, 1, 1)"},
		"missing bucket":   {"DELETE FROM rating_buckets WHERE bucket = 24"},
		"another score":    {"UPDATE rating_buckets SET score = 1 WHERE bucket = 24"},
		"lost numbers":     {"DELETE FROM rating_stats", "DELETE FROM rating_buckets"},
		"changed row":      {"UPDATE ratings SET score = 1 WHERE rater = 'r2'"},
		"row moved by day": {"UPDATE ratings SET bucket = 99 WHERE rater = 'r2'"},
		"lost row":         {"DELETE FROM ratings WHERE rater = 'r2'"},
		"lost rows":        {"DELETE FROM ratings"},
	}
	for name, queries := range corruptions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			for i := 1; i <= 3; i++ {
				rate(t, s, int64(i), "c", fmt.Sprint("r", i), 2+i)
			}
			fold := func(rating.History) score.Score { return score.Score{Computed: true} }
			if _, err := s.RefreshScores(t.Context(), 10, fold); err != nil {
				t.Fatal(err)
			}
			if drifts, err := s.Recount(t.Context(), []string{"c", "c", "unknown"}); err != nil || len(drifts) != 0 {
				t.Fatalf("drift %v of numbers that are right (%v)", drifts, err)
			}
			execute(t, s, queries...)
			if ids, err := s.RatedContents(t.Context(), "", 10); err != nil || len(ids) != 1 || ids[0] != "c" {
				t.Errorf("rated contents are %v (%v)", ids, err)
			}
			drifts, err := s.Recount(t.Context(), []string{"c"})
			if err != nil || len(drifts) != 1 {
				t.Fatalf("got drifts %v (%v), want one", drifts, err)
			}
			var counted []struct{ Bucket, Score, N int64 }
			if err := s.File().Select(t.Context(), &counted, `SELECT bucket, score, count(*) AS n FROM ratings
				GROUP BY bucket, score`); err != nil {
				t.Fatal(err)
			}
			wanted := rating.Tally{}
			for _, c := range counted {
				wanted.AddMany(score.Cell{Bucket: int(c.Bucket), Score: int(c.Score)}, c.N)
			}
			was, is := drifts[0].WasBuckets, drifts[0].IsBuckets
			if !reflect.DeepEqual(is, wanted.Buckets()) || reflect.DeepEqual(is, was) {
				t.Errorf("it says %v after %v, the ratings %v", is, was, wanted.Buckets())
			}
			if drifts, err := s.Recount(t.Context(), []string{"c"}); err != nil || len(drifts) != 0 {
				t.Errorf("after the repair: %v (%v)", drifts, err)
			}
			if stats, err := s.RefreshScores(t.Context(), 10, fold); err != nil || len(stats) != 1 {
				t.Errorf("%d contents to fold after the repair (%v), want 1", len(stats), err)
			}
		})
	}
}

// A write whose caller has gone may still run; it must not see what the caller does with its
// memory.
func TestAbandonedWritesShareNoMemory(t *testing.T) {
	t.Parallel()
	s := open(t)
	for i := range 100 {
		batch := rating.Batch{
			Changes:     changes(random(), 2000, int64(2000*i)),
			DeadLetters: []rating.DeadLetter{{Key: "k", Body: []byte("body"), At: at(i)}},
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+i)*2*time.Millisecond)
		_, err := s.ApplyRatings(ctx, batch)
		cancel()
		clear(batch.Changes)
		clear(batch.DeadLetters[0].Body)
		execute(t, s) // waits for its end
		if !errors.Is(err, sqlitefile.ErrUnknown) {
			continue
		}
		if found, err := s.RatingsByKey(t.Context(), []rating.Key{{}}); err != nil || len(found) != 0 {
			t.Errorf("stored %v (%v), which nobody rated", found, err)
		}
		rejected, err := s.ListDeadLetters(t.Context(), rating.DeadLetterQuery{Limit: 10})
		if err != nil || len(rejected) > 0 && string(rejected[0].Body) != "body" {
			t.Errorf("rejected are %v (%v)", rejected, err)
		}
		return
	}
	t.Error("no write was abandoned while it ran")
}
