package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/internal/testserver"
	"github.com/khodnevis/khodnevis/internal/testutil"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
	"github.com/khodnevis/khodnevis/store"
	"github.com/khodnevis/khodnevis/store/pgstore"
)

// crowd makes batches of changes of few keys, in no order; each version occurs once.
type crowd struct {
	mu     sync.Mutex
	dice   *rand.Rand
	offset int64
	wanted map[rating.Key]rating.Change // what must win
}

func newCrowd(seed uint64) *crowd {
	return &crowd{dice: rand.New(rand.NewPCG(seed, 1)), wanted: map[rating.Key]rating.Change{}}
}

const (
	crowdContents = 20
	crowdRaters   = 40
)

func crowdIDs() []string {
	ids := make([]string, crowdContents)
	for i := range ids {
		ids[i] = fmt.Sprintf("content-%d", i)
	}
	return ids
}

func (c *crowd) batch(size int) []rating.Change {
	c.mu.Lock()
	defer c.mu.Unlock()
	byKey := map[rating.Key]rating.Change{}
	for range size {
		c.offset++
		next := change(fmt.Sprintf("content-%d", c.dice.IntN(crowdContents)),
			fmt.Sprintf("rater-%d", c.dice.IntN(crowdRaters)), c.offset, 1+c.dice.IntN(5))
		next.At = instant.Add(time.Duration(c.dice.IntN(30*24)) * time.Hour)
		if c.dice.IntN(6) == 0 {
			next.Withdraw, next.Score = true, 0
			if c.offset%2 == 0 {
				next.ReassignTo = fmt.Sprintf("anonymous-%d", c.offset)
			}
		}
		byKey[next.Key], c.wanted[next.Key] = next, next
	}
	var batch []rating.Change // in the order of a map: none
	for _, next := range byKey {
		batch = append(batch, next)
	}
	return batch
}

// check compares every row with what must have won, and the numbers with the rows.
func (c *crowd) check(t *testing.T, s *pgstore.Store) {
	t.Helper()
	ctx := t.Context()
	var keys []rating.Key
	for k := range c.wanted {
		keys = append(keys, k)
	}
	found, err := s.RatingsByKey(ctx, keys)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != len(keys) {
		t.Errorf("%d of %d ratings are there", len(found), len(keys))
	}
	for _, r := range found {
		if w := c.wanted[r.Key]; r.Version != w.Version || r.Withdrawn != w.Withdraw || r.Score != w.Score {
			t.Errorf("stored is %+v, want what %+v set", r, w)
		}
	}
	drifts, err := s.Recount(ctx, crowdIDs())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range drifts {
		t.Errorf("content %s: the buckets are %v, its rows say %v", d.Content, d.WasBuckets, d.IsBuckets)
	}
}

// twoPools returns two Stores over handles of their own, as two processes have them, on one schema.
// A deadlock is an error.
func twoPools(t *testing.T) (bench, []*pgstore.Store) {
	t.Helper()
	first := open(t)
	second := over(t, dial(t, testserver.Postgres(t),
		pgstore.OpenConfig{StatementTimeout: 30 * time.Second, LockTimeout: 20 * time.Second}), first.schema)
	first.Once()
	second.Once()
	return first, []*pgstore.Store{first.Store, second}
}

