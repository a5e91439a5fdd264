package score_test

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
	"github.com/khodnevis/khodnevis/store/memstore"
)

// start is when the histories of the tests start.
var start = time.Date(2026, 11, 23, 10, 11, 12, 131415000, time.UTC)

// seed returns the seed of a random test, another one each time. KHODNEVIS_TEST_SEED repeats a run.
func seed(t *testing.T) uint64 {
	t.Helper()
	s := rand.Uint64() //nolint:gosec // no secret
	if given := os.Getenv("KHODNEVIS_TEST_SEED"); given != "" {
		var err error
		if s, err = strconv.ParseUint(given, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("KHODNEVIS_TEST_SEED=%d", s)
	return s
}

// events returns a random history of one content: ratings are made, changed, withdrawn and made
// again, there are bursts of ones, and some events come late, after newer ones of the same rating,
// or twice.
func events(r *rand.Rand) []rating.Change {
	opened := start
	raters, at := 1+r.IntN(80), opened
	var changes []rating.Change
	calm, burst := 0, 1+r.IntN(300) // when a burst begins; most histories have none
	for i := range 1 + r.IntN(120) {
		pace := 8 * time.Hour
		if calm++; calm > burst {
			pace = time.Minute
		}
		at = at.Add(time.Duration(r.ExpFloat64() * float64(pace)))
		c := rating.Change{Key: rating.Key{Content: "c", Rater: strconv.Itoa(r.IntN(raters))},
			Version: rating.Version{Epoch: 1, Offset: int64(i)}, At: at}
		if c.Withdraw = r.IntN(6) == 0; !c.Withdraw {
			c.Score, c.Bucket = 1+r.IntN(5), score.BucketAt(opened, at)
			if calm > burst {
				c.Score = 1
			}
		}
		changes = append(changes, c)
	}
	for range len(changes) / 4 {
		from, to := r.IntN(len(changes)), r.IntN(len(changes))
		changes[from], changes[to] = changes[to], changes[from]
		if r.IntN(2) == 0 {
			changes = append(changes, changes[from])
		}
	}
	return changes
}

// bits tells scores apart that are equal to every digit one prints.
func bits(s score.Score) [3]uint64 {
	return [3]uint64{math.Float64bits(s.Value), math.Float64bits(s.Weight), math.Float64bits(s.Rank)}
}

// TestHistories: after any history, the rows that the score follows from, kept up to date change by
// change, are those that a rebuild from the ratings gives, and the score has the same bits,
// whenever it was computed before.
func TestHistories(t *testing.T) {
	t.Parallel()
	const histories = 10_000
	s := seed(t)
	held, late := 0, 0
	for n := range uint64(histories) {
		r := rand.New(rand.NewPCG(s, n)) //nolint:gosec // repeatable on purpose
		if err := func() error {
			store, policy := memstore.New(memstore.Config{Now: func() time.Time { return start }}), score.Policy{}
			compute := func(h rating.History) score.Score { return policy.Compute(score.Scale{}, h.Buckets, nil) }
			rest := events(r)
			for len(rest) > 0 {
				batch := rest[:1+r.IntN(min(8, len(rest)))]
				rest = rest[len(batch):]
				for _, c := range batch { // a batch holds each key once
					outcomes, err := store.ApplyRatings(t.Context(), rating.Batch{Changes: []rating.Change{c}})
					if err != nil {
						return err
					}
					if outcomes[0].Result == rating.Superseded {
						late++
					}
				}
				if r.IntN(3) == 0 {
					if _, err := store.RefreshScores(t.Context(), 1, compute); err != nil {
						return err
					}
				}
			}
			if _, err := store.RefreshScores(t.Context(), 1, compute); err != nil {
				return err
			}
			incremental, err := store.HistoryByContent(t.Context(), "c")
			if err != nil {
				return err
			}
			stats, err := store.StatsByContent(t.Context(), []string{"c"})
			if err != nil || len(stats) != 1 { // a history may begin with a withdrawal and hold nothing else
				return err
			}
			rows, err := store.ListRatings(t.Context(), rating.Query{Limit: 1000})
			if err != nil {
				return err
			}
			rebuilt := rebuild(rows)
			if !slices.Equal(incremental.Buckets, rebuilt.Buckets) {
				return fmt.Errorf("incremental rows %v, rebuilt %v", incremental.Buckets, rebuilt.Buckets)
			}
			again := policy.Compute(score.Scale{}, rebuilt.Buckets, nil)
			if bits(again) != bits(stats[0].Score) {
				return fmt.Errorf("incremental score %+v, rebuilt %+v", stats[0].Score, again)
			}
			if again.Weight < float64(len(rows)) {
				held++
			}
			drifts, err := store.Recount(t.Context(), []string{"c"})
			if len(drifts) > 0 {
				return fmt.Errorf("a recount finds %+v", drifts)
			}
			return err
		}(); err != nil {
			t.Fatalf("history %d: %v", n, err)
		}
	}
	if held < histories/100 || late < histories {
		t.Errorf("only %d histories hold something back, only %d events came late: the test tests too little", held, late)
	}
}

// rebuild counts rows.
func rebuild(rows []rating.Rating) rating.History {
	byIndex := map[int]score.Bucket{}
	for _, r := range rows {
		x := byIndex[r.Bucket]
		byIndex[r.Bucket] = score.Bucket{Index: r.Bucket, N: x.N + 1, Sum: x.Sum + int64(r.Score)}
	}
	var h rating.History
	for _, x := range byIndex {
		h.Buckets = append(h.Buckets, x)
	}
	slices.SortFunc(h.Buckets, func(x, y score.Bucket) int { return x.Index - y.Index })
	return h
}

// buckets returns random rows, bursts and calm days.
func buckets(r *rand.Rand) []score.Bucket {
	var all []score.Bucket
	index := 0
	for range 1 + r.IntN(40) {
		n := int64(1 + r.IntN(60))
		if r.IntN(6) == 0 {
			n *= 100
		}
		low := 1 + r.IntN(4)
		all = append(all, b(index, n, n*int64(low)+r.Int64N(n+1)))
		index += 1 + r.IntN(3)
	}
	return all
}

// TestComputeBits: every build computes the same bits, also one that fuses multiply and add
// (GOAMD64=v3, arm64). See "make bits".
func TestComputeBits(t *testing.T) {
	t.Parallel()
	const want = 0x2e8d2babc9e179a
	sum := fnv.New64a()
	for n := range uint64(5000) {
		r := rand.New(rand.NewPCG(42, n)) //nolint:gosec // the same in every run
		rows := buckets(r)
		for _, scale := range []score.Scale{{}, {Min: 0, Max: 9}} {
			for _, x := range bits(score.Policy{}.Compute(scale, rows, nil)) {
				_, _ = sum.Write(binary.LittleEndian.AppendUint64(nil, x))
			}
		}
	}
	if got := sum.Sum64(); got != want {
		t.Errorf("the bits of the scores come to %#x, want %#x", got, uint64(want))
	}
}

// TestPullIsBounded: from the twentieth rating on, the first pass lets no bucket move the score by
// more than its limit.
func TestPullIsBounded(t *testing.T) {
	t.Parallel()
	s := seed(t)
	seen := 0
	for n := range uint64(10_000) {
		r := rand.New(rand.NewPCG(s, n)) //nolint:gosec // repeatable on purpose
		parts, _ := score.Policy{}.Explain(score.Scale{}, buckets(r), nil)
		var w, v float64
		for i, p := range parts {
			if p.Verdict == score.VerdictAgreed {
				break // what counted of it at first is not known any more
			}
			before, after := (v+3.5)/(w+1), (v+p.Counted*p.Mean()+3.5)/(w+p.Counted+1)
			if w >= 20 {
				seen++
				if math.Abs(p.Before-before) > 1e-9 || math.Abs(after-before) > p.Limit+1e-9 {
					t.Fatalf("history %d, bucket %d: from %v to %v, by more than %v: %+v", n, i, before, after, p.Limit, p)
				}
			}
			w, v = w+p.Counted, v+p.Counted*p.Mean()
		}
	}
	if seen < 1000 {
		t.Errorf("only %d buckets were looked at", seen)
	}
}
