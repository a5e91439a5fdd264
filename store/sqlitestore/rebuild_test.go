package sqlitestore_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/khodnevis/khodnevis/internal/sqlitefile"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
	"github.com/khodnevis/khodnevis/store/sqlitestore"
)

// openBefore opens a file with the schema as it was before a step.
func openBefore(t *testing.T, path string, step string) *sqlitefile.File {
	t.Helper()
	files, steps := os.DirFS("migrations"), fstest.MapFS{}
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if name >= step {
			break
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			t.Fatal(err)
		}
		steps[name] = &fstest.MapFile{Data: text}
	}
	file, err := sqlitefile.Open(path, sqlitefile.Config{})
	if err == nil {
		err = file.Migrate(t.Context(), "store", steps)
	}
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// fillBefore writes ratings as the release before 0007 did: histories of contents started when the
// content was created, and buckets had a number and a sum. It returns when the history of each
// content starts now.
func fillBefore(t *testing.T, file *sqlitefile.File, dice *rand.Rand, contents, most int) map[string]time.Time {
	t.Helper()
	starts := map[string]time.Time{}
	err := file.WriteLong(t.Context(), func(tx sqlitefile.Tx) error {
		for c := range contents {
			id, created := fmt.Sprintf("c%03d", c), at(0)
			buckets, bins := map[int][2]int64{}, map[int]int64{}
			var n, sum int64
			for r := range 1 + dice.IntN(most) {
				made := created.Add(time.Duration(48+dice.IntN(2000)) * time.Hour)
				updated := made.Add(time.Duration(dice.IntN(3)*dice.IntN(100)) * time.Hour)
				value, bucket, result := dice.IntN(21)-10, score.BucketAt(created, updated), "created"
				if dice.IntN(5) == 0 {
					value, bucket, result = 0, 0, "withdrawn"
				} else {
					n, sum, bins[value] = n+1, sum+int64(value), bins[value]+1
					buckets[bucket] = [2]int64{buckets[bucket][0] + 1, buckets[bucket][1] + int64(value)}
					if start, ok := starts[id]; !ok || made.Before(start) {
						starts[id] = made
					}
				}
				if _, err := tx.Exec(`INSERT INTO ratings (content, rater, score, bucket, epoch, "offset", result, created_at,
					updated_at) VALUES (?, ?, ?, ?, 1, ?, ?, ?, ?)`, id, fmt.Sprintf("r%05d", r), value, bucket, r+1, result,
					made.UnixMicro(), updated.UnixMicro()); err != nil {
					return err
				}
			}
			if _, err := tx.Exec(`INSERT INTO rating_stats (content, n, sum, value, weight, rank, folded, revision, as_of)
				VALUES (?, ?, ?, 1, ?, 2, 1, 7, 1)`, id, n, sum, n); err != nil {
				return err
			}
			for value, n := range bins {
				if _, err := tx.Exec(`INSERT INTO rating_bins VALUES (?, ?, ?)`, id, value, n); err != nil {
					return err
				}
			}
			for bucket, b := range buckets {
				if _, err := tx.Exec(`INSERT INTO rating_buckets VALUES (?, ?, ?, ?)`, id, bucket, b[0], b[1]); err != nil {
					return err
				}
			}
			if start, ok := starts[id]; ok && c%4 == 0 { // a host's content
				starts[id] = start.Add(-time.Hour)
				if _, err := tx.Exec(`INSERT INTO openings VALUES (?, ?)`, id, starts[id].UnixMicro()); err != nil {
					return err
				}
			}
			from := created.Add(100 * time.Hour)
			if _, err := tx.Exec(`INSERT INTO rating_windows VALUES (?, 'w', 'excluded', ?, ?, 1, 1, '', 'staff', 1)`, id,
				from.UnixMicro(), from.Add(30*time.Hour).UnixMicro()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return starts
}

// TestRebuildAfterUpgrade: right after the upgrade everybody reads what was published before; in the
// end everything is as if it had always been counted by bucket and score. In between ratings come
// and are withdrawn, and the rebuild is stopped again and again.
func TestRebuildAfterUpgrade(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 1))
	path := newPath(t)
	file := openBefore(t, path, "0007")
	const contents = 60
	starts := fillBefore(t, file, dice, contents, 300)
	execute := func(q string, args ...any) (n int64) {
		t.Helper()
		if err := file.WriteLong(t.Context(), func(tx sqlitefile.Tx) (err error) {
			n, err = tx.Exec(q, args...)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	// one with more ratings than a piece
	execute(`WITH RECURSIVE i (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 7000)
		INSERT INTO ratings (content, rater, score, bucket, epoch, "offset", result, created_at, updated_at)
		SELECT 'c000', 'many' || n, n % 5, 9, 1, 9, 'created', ?1 + n * 60000000, ?1 + n * 60000000 FROM i`,
		starts["c000"].UnixMicro())
	var before []struct {
		Content string
		N       int64
	}
	if err := file.Select(t.Context(), &before, `SELECT content, n FROM rating_stats ORDER BY content`); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}

	s := openAt(t, path)
	ids := make([]string, contents)
	for i := range ids {
		ids[i] = fmt.Sprintf("c%03d", i)
	}
	stats, err := s.StatsByContent(t.Context(), ids)
	slices.SortFunc(stats, func(a, b rating.Stats) int { return strings.Compare(a.Content, b.Content) })
	if err != nil || len(stats) != contents {
		t.Fatalf("%d stats, %v", len(stats), err)
	}
	for i, b := range before {
		var n int64
		for _, r := range stats[i].Histogram {
			n += r
		}
		if stats[i].Content != b.Content || stats[i].Count != b.N || n != b.N || stats[i].Revision != 7 {
			t.Errorf("right after the upgrade the numbers are %+v, they were %+v", stats[i], b)
		}
	}
	if drifts, err := s.Recount(t.Context(), ids[50:51]); err != nil || len(drifts) > 0 {
		t.Errorf("the recount of a content that is not rebuilt reports %v, %v", drifts, err)
	}

	compute := func(h rating.History) score.Score {
		return score.Policy{}.Compute(score.Scale{Min: -10, Max: 10}, h.Buckets, h.Rulings())
	}
	var others sync.WaitGroup
	done := make(chan struct{})
	others.Go(func() { // somebody rates, withdraws and reads all the time
		for i := int64(100_000); ; i++ {
			select {
			case <-done:
				return
			default:
			}
			c := rating.Change{Version: rating.Version{Epoch: 1, Offset: i}, At: at(0).Add(time.Duration(i) * time.Minute),
				Key: rating.Key{Content: ids[i%contents], Rater: fmt.Sprintf("r%05d", i%500)}, Score: int(i%21) - 10}
			if i%3 == 0 {
				c.Withdraw, c.Score = true, 0
			}
			_, err := s.ApplyRatings(t.Context(), rating.Batch{Changes: []rating.Change{c}})
			_, err2 := s.StatsByContent(t.Context(), ids)
			_, err3 := s.RefreshScores(t.Context(), 5, compute)
			if err := errors.Join(err, err2, err3); err != nil {
				t.Error(err)
				return
			}
		}
	})
	stops := 0
	for stopping := true; stopping; {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(dice.IntN(5000))*time.Microsecond)
		err := s.Rebuild(ctx)
		cancel()
		if stopping = err != nil; stopping {
			stops++
		}
	}
	close(done)
	others.Wait()
	t.Logf("stopped %d times", stops)
	if _, err := s.RefreshScores(t.Context(), contents, compute); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		checkRebuilt(t, s, id, starts[id], compute)
	}
	if drifts, err := s.Recount(t.Context(), ids); err != nil || len(drifts) > 0 {
		t.Errorf("a recount finds %v, %v", drifts, err)
	}
	if err := s.Rebuild(t.Context()); err != nil {
		t.Error(err)
	}
}

func checkRebuilt(t *testing.T, s *sqlitestore.Store, id string, start time.Time,
	compute func(rating.History) score.Score) {
	t.Helper()
	rows, err := s.ListRatings(t.Context(), rating.Query{Filter: rating.Filter{Content: id}, Limit: 10_000})
	h, err2 := s.HistoryByContent(t.Context(), id)
	stats, err3 := s.StatsByContent(t.Context(), []string{id})
	if err := errors.Join(err, err2, err3); err != nil {
		t.Fatal(err)
	}
	if !start.IsZero() && !h.Start.Equal(start) {
		t.Errorf("the history of %s starts at %v, want %v", id, h.Start, start)
	}
	counted := rating.Tally{}
	for _, r := range rows {
		if want := score.BucketAt(h.Start, r.UpdatedAt); r.Bucket != want {
			t.Fatalf("%v counts in bucket %d, want %d", r.Key, r.Bucket, want)
		}
		counted.Add(r, 1)
	}
	if !reflect.DeepEqual(h.Buckets, counted.Buckets()) {
		t.Errorf("the buckets of %s are %v, its ratings say %v", id, h.Buckets, counted.Buckets())
	}
	if want := h.Stats(id, compute(h)); len(stats) != 1 || !stats[0].Equal(want) {
		t.Errorf("the numbers are %+v, want %+v", stats, want)
	}
	for _, w := range h.Windows {
		if start.IsZero() { // all ratings were withdrawn before the upgrade: there was no history to rule on
			break
		}
		first, last := score.BucketAt(h.Start, w.From), score.BucketAt(h.Start, w.Until.Add(-time.Microsecond))
		if w.First != first || w.Last != last {
			t.Errorf("the window of %s covers %d to %d, want %d to %d", id, w.First, w.Last, first, last)
		}
	}
}
