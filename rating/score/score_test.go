package score

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestGolden compares scores with the vectors of the rule, to the bit.
func TestGolden(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name     string
		Min, Max int
		Rows     []struct {
			Bucket int
			Counts []int64
		}
		Rulings           map[string]Ruling
		N                 int64
		Score, Rank, Held float64
		Bits              string
	}
	if err := json.Unmarshal(raw, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) != 36 {
		t.Errorf("%d vectors", len(cases))
	}
	for _, c := range cases {
		var buckets []Bucket
		var all int64
		for _, r := range c.Rows {
			b := Bucket{Index: r.Bucket}
			for i, n := range r.Counts {
				b.Counts = append(b.Counts, Count{c.Min + i, n})
			}
			all += b.Ratings()
			buckets = append(buckets, b)
		}
		var windows []Window
		for index, ruling := range c.Rulings {
			i, err := strconv.Atoi(index)
			if err != nil {
				t.Fatal(err)
			}
			windows = append(windows, Window{From: i, Until: i, Ruling: ruling})
		}
		got := Policy{}.Compute(Scale{c.Min, c.Max}, buckets, windows)
		near := func(what string, got, want float64) {
			if math.Abs(got-want) > 1e-9*max(1, want) {
				t.Errorf("%s: %s %v, want %v", c.Name, what, got, want)
			}
		}
		near("score", got.Value, c.Score)
		near("rank", got.Rank, c.Rank)
		near("held", float64(all)-got.Counted, c.Held)
		var n int64
		e := Policy{}.Explain(Scale{c.Min, c.Max}, buckets, windows)
		for _, p := range e.Parts {
			if p.Verdict != VerdictExcluded {
				n += p.Ratings
			}
		}
		if bits := fmt.Sprintf("%016x", math.Float64bits(got.Value)); bits != c.Bits || n != c.N || e.Score != got {
			t.Errorf("%s: %d ratings, bits %s, want %d, %s", c.Name, n, bits, c.N, c.Bits)
		}
	}
}

// honest returns n ratings of which 8 % are ones, 4 % twos, 8 % threes, 20 % fours and 60 % fives.
func honest(index int, n int64) Bucket {
	return Bucket{index, []Count{
		{1, n * 8 / 100}, {2, n * 4 / 100}, {3, n * 8 / 100}, {4, n * 20 / 100}, {5, n * 60 / 100},
	}}
}

// The worked case of the package comment.
func ExamplePolicy_Explain() {
	var buckets []Bucket
	for day := range 30 {
		buckets = append(buckets, honest(firstDays+day, 25))
	}
	buckets = append(buckets, Bucket{54, []Count{{1, 5000}}})
	e := Policy{}.Explain(Scale{}, buckets, nil)
	attack := e.Parts[30]
	fmt.Printf("score %.9f, %.3f of 5750 ratings held\n", e.Value, 5750-e.Counted)
	fmt.Printf("the day pulls by %.6f and may pull by %.6f\n", attack.Pull, attack.Limit)
	fmt.Println(strings.ReplaceAll(e.Why(attack), "; ", ";\n"))
	// Output:
	// score 4.120585671, 4980.914 of 5750 ratings held
	// the day pulls by -15602.928355 and may pull by 28.411713
	// 5000 ratings average 1.00 and pull the score of 4.12 down by 15603. Alone a day may pull by 6;
	// the other days of its season bear out 22 more;
	// of the rest two in a thousand count: 19.1 of the 5000 ratings.
}

func TestPolicyIsValidated(t *testing.T) {
	t.Parallel()
	for trust, ok := range map[float64]bool{
		0: true, 16: true, 1000: true, 1e-9: true, -1: false, 1001: false, math.Inf(1): false, math.NaN(): false,
	} {
		if err := (Policy{Trust: trust}).Validate(); (err == nil) != ok {
			t.Errorf("Trust %v: %v", trust, err)
		}
	}
}

// BenchmarkCompute computes the score of 400 days, calm and with a million ones on the last one.
func BenchmarkCompute(b *testing.B) {
	var buckets []Bucket
	for day := range 400 {
		buckets = append(buckets, honest(firstDays+day, 50))
	}
	for name, buckets := range map[string][]Bucket{
		"calm": buckets, "attacked": append(buckets, Bucket{424, []Count{{1, 1_000_000}}}),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Policy{}.Compute(Scale{}, buckets, nil)
			}
		})
	}
}
