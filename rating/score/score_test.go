package score_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/rating/score"
)

func b(index int, n, sum int64) score.Bucket { return score.Bucket{Index: index, N: n, Sum: sum} }

// shift is a thousand ratings of 4.2 on the first day, then days of a thousand ratings of 3.0 each.
func shift(days int) []score.Bucket {
	buckets := []score.Bucket{b(24, 1000, 4200)}
	for i := range days {
		buckets = append(buckets, b(40+i, 1000, 3000))
	}
	return buckets
}

// The golden vectors of the bounded daily pull.
func TestComputeGolden(t *testing.T) {
	t.Parallel()
	none := math.NaN()
	for _, c := range []struct {
		name                string
		buckets             []score.Bucket
		weight, value, rank float64
	}{
		{"G01 none", nil, 0, none, 3.5},
		{"G02 one 5", []score.Bucket{b(0, 1, 5)}, 1, 5, 3.636364},
		{"G03 5,4,3", []score.Bucket{b(0, 3, 12)}, 3, 4, 3.615385},
		{"G04 few are exact", []score.Bucket{b(0, 1, 5), b(3, 2, 2)}, 3, 2.333333, 3.230769},
		{"G05 honest first hour", []score.Bucket{b(0, 50, 210)}, 50, 4.2, 4.083333},
		{"G06 first hour, 500 ones", []score.Bucket{b(0, 500, 500)}, 5, 1, 2.666667},
		{"G07 then an honest hour", []score.Bucket{b(0, 500, 500), b(1, 50, 210)}, 10, 2.6, 3.05},
		{"G08 newborn, bomb in hour 5", []score.Bucket{b(0, 300, 1260), b(5, 3000, 3000)}, 301.894467, 4.179919, 4.158120},
		{"G09 young, 200 ones in a day", []score.Bucket{b(24, 20, 84), b(26, 200, 200)}, 21.554233, 3.969254, 3.820541},
		{"G10 young, honest virality", []score.Bucket{b(24, 20, 84), b(26, 2000, 8400)}, 2020, 4.2, 4.196552},
		{"G11 mid, 5000 ones in a day", []score.Bucket{b(24, 1000, 4200), b(40, 5000, 5000)}, 1032.297608, 4.099881,
			4.094126},
		{"G12 then an honest day", []score.Bucket{b(24, 1000, 4200), b(40, 5000, 5000), b(41, 33, 139)}, 1065.297608,
			4.103358, 4.097747},
		{"G13 mid, 5000 fives in a day", []score.Bucket{b(24, 1000, 3000), b(40, 5000, 25000)}, 1052.698065, 3.100120,
			3.103883},
		{"G14 small bad day counts", []score.Bucket{b(24, 1000, 4200), b(40, 30, 30)}, 1030, 4.106796, 4.100962},
		{"G15 bomb over 3 days", []score.Bucket{b(24, 1000, 4200), b(40, 3000, 3000), b(41, 3000, 3000), b(42, 3000, 3000)},
			1103.576700, 3.899663, 3.896074},
		{"G16 shift, 2 days", shift(2), 1200.340098, 3.999717, 3.995588},
		{"G17 shift, 4 days", shift(4), 1500.937883, 3.799500, 3.797518},
		{"G18 shift, 6 days", shift(6), 2002.168028, 3.599350, 3.598857},
		{"G19 shift, 8 days", shift(8), 3005.506130, 3.399267, 3.399601},
		{"G20 shift, 10 days: released", shift(10), 11000, 3.109091, 3.109446},
		{"G21 bomb deleted again", []score.Bucket{b(24, 1000, 4200), b(40, 0, 0)}, 1000, 4.2, 4.193069},
		{"G22 below F: 6 ratings, 5 count", []score.Bucket{b(0, 4, 20), b(30, 6, 6)}, 9, 2.777778, 3.157895},
		{"G23 old, 1M ones", []score.Bucket{b(100, 100000, 420000), b(200, 1000000, 1000000)}, 103225.845994, 4.099999,
			4.099941},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := score.Policy{}.Compute(score.Scale{}, c.buckets, nil)
			near := func(what string, got, want float64) {
				if math.Abs(got-want) > 1e-6 {
					t.Errorf("%s = %.6f, want %.6f", what, got, want)
				}
			}
			near("weight", got.Weight, c.weight)
			near("rank", got.Rank, c.rank)
			if !math.IsNaN(c.value) {
				near("score", got.Value, c.value)
			}
			if !got.Computed {
				t.Error("Computed is false")
			}
		})
	}
}

