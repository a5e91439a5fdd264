package pgstore_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lib/pq"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/internal/testserver"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
	"github.com/khodnevis/khodnevis/store/pgstore"
)

// past is what a database holds at the step before 0008_counts.sql.
type past struct {
	dice   *rand.Rand
	offset int64
	raters map[string][]string // by content
	// created is when the histories of contents started then: at their creation, or, of the content of
	// a host, with its first rating.
	created map[string]time.Time
	batches [][]rating.Change // the first one starts each history
	rows    map[rating.Key]rating.Rating
	windows []rating.Window
}

// newPast makes contents of which one needs several pieces. Their scores are from -1000 to 1000.
func newPast() *past {
	p := &past{dice: rand.New(rand.NewPCG(7, 8)), raters: map[string][]string{}, created: map[string]time.Time{},
		rows: map[rating.Key]rating.Rating{}}
	p.batches = [][]rating.Change{nil}
	for i := range 40 {
		id, raters := fmt.Sprintf("content-%02d", i), 1+p.dice.IntN(40)
		if i == 7 {
			raters = 12_000
		}
		for j := range raters {
			p.raters[id] = append(p.raters[id], fmt.Sprintf("rater-%05d", j))
		}
		p.created[id] = instant.Add(-time.Duration(p.dice.IntN(100*3600)) * time.Second)
		p.batches[0] = append(p.batches[0], p.change(id, raters/2, instant))
		w := rating.Window{ID: "w", Content: id, Ruling: score.Excluded, From: instant.Add(time.Hour), By: "staff",
			Until: instant.Add(time.Duration(p.dice.IntN(9*24)+2) * time.Hour), CreatedAt: instant}
		p.windows = append(p.windows, w)
	}
	host := "content-03" // its first rating was withdrawn and made again, so that no row has its time
	p.created[host] = instant
	again := p.change(host, len(p.raters[host])/2, p.later())
	withdrawn := again
	withdrawn.Withdraw, withdrawn.Score, withdrawn.Version.Offset = true, 0, again.Version.Offset-1
	p.offset++
	again.Version.Offset = p.offset
	p.batches = append(p.batches, []rating.Change{withdrawn}, []rating.Change{again})
	for range 3 {
		for id, raters := range p.sorted() {
			var batch []rating.Change
			for i := range raters {
				if i != len(raters)/2 || id == host {
					batch = append(batch, p.random(id, i))
				}
			}
			p.batches = append(p.batches, batch)
		}
	}
	for _, batch := range p.batches {
		for _, c := range batch {
			if outcome, ok := c.Apply(p.rows[c.Key], p.created[c.Content]); ok {
				p.rows[c.Key] = outcome.Rating
			}
		}
	}
	return p
}

// sorted returns the raters by content, in the order of the contents.
func (p *past) sorted() func(yield func(string, []string) bool) {
	return func(yield func(string, []string) bool) {
		for _, id := range p.ids() {
			if !yield(id, p.raters[id]) {
				return
			}
		}
	}
}