func TestOverlappingWriters(t *testing.T) {
	t.Parallel()
	first, stores := twoPools(t)
	c := newCrowd(1)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 25 {
				if _, err := stores[i%2].ApplyRatings(t.Context(), rating.Batch{Changes: c.batch(120)}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	c.check(t, first.Store)
}

// Numbers that are wrong are repaired while ratings are applied and folded, and nothing of those is
// lost.
func TestRecountUnderLoad(t *testing.T) {
	t.Parallel()
	first, stores := twoPools(t)
	c := newCrowd(2)
	if _, err := first.ApplyRatings(t.Context(), rating.Batch{Changes: c.batch(500)}); err != nil {
		t.Fatal(err)
	}
	var (
		writers sync.WaitGroup
		done    = make(chan struct{})
		others  sync.WaitGroup
		found   int
	)
	for i := range 4 {
		writers.Go(func() {
			for range 40 {
				if _, err := stores[i%2].ApplyRatings(t.Context(), rating.Batch{Changes: c.batch(60)}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	others.Go(func() {
		fold := func(rating.History) score.Score { return score.Score{Computed: true} }
		for {
			select {
			case <-done:
				return
			default:
				if _, err := stores[0].RefreshScores(t.Context(), 5, fold); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	others.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			for _, text := range []string{
				`UPDATE %s.rating_stats SET open_scores = open_scores || 3, open_counts = open_counts || 3::bigint
					WHERE content_id = $1`,
				`UPDATE %s.rating_stats SET open_bucket = open_bucket + 1, open_scores = '{1}', open_counts = '{7}'
					WHERE content_id = $1`,
				`INSERT INTO %s.rating_buckets AS b VALUES ($1, 777, '{1}', '{1}') ON CONFLICT (content_id, bucket)
					DO UPDATE SET counts[1] = b.counts[1] + 1`,
			}[i%3:][:1] {
				if _, err := first.db.ExecContext(t.Context(), fmt.Sprintf(text, first.schema),
					crowdIDs()[i%crowdContents]); err != nil {
					t.Error(err)
					return
				}
			}
			n, suspects, err := stores[1].Audit(t.Context())
			if err != nil || n != crowdContents || !slices.Equal(suspects, []string{crowdIDs()[i%crowdContents]}) {
				t.Errorf("damage %d: of %d contents, %v are suspects, %v; want %s", i, n, suspects, err,
					crowdIDs()[i%crowdContents])
				return
			}
			drifts, err := stores[1].Recount(t.Context(), crowdIDs())
			if err != nil {
				t.Error(err)
				return
			}
			if len(drifts) != 1 || drifts[0].Content != crowdIDs()[i%crowdContents] {
				t.Errorf("damage %d: the drifts are %+v, want one of content %s", i, drifts,
					crowdIDs()[i%crowdContents])
				return
			}
			found++
		}
	})
	writers.Wait()
	close(done)
	others.Wait()
	if found == 0 {
		t.Error("nothing was repaired")
	}
	c.check(t, first.Store)
}

// Workers whose back ends are killed all the time repeat their batches.
func TestKilledBackEnds(t *testing.T) {
	t.Parallel()
	s := open(t)
	u, err := url.Parse(testserver.Postgres(t))
	if err != nil || u.Host == "" {
		t.Skip("the server's address is no URL") // connections are named through it; make test gives URLs
	}
	query := u.Query()
	query.Set("application_name", s.schema)
	u.RawQuery = query.Encode()
	victim := over(t, dial(t, u.String(),
		pgstore.OpenConfig{StatementTimeout: 30 * time.Second, LockTimeout: 20 * time.Second}), s.schema)
	c := newCrowd(3)
	var (
		writers sync.WaitGroup
		running atomic.Int32
		failed  atomic.Int32
		done    atomic.Int32
	)
	running.Store(4)
	for range 4 {
		writers.Go(func() {
			defer running.Add(-1)
			for i := range 25 {
				batch := rating.Batch{Changes: c.batch(80)}
				if i%5 == 0 {
					batch.DeadLetters = []rating.DeadLetter{{Key: fmt.Sprint(i), At: instant}}
				}
				err := testutil.Try(30*time.Second, func() error {
					_, err := victim.ApplyRatings(t.Context(), batch)
					if err != nil && !errors.Is(err, store.ErrUnavailable) {
						t.Errorf("the error is %v, want ErrUnavailable", err)
					}
					if err != nil {
						failed.Add(1)
					}
					return err
				})
				if err != nil {
					t.Error(err)
					return
				}
				done.Add(1)
			}
		})
	}
	killed := 0
	for last := int32(0); running.Load() > 0; {
		if done.Load() == last { // otherwise nobody would ever get through
			time.Sleep(time.Millisecond)
			continue
		}
		var n int
		if err := s.db.Get(&n, `SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM
			(SELECT pid FROM pg_stat_activity WHERE application_name = $1 AND state <> 'idle'
				LIMIT 1) x`, s.schema); err != nil {
			t.Fatal(err)
		}
		if killed += n; n > 0 {
			last = done.Load()
		}
	}
	writers.Wait()
	t.Logf("%d back ends killed, %d calls failed", killed, failed.Load())
	if killed == 0 {
		t.Error("no back end was killed")
	}
	c.check(t, s.Store)
	rejected, err := s.ListDeadLetters(t.Context(), rating.DeadLetterQuery{Limit: 100})
	if err != nil || len(rejected) != 5 {
		t.Errorf("%d dead letters, %v, want 5", len(rejected), err)
	}
}

// While a fold takes its time, ratings of the contents that it has claimed are applied.
func TestRefreshScoresBlocksNoWriter(t *testing.T) {
	t.Parallel()
	s := open(t)
	apply := func(ctx context.Context, offset int64) error {
		_, err := s.ApplyRatings(ctx, rating.Batch{Changes: []rating.Change{change("c", "r", offset, int(offset))}})
		return err
	}
	if err := apply(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	refresh := func(fold func(rating.History)) int {
		t.Helper()
		refreshed, err := s.RefreshScores(t.Context(), 10, func(h rating.History) score.Score {
			fold(h)
			return score.Score{Computed: true}
		})
		if err != nil {
			t.Fatal(err)
		}
		return len(refreshed)
	}
	n := refresh(func(rating.History) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := apply(ctx, 2); err != nil {
			t.Errorf("a rating during a fold: %v", err)
		}
		if again, err := s.RefreshScores(ctx, 10,
			func(rating.History) score.Score { return score.Score{} }); err != nil || len(again) != 0 {
			t.Errorf("a second fold during the first refreshed %d contents, %v", len(again), err)
		}
	})
	var seen []score.Bucket
	again := refresh(func(h rating.History) { seen = h.Buckets })
	if n != 1 || again != 1 ||
		!reflect.DeepEqual(seen, []score.Bucket{{Counts: []score.Count{{Score: 2, N: 1}}}}) {
		t.Errorf("refreshed were %d contents, then %d from %v; want 1, then 1 from what was applied meanwhile", n,
			again, seen)
	}
	if n := refresh(func(rating.History) {}); n != 0 {
		t.Errorf("%d contents are refreshed without a change", n)
	}
}

// A recount of contents that have more ratings than one statement should look at is done in
// several.
func TestRecountInPieces(t *testing.T) {
	t.Parallel()
	s := open(t)
	var batch rating.Batch
	ids := crowdIDs()
	for i, id := range ids {
		batch.Changes = append(batch.Changes, change(id, "r", int64(i+1), 3), change(id, "q", int64(i+1), 5))
	}
	if _, err := s.ApplyRatings(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	s.run(t, `UPDATE `+s.schema+`.rating_scores SET n = 70000`)
	s.run(t, `UPDATE `+s.schema+`.rating_stats SET open_counts[1] = 8`)
	drifts, err := s.Recount(t.Context(), append(ids, "unknown", ids[0]))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(ids)
	for i, d := range drifts {
		if i >= len(ids) || d.Content != ids[i] || d.WasBuckets[0].Ratings() != 9 || d.IsBuckets[0].Ratings() != 2 ||
			d.IsBuckets[0].Sum() != 8 {
			t.Errorf("drift %d is %+v", i, d)
		}
	}
	if len(drifts) != len(ids) {
		t.Errorf("%d drifts, want %d", len(drifts), len(ids))
	}
	if drifts, err = s.Recount(t.Context(), ids); err != nil || len(drifts) != 0 {
		t.Errorf("again: %+v, %v", drifts, err)
	}
}

// The start of a history is looked up once.
func TestStartsAreRemembered(t *testing.T) {
	t.Parallel()
	s := open(t)
	apply := func(offset int64, age time.Duration) int {
		t.Helper()
		c := change("c", fmt.Sprint("r", offset), offset, 3)
		c.At = instant.Add(age)
		outcomes, err := s.ApplyRatings(t.Context(), rating.Batch{Changes: []rating.Change{c}})
		if err != nil {
			t.Fatal(err)
		}
		return outcomes[0].Rating.Bucket
	}
	apply(1, 0)
	s.run(t, `DELETE FROM `+s.schema+`.openings`)
	if bucket := apply(2, 2*time.Hour); bucket != 2 {
		t.Errorf("the bucket of a rating two hours later is %d, want 2", bucket)
	}
}
