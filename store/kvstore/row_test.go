package kvstore

import (
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
)

// rows checks that rows of a table are read as they were written, and that no row, however it is
// cut or spoiled, does more than fail.
func rows[T any](t *testing.T, tb table[T]) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, uint64(tb.name)))
	for range 20 {
		var v T
		draw(r, reflect.ValueOf(&v).Elem())
		row := encode(v, tb.fields)
		got, err := decode(row, tb.fields)
		if err != nil || !reflect.DeepEqual(got, v) {
			t.Errorf("table %d: %#v is read as %#v, %v", tb.name, v, got, err)
		}
		for n := range row {
			if _, err := decode(row[:n], tb.fields); err == nil {
				t.Errorf("table %d: the first %d of %d bytes are read as a row", tb.name, n, len(row))
			}
			spoiled := slices.Clone(row)
			spoiled[n] ^= byte(1 + r.IntN(255))
			_, _ = decode(spoiled, tb.fields)
		}
	}
}

// draw sets v to something that a service may make.
func draw(r *rand.Rand, v reflect.Value) {
	switch p := v.Addr().Interface().(type) {
	case *time.Time:
		*p = time.UnixMicro(r.Int64() - r.Int64()).UTC()
		return
	case *rating.Rating:
		defer func() { p.Withdrawn = p.Result == rating.Withdrawn }()
	}
	switch v.Kind() {
	case reflect.String:
		b := make([]byte, r.IntN(50))
		for i := range b {
			b[i] = byte(r.Int())
		}
		v.SetString(string(b))
	case reflect.Int, reflect.Int64:
		v.SetInt(r.Int64() - r.Int64())
	case reflect.Uint8:
		v.SetUint(uint64(byte(r.Int())))
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), r.IntN(50), 50))
	case reflect.Array:
		for i := range v.Len() {
			draw(r, v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			draw(r, v.Field(i))
		}
	default:
		panic(v.Type())
	}
}

func TestRows(t *testing.T) {
	t.Parallel()
	rows(t, contents)
	rows(t, tombstones)
	rows(t, creations)
	rows(t, ratings)
	rows(t, buckets)
	rows(t, windows)
	rows(t, erasures)
	rows(t, rejections)
	rows(t, epochs)
	rows(t, identity)
	rows(t, users)
	rows(t, sessions)
	rows(t, tokens)
}

// TestNumbersRow has its own values, because draw cannot reach what is not exported.
func TestNumbersRow(t *testing.T) {
	t.Parallel()
	row := numbersRow{dirty: time.UnixMicro(5).UTC(), Stats: rating.Stats{
		Content: "c", Count: 3, Sum: -4, Histogram: map[int]int64{-2: 2, 0: 1, 100: 1 << 40},
		Revision: 9, AsOf: time.UnixMicro(6).UTC(),
		Score: score.Score{Value: 0.1 + 0.2, Weight: math.SmallestNonzeroFloat64, Rank: -1.5, Computed: true},
	}}
	for _, row := range []numbersRow{row, {Stats: rating.Stats{Histogram: map[int]int64{}}}} {
		got, err := decode(encode(row, numbersFields), numbersFields)
		if err != nil || !reflect.DeepEqual(got, row) {
			t.Errorf("%#v is read as %#v, %v", row, got, err)
		}
	}
	lying := encode(row, numbersFields)
	for n := range lying {
		if _, err := decode(lying[:n], numbersFields); err == nil {
			t.Errorf("the first %d of %d bytes are read as a row", n, len(lying))
		}
	}
}

func TestLaterLayoutIsRefused(t *testing.T) {
	t.Parallel()
	row := encode(int64(7), epochs.fields)
	row[0]++
	if n, err := decode(row, epochs.fields); err == nil {
		t.Errorf("a row of layout %d is read as %d", row[0], n)
	}
}