func (p *past) ids() (ids []string) {
	for id := range p.raters {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func (p *past) later() time.Time {
	return instant.Add(time.Duration(1+p.dice.Int64N(10*24*3600*1000)) * time.Millisecond)
}

func (p *past) change(id string, rater int, at time.Time) rating.Change {
	p.offset += 2
	c := change(id, p.raters[id][rater], p.offset, p.dice.IntN(2001)-1000)
	c.At = at
	return c
}

// random changes a rating, or withdraws or reassigns it. Some keep their score.
func (p *past) random(id string, rater int) rating.Change {
	c := p.change(id, rater, p.later())
	switch p.dice.IntN(6) {
	case 0:
		c.Withdraw, c.Score = true, 0
	case 1, 2:
		c.Score = 5
	}
	return c
}

// more returns batches of changes of what is there, and of new ratings. Some ratings are reassigned to
// raters before and after all others.
func (p *past) more(n int) (batches [][]rating.Change) {
	ids := p.ids()
	for range n {
		byKey := map[rating.Key]rating.Change{}
		for range 40 {
			id := ids[p.dice.IntN(len(ids))]
			if p.dice.IntN(2) == 0 {
				id = ids[7]
			}
			if p.dice.IntN(8) == 0 {
				p.raters[id] = append(p.raters[id], fmt.Sprintf("new-%d", p.offset))
			}
			c := p.random(id, p.dice.IntN(len(p.raters[id])))
			if c.Withdraw {
				c.ReassignTo = []string{"", "0-", "z-"}[p.dice.IntN(3)]
				if c.ReassignTo != "" {
					c.ReassignTo += fmt.Sprint(p.offset)
				}
			}
			byKey[c.Key] = c
		}
		var batch []rating.Change
		for _, c := range byKey {
			batch = append(batch, c)
		}
		batches = append(batches, batch)
	}
	return batches
}

// store writes all of it as the step before did, and returns the numbers that were published then.
func (p *past) store(t *testing.T, s bench) map[string]rating.Stats {
	t.Helper()
	keys := make([]rating.Key, 0, len(p.rows))
	for k := range p.rows {
		keys = append(keys, k)
	}
	tx := s.db.MustBegin()
	copied, err := tx.Prepare(`COPY ` + s.schema + `.ratings (content_id, rater, epoch, position, created_at,
		updated_at, score, bucket, result, withdrawn) FROM STDIN`)
	if err != nil {
		t.Fatal(err)
	}
	tallies := map[string]rating.Tally{}
	for _, k := range keys {
		r := p.rows[k]
		if _, err := copied.Exec(r.Content, r.Rater, r.Version.Epoch, r.Version.Offset, r.CreatedAt, r.UpdatedAt, r.Score,
			r.Bucket, string(r.Result), r.Withdrawn); err != nil {
			t.Fatal(err)
		}
		if tallies[k.Content] == nil {
			tallies[k.Content] = rating.Tally{}
		}
		tallies[k.Content].Add(r, 1)
	}
	if _, err := copied.Exec(); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	published := map[string]rating.Stats{}
	for i, id := range p.ids() {
		stats := rating.History{Buckets: tallies[id].Buckets()}.Stats(id,
			score.Score{Value: float64(i), Counted: 1, Rank: float64(-i), Computed: true})
		scores, counts := pq.Int64Array{9}, pq.Int64Array{0} // of a score that nobody gives any more
		for value, n := range stats.Histogram {
			scores, counts = append(scores, int64(value), int64(value)), append(counts, n-1, 1)
		}
		s.db.MustExec(`INSERT INTO `+s.schema+`.rating_stats (content_id, n, sum, revision, open_n, open_bucket, dirty,
			scores, counts) VALUES ($1, $2, $3, 3, 5, $4, $5, $6, $7)`, id, stats.Count, stats.Sum, 99*(i%2), i%2 == 0,
			scores, counts)
		s.db.MustExec(`INSERT INTO `+s.schema+`.rating_buckets VALUES ($1, 3, 70, 80)`, id)
		s.db.MustExec(`INSERT INTO `+s.schema+`.rating_scores (content_id, value, weight, rank, folded, folds, n)
			VALUES ($1, $2, 1, $3, true, 4, 77)`, id, float64(i), float64(-i))
		if p.created[id].Equal(instant) {
			s.db.MustExec(`INSERT INTO `+s.schema+`.openings VALUES ($1, $2)`, id, instant)
		} else {
			s.db.MustExec(`INSERT INTO `+s.schema+`.contents SELECT $1, 't', 't', '', '{}', 'a', 1, $2, $2`, id,
				p.created[id])
		}
		stats.Revision = 7
		published[id] = stats
	}
	for _, w := range p.windows {
		s.db.MustExec(`INSERT INTO `+s.schema+`.rating_windows VALUES ($1, $2, $3, $4, $5, 999, 999, '', $6, $7)`,
			w.Content, w.ID, string(w.Ruling), w.From, w.Until, w.By, w.CreatedAt)
	}
	return published
}

func applyAll(t *testing.T, s *pgstore.Store, batches [][]rating.Change) {
	t.Helper()
	for _, batch := range batches {
		if len(batch) == 0 {
			continue
		}
		for part := range slices.Chunk(batch, 3000) {
			if _, err := s.ApplyRatings(t.Context(), rating.Batch{Changes: part}); err != nil {
				t.Error(err)
				return
			}
		}
	}
}

// telling computes a score that tells histories apart.
func telling(h rating.History) score.Score {
	f := score.Score{Computed: true}
	for _, b := range h.Buckets {
		f.Value += float64(b.Index+1) * float64(b.Sum())
		f.Counted += float64(b.Ratings())
	}
	for _, w := range h.Windows {
		f.Rank += float64(1000*w.First + w.Last)
	}
	return f
}

// Contents that were rated before the buckets counted each score are rebuilt while everything else goes
// on, although those who rebuild are stopped all the time. In the end all is as in a store that the same
// ratings were applied to.
func TestRebuild(t *testing.T) {
	t.Parallel()
	ctx, p := t.Context(), newPast()
	s, fresh := openAt(t, 7), open(t)
	published, ids := p.store(t, s), p.ids()
	if err := s.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	p.wantPublished(t, s, published)
	s.Once() // a deadlock is an error
	early, during, late := p.more(5), p.more(80), p.more(5)

	applyAll(t, s.Store, early)
	if refreshed, err := s.RefreshScoresOf(ctx, ids, telling); err != nil || len(refreshed) != 0 {
		t.Errorf("before a rebuild %d contents were refreshed, %v", len(refreshed), err)
	}
	p.wantPublished(t, s, published)

	done, rebuilt := make(chan struct{}), make(chan struct{}, 2)
	var readers, rebuilders sync.WaitGroup
	p.read(t, s, done, &readers)
	for i := range cap(rebuilt) {
		pool := dial(t, testserver.Postgres(t), pgstore.OpenConfig{MaxConns: 2})
		rebuilder := over(t, pool, s.schema)
		rebuilder.Once()
		rebuilders.Go(func() { rebuildInPieces(t, rebuilder, rand.New(rand.NewPCG(9, uint64(i)))) })
	}
	applyAll(t, s.Store, during)
	rebuilders.Wait()
	close(done)
	readers.Wait()
	if err := s.Rebuild(ctx); err != nil {
		t.Fatal(err)
	}
	applyAll(t, s.Store, late)

	applyAll(t, fresh.Store, slices.Concat(p.batches, early, during, late))
	for _, w := range p.windows {
		w.First, w.Last = score.BucketAt(instant, w.From), score.BucketAt(instant, w.Until.Add(-time.Microsecond))
		if err := fresh.AddWindow(ctx, w); err != nil {
			t.Fatal(err)
		}
	}
	sameStores(t, s.Store, fresh.Store, ids)
	if n, suspects, err := s.Audit(ctx); n != len(ids) || len(suspects) != 0 || err != nil {
		t.Errorf("of %d contents %v are suspects, %v", n, suspects, err)
	}
	if drifts, err := s.Recount(ctx, ids); len(drifts) != 0 || err != nil {
		t.Errorf("the drifts are %v, %v", drifts, err)
	}
}

// wantPublished fails unless the published numbers are those given.
func (p *past) wantPublished(t *testing.T, s bench, published map[string]rating.Stats) {
	t.Helper()
	found, err := s.StatsByContent(t.Context(), p.ids())
	if err != nil || len(found) != len(published) {
		t.Fatalf("%d contents have numbers, %v, want %d", len(found), err, len(published))
	}
	for _, stats := range found {
		if w := published[stats.Content]; !stats.Equal(w) || stats.Revision != w.Revision || stats.AsOf.IsZero() {
			t.Fatalf("the numbers of %s are %+v, want %+v", stats.Content, stats, w)
		}
	}
	for i, n := range []int{5, 1} {
		c := published[p.ids()[n]]
		listed, err := s.ListContents(t.Context(), content.Query{Limit: 40, Order: content.Order{Field: content.ByRatings},
			Filter: content.Filter{RatingsMin: c.Count}})
		if err != nil || !slices.ContainsFunc(listed, func(l content.Listed) bool { return l.ID == c.Content }) {
			t.Errorf("list %d has no %s: %v, %v", i, c.Content, listed, err)
		}
	}
}

// read reads, refreshes, recounts and audits until done.
func (p *past) read(t *testing.T, s bench, done <-chan struct{}, wg *sync.WaitGroup) {
	ids := p.ids()
	for _, call := range []func(ctx context.Context, i int) (ok bool, err error){
		func(ctx context.Context, _ int) (bool, error) {
			found, err := s.StatsByContent(ctx, ids)
			return len(found) == len(ids), err
		},
		func(ctx context.Context, i int) (bool, error) {
			h, err := s.HistoryByContent(ctx, ids[i%len(ids)])
			for _, b := range h.Buckets {
				if slices.ContainsFunc(b.Counts, func(c score.Count) bool { return c.N < 1 }) {
					return false, err
				}
			}
			return h.Start.Equal(instant), err
		},
		func(ctx context.Context, _ int) (bool, error) {
			_, err := s.RefreshScores(ctx, 5, telling)
			return true, err
		},
		func(ctx context.Context, i int) (bool, error) {
			drifts, err := s.Recount(ctx, ids[i%len(ids):][:1])
			return len(drifts) == 0, err
		},
		func(ctx context.Context, _ int) (bool, error) {
			n, suspects, err := s.Audit(ctx)
			return n == len(ids) && len(suspects) == 0, err
		},
	} {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				if ok, err := call(t.Context(), i); err != nil || !ok {
					t.Errorf("%T %d during a rebuild: %t, %v", call, i, ok, err)
					return
				}
			}
		})
	}
}