func TestBucketAt(t *testing.T) {
	t.Parallel()
	opened := time.Date(2026, 3, 1, 7, 30, 0, 500_000, time.UTC)
	for seconds, want := range map[int]int{-5: 0, 0: 0, 3599: 0, 3600: 1, 86399: 23, 86400: 24, 172799: 24, 172800: 25,
		864000: 33} {
		if got := score.BucketAt(opened, opened.Add(time.Duration(seconds)*time.Second)); got != want {
			t.Errorf("bucket at %d s = %d, want %d", seconds, got, want)
		}
	}
	if got := score.BucketAt(opened, opened.Add(3600*time.Second-time.Microsecond)); got != 0 {
		t.Errorf("just before the hour is up: bucket %d, want 0", got)
	}
}

// What is not held is exact: with nothing held back the score is the plain average, to the bit.
func TestComputeWithoutHeldIsTheAverage(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	seen := 0
	for range 20_000 {
		var buckets []score.Bucket
		var n, sum int64
		for i := range 1 + r.IntN(30) {
			k := int64(r.IntN(40))
			s := int64(0)
			for range k {
				s += int64(3 + r.IntN(3))
			}
			buckets = append(buckets, b(i*(1+r.IntN(3)), k, s))
			n, sum = n+k, sum+s
		}
		slices.SortFunc(buckets, func(x, y score.Bucket) int { return x.Index - y.Index })
		buckets = slices.CompactFunc(buckets, func(x, y score.Bucket) bool { return x.Index == y.Index })
		n, sum = 0, 0
		for _, x := range buckets {
			n, sum = n+x.N, sum+x.Sum
		}
		got := score.Policy{}.Compute(score.Scale{}, buckets, nil)
		if n == 0 || got.Weight != float64(n) {
			continue
		}
		seen++
		if want := float64(sum) / float64(n); math.Abs(got.Value-want) > 1e-12 {
			t.Fatalf("%v: score %v, average %v", buckets, got.Value, want)
		}
	}
	if seen < 1000 {
		t.Fatalf("only %d histories held nothing back; the test tests nothing", seen)
	}
}

// On another scale the same history gives the same picture.
func TestComputeStretchesWithTheScale(t *testing.T) {
	t.Parallel()
	for _, buckets := range [][]score.Bucket{shift(6), {b(24, 1000, 4200), b(40, 5000, 5000)},
		{b(0, 500, 500), b(1, 50, 210)}} {
		want := score.Policy{}.Compute(score.Scale{}, buckets, nil)
		stretched := make([]score.Bucket, len(buckets))
		for i, x := range buckets { // 1..5 becomes 0..100: v -> 25(v-1)
			stretched[i] = b(x.Index, x.N, 25*(x.Sum-x.N))
		}
		got := score.Policy{}.Compute(score.Scale{Min: 0, Max: 100}, stretched, nil)
		if math.Abs(got.Weight-want.Weight) > 1e-6*want.Weight || math.Abs(got.Value-25*(want.Value-1)) > 1e-6 {
			t.Errorf("%v: %+v on 0..100, %+v on 1..5", buckets, got, want)
		}
	}
}

func TestPolicyIsValidated(t *testing.T) {
	t.Parallel()
	ok := score.Policy{Pull: 0.1, Young: 1, FirstDay: 0.2, Few: 20, Exact: 5, Prior: 3.5, RankPrior: 10}
	if err := ok.Validate(); err != nil {
		t.Fatalf("the defaults: %v", err)
	}
	for name, change := range map[string]func(*score.Policy){
		"Pull 0":                      func(p *score.Policy) { p.Pull = 0 },
		"Pull NaN":                    func(p *score.Policy) { p.Pull = math.NaN() },
		"FirstDay above 1":            func(p *score.Policy) { p.FirstDay = 1.1 },
		"Prior within reach of 1":     func(p *score.Policy) { p.Prior = 2 },
		"Prior within reach of 5":     func(p *score.Policy) { p.Prior = 4 },
		"an infinite number of exact": func(p *score.Policy) { p.Exact = math.Inf(1) },
	} {
		p := ok
		change(&p)
		if p.Validate() == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func ExamplePolicy_Compute() {
	// A thousand honest ratings, then a campaign of five thousand ones within a day.
	buckets := []score.Bucket{{Index: 24, N: 1000, Sum: 4200}, {Index: 40, N: 5000, Sum: 5000}}
	published := score.Policy{}.Compute(score.Scale{}, buckets, nil)
	fmt.Printf("average %.2f, published %.2f\n", 9200.0/6000, published.Value)
	// Output: average 1.53, published 4.10
}
