package score_test

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/rating/score"
)

// bombed is a thousand ratings of 4.2 on the second day, then five thousand ones within a day.
var bombed = []score.Bucket{b(24, 1000, 4200), b(40, 5000, 5000)}

func TestComputeWithWindows(t *testing.T) {
	t.Parallel()
	window := func(r score.Ruling, first, last int) score.Window {
		return score.Window{Ruling: r, From: first, Until: last}
	}
	for _, c := range []struct {
		name          string
		windows       []score.Window
		weight, value float64
	}{
		{"none", nil, 1032.297608, 4.099881},
		{"elsewhere", []score.Window{window(score.Excluded, 25, 39), window(score.Cleared, 41, 99)}, 1032.297608, 4.099881},
		{"excluded", []score.Window{window(score.Excluded, 40, 40)}, 1000, 4.2},
		{"cleared", []score.Window{window(score.Cleared, 38, 44)}, 6000, 9200.0 / 6000},
		{"excluded and cleared", []score.Window{window(score.Excluded, 40, 40), window(score.Cleared, 0, 99)}, 1000, 4.2},
		{"cleared and excluded", []score.Window{window(score.Cleared, 0, 99), window(score.Excluded, 40, 40)}, 1000, 4.2},
		{"all excluded", []score.Window{window(score.Excluded, 0, 99)}, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			parts, got := score.Policy{}.Explain(score.Scale{}, bombed, c.windows)
			if math.Abs(got.Weight-c.weight) > 1e-6 || math.Abs(got.Value-c.value) > 1e-6 {
				t.Errorf("%+v, want the weight %v and the score %v", got, c.weight, c.value)
			}
			if computed := (score.Policy{}).Compute(score.Scale{}, bombed, c.windows); computed != got {
				t.Errorf("Explain returns %+v, Compute %+v", got, computed)
			}
			if len(parts) != 2 {
				t.Fatalf("%d parts", len(parts))
			}
			if counted := parts[0].Counted + parts[1].Counted; math.Abs(counted-got.Weight) > 1e-9 {
				t.Errorf("the parts count %v, the score rests on %v", counted, got.Weight)
			}
		})
	}
}

func TestExplainSaysWhy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		buckets []score.Bucket
		windows []score.Window
		want    []score.Verdict
		says    string // about the last one
	}{
		{[]score.Bucket{b(0, 1, 5)}, nil, []score.Verdict{score.VerdictFew},
			"All 1 count: while a content has few ratings, a few more always do."},
		{bombed, nil, []score.Verdict{score.VerdictCounted, score.VerdictHeld},
			"5000 ratings average 1.00 where the score stood at 4.20; a day may pull it by 0.10, so they count as 32.3, and " +
				"4967.7 are held back until others agree."},
		{[]score.Bucket{b(0, 300, 1260), b(5, 3000, 3000)}, nil, []score.Verdict{score.VerdictCounted, score.VerdictHeld},
			"an hour of the first day may pull it by 0.02"},
		{shift(10)[:4], nil, []score.Verdict{score.VerdictCounted, score.VerdictHeld, score.VerdictHeld, score.VerdictHeld},
			"held back"},
		{[]score.Bucket{b(0, 500, 500), b(24, 500, 500)}, nil, []score.Verdict{score.VerdictAgreed, score.VerdictAgreed},
			"the ratings since agree, so all 500 count."},
		{bombed, []score.Window{{Ruling: score.Excluded, From: 40, Until: 40}},
			[]score.Verdict{score.VerdictCounted, score.VerdictExcluded}, "Excluded by staff: none of the 5000 counts."},
		{bombed, []score.Window{{Ruling: score.Cleared, From: 40, Until: 40}},
			[]score.Verdict{score.VerdictCounted, score.VerdictCleared}, "Cleared by staff: all 5000 count."},
	} {
		parts, _ := score.Policy{}.Explain(score.Scale{}, c.buckets, c.windows)
		var got []score.Verdict
		for _, p := range parts {
			got = append(got, p.Verdict)
		}
		if why := parts[len(parts)-1].Why(); !slices.Equal(got, c.want) || !strings.Contains(why, c.says) {
			t.Errorf("%v: %v, want %v; the last one: %q, want %q", c.buckets, got, c.want, why, c.says)
		}
	}
}

// BucketSpan is the inverse of BucketAt.
func TestBucketSpan(t *testing.T) {
	t.Parallel()
	for bucket := range 400 {
		from, until := score.BucketSpan(start, bucket)
		for at, want := range map[time.Time]int{from: bucket, until.Add(-time.Microsecond): bucket, until: bucket + 1} {
			if got := score.BucketAt(start, at); got != want {
				t.Fatalf("bucket %d is from %s to %s, and %s lies in %d, want %d", bucket, from, until, at, got, want)
			}
		}
	}
}