// rebuildInPieces is stopped again and again.
func rebuildInPieces(t *testing.T, s *pgstore.Store, dice *rand.Rand) {
	for i := 1; ; i++ {
		deadline := time.Now().Add(time.Duration(dice.IntN(i * int(10*time.Millisecond))))
		ctx, cancel := context.WithDeadline(t.Context(), deadline)
		err := s.Rebuild(ctx)
		over := !time.Now().Before(deadline)
		cancel()
		if err == nil {
			return
		}
		if !over {
			t.Errorf("rebuild %d: %v", i, err)
			return
		}
	}
}

// sameStores fails unless both stores have the same ratings, buckets, starts, windows and, once they are
// published, numbers.
func sameStores(t *testing.T, s, fresh *pgstore.Store, ids []string) {
	t.Helper()
	type stored struct {
		Ratings   []rating.Rating
		Histories []rating.History
		Stats     []rating.Stats
	}
	var all [2]stored
	for i, one := range []*pgstore.Store{s, fresh} {
		if _, err := one.RefreshScoresOf(t.Context(), ids, telling); err != nil {
			t.Fatal(err)
		}
		q := rating.Query{Limit: 5000}
		for {
			page, err := one.ListRatings(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			all[i].Ratings = append(all[i].Ratings, page...)
			if len(page) < q.Limit {
				break
			}
			q.After = &rating.Cursor{Key: page[len(page)-1].Key}
		}
		for _, id := range ids {
			h, err := one.HistoryByContent(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			stats, err := one.StatsByContent(t.Context(), []string{id})
			if err != nil || len(stats) != 1 {
				t.Fatal(stats, err)
			}
			stats[0].Revision, stats[0].AsOf = 0, time.Time{}
			all[i].Histories, all[i].Stats = append(all[i].Histories, h), append(all[i].Stats, stats[0])
		}
	}
	if len(all[0].Ratings) < 5000 || len(all[0].Ratings) != len(all[1].Ratings) {
		t.Fatalf("there are %d ratings, want %d", len(all[0].Ratings), len(all[1].Ratings))
	}
	for i, r := range all[0].Ratings {
		if w := all[1].Ratings[i]; r != w {
			t.Fatalf("rating %d is %+v, want %+v", i, r, w)
		}
	}
	for i, id := range ids {
		if h, w := all[0].Histories[i], all[1].Histories[i]; !reflect.DeepEqual(h, w) {
			t.Errorf("the history of %s is\n%+v, want\n%+v", id, h, w)
		}
		if st, w := all[0].Stats[i], all[1].Stats[i]; !reflect.DeepEqual(st, w) {
			t.Errorf("the numbers of %s are %+v, want %+v", id, st, w)
		}
	}
}

// A rating that is reassigned before its bucket is set, to a rater whom the rebuild has passed.
func TestRebuildOfReassigned(t *testing.T) {
	t.Parallel()
	ctx, p := t.Context(), newPast()
	s := openAt(t, 7)
	p.store(t, s)
	if err := s.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	id, begun := p.ids()[7], ""
	for begun == "" {
		if err := s.RebuildPiece(ctx); err != nil {
			t.Fatal(err)
		}
		s.db.MustExec(`DELETE FROM ` + s.schema + `.rebuilds WHERE content_id > 'content-07'`)
		if err := s.db.Get(&begun, `SELECT rater FROM `+s.schema+`.rebuilds`); err != nil {
			t.Fatal(err)
		}
	}
	var batch rating.Batch
	for i := range 500 {
		c := p.change(id, len(p.raters[id])-1-i, p.later())
		c.Withdraw, c.Score, c.ReassignTo = true, 0, fmt.Sprint("0-", i)
		batch.Changes = append(batch.Changes, c)
	}
	if _, err := s.ApplyRatings(ctx, batch); err != nil {
		t.Fatal(err)
	}
	if err := s.Rebuild(ctx); err != nil {
		t.Fatal(err)
	}
	found, err := s.ListRatings(ctx, rating.Query{Filter: rating.Filter{Content: id}, Limit: 20_000})
	if err != nil || len(found) < 6000 {
		t.Fatal(len(found), err)
	}
	counted := rating.Tally{}
	for _, r := range found {
		if w := score.BucketAt(instant, r.UpdatedAt); r.Bucket != w {
			t.Fatalf("the bucket of %+v is %d, want %d", r.Key, r.Bucket, w)
		}
		counted.Add(r, 1)
	}
	if h, err := s.HistoryByContent(ctx, id); err != nil || !reflect.DeepEqual(h.Buckets, counted.Buckets()) {
		t.Errorf("the buckets are %v, %v, want %v", h.Buckets, err, counted.Buckets())
	}
}

func TestBucketAtInSQL(t *testing.T) {
	t.Parallel()
	db := dial(t, testserver.Postgres(t), pgstore.OpenConfig{})
	ages := []time.Duration{-1000 * time.Hour, -time.Microsecond, 0, 200 * 365 * 24 * time.Hour}
	dice := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		hours := time.Duration(dice.IntN(100)) * time.Hour
		ages = append(ages, hours, hours-time.Microsecond, hours*1000-time.Microsecond,
			time.Duration(dice.Int64N(int64(1e17))).Truncate(time.Microsecond))
	}
	for _, age := range ages {
		at := instant.Add(age)
		var got int
		if err := db.Get(&got, `SELECT `+pgstore.BucketAt(`$1::timestamptz`, `$2::timestamptz`), instant, at); err != nil ||
			got != score.BucketAt(instant, at) {
			t.Errorf("after %s the bucket is %d, %v, want %d", age, got, err, score.BucketAt(instant, at))
		}
	}
}
