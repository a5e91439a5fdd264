package kvstore

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// ordered holds values of each kind of part in ascending order, with those in which an encoding may
// lose its order.
var ordered = struct {
	texts    []string
	integers []int64
	numbers  []float64
	times    []time.Time
}{
	[]string{
		"",
		"\x00",
		"\x00\x00",
		"\x00\x01",
		"\x00\x02",
		"\x00\xff",
		"\x01",
		"\x01\x00",
		"\x02",
		"a",
		"a\x00",
		"a\x00\x01",
		"a\x00b",
		"a\x01",
		"aa",
		"b",
		"é",
		"\xff",
		"\xff\x00",
		"\xff\xff",
	},
	[]int64{math.MinInt64, -1 << 40, -256, -2, -1, 0, 1, 2, 255, 256, 1 << 40, math.MaxInt64},
	[]float64{
		math.Inf(-1),
		-math.MaxFloat64,
		-2.5,
		-1,
		-math.SmallestNonzeroFloat64,
		0,
		math.SmallestNonzeroFloat64,
		0.3,
		math.Nextafter(0.3, 1),
		1,
		2.5,
		math.MaxFloat64,
		math.Inf(1),
	},
	[]time.Time{
		{},
		time.Date(1900, 1, 1, 0, 0, 0, 1000, time.UTC),
		time.UnixMicro(-1).UTC(),
		time.UnixMicro(0).UTC(),
		time.UnixMicro(1).UTC(),
		time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC),
	},
}

// inOrder checks that every pair of encodings has the order of the values, also when other parts
// follow.
func inOrder[T any](t *testing.T, values []T) {
	t.Helper()
	for i, a := range values {
		for j, b := range values {
			for _, rest := range [][2]string{{"", ""}, {"\xff", ""}, {"", "\xff"}} {
				got := bytes.Compare(key(7, a, rest[0]), key(7, b, rest[1]))
				want := cmp.Or(cmp.Compare(i, j), cmp.Compare(rest[0], rest[1]))
				if got != want {
					t.Errorf("%#v, %q against %#v, %q: %d, want %d", a, rest[0], b, rest[1], got, want)
				}
			}
		}
	}
}

func TestKeysSortAsTheirParts(t *testing.T) {
	t.Parallel()
	inOrder(t, ordered.texts)
	inOrder(t, ordered.integers)
	inOrder(t, ordered.numbers)
	inOrder(t, ordered.times)
	if zero := math.Copysign(0, -1); !bytes.Equal(key(7, zero), key(7, 0.0)) {
		t.Error("-0 is not 0")
	}
	if bytes.Compare(key(7, "\xff"), key(8, "")) >= 0 {
		t.Error("the name does not come first")
	}
}

func TestKeysAreReadAsTheyWereMade(t *testing.T) {
	t.Parallel()
	for _, text := range ordered.texts {
		for _, n := range ordered.integers {
			for _, at := range ordered.times {
				h := [32]byte{0, 1, 31: 0xff}
				p := parts(key(7, text, n, at, h, text)[1:])
				if got := p.text(); got != text {
					t.Errorf("the text is %q, want %q", got, text)
				}
				if got := p.integer(); got != n {
					t.Errorf("the integer is %d, want %d", got, n)
				}
				if got := p.time(); got != at {
					t.Errorf("the time is %v, want %v", got, at)
				}
				if got := p.hash(); got != h {
					t.Errorf("the hash is %x, want %x", got, h)
				}
				if got := p.text(); got != text || len(p) > 0 {
					t.Errorf("the text at the end is %q, want %q, and %d bytes are left", got, text, len(p))
				}
			}
		}
	}
}

func TestAfterPrefix(t *testing.T) {
	t.Parallel()
	for _, prefix := range [][]byte{{7}, {7, 1}, {7, 0xff}, {7, 0xff, 0xff}, {7, 1, 0xff}} {
		bound := after(slices.Clone(prefix))
		last := append(slices.Clone(prefix), strings.Repeat("\xff", 100)...)
		if bytes.Compare(last, bound) >= 0 || bytes.HasPrefix(bound, prefix) {
			t.Errorf("%x is not just after %x", bound, prefix)
		}
	}
}

func FuzzKeys(f *testing.F) {
	f.Add("a", "b", "a\x00", "")
	f.Fuzz(func(t *testing.T, a, b, c, d string) {
		x, y := key(7, a, b), key(7, c, d)
		if got, want := bytes.Compare(x, y), cmp.Or(cmp.Compare(a, c), cmp.Compare(b, d)); got != want {
			t.Errorf("%q, %q against %q, %q: %d, want %d", a, b, c, d, got, want)
		}
		if p := parts(x[1:]); p.text() != a || p.text() != b || len(p) > 0 {
			t.Errorf("%q, %q is read otherwise", a, b)
		}
	})
}
