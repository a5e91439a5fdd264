package kvstore

import (
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
)

// rows checks that rows of a table are read as they were written, and that no row, however it is
// cut or spoiled, does more than fail.
func rows[T any](t *testing.T, tb table[T]) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, uint64(tb)))
	for range 20 {
		var v T
		draw(r, reflect.ValueOf(&v).Elem())
		row := encode(v)
		got, err := decode[T](row)
		if err != nil || !reflect.DeepEqual(got, v) {
			t.Errorf("table %d: %#v is read as %#v, %v", tb, v, got, err)
		}
		for n := range row {
			if _, err := decode[T](row[:n]); err == nil {
				t.Errorf("table %d: the first %d of %d bytes are read as a row", tb, n, len(row))
			}
			spoiled := slices.Clone(row)
			spoiled[n] ^= byte(1 + r.IntN(255))
			_, _ = decode[T](spoiled)
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
	rows(t, idempotency)
	rows(t, ratings)
	rows(t, windows)
	rows(t, erasures)
	rows(t, deadLetters)
	rows(t, epochs)
	rows(t, identity)
	rows(t, users)
	rows(t, sessions)
	rows(t, tokens)
}

// TestNumbersRow has its own values, because draw makes no map.
func TestNumbersRow(t *testing.T) {
	t.Parallel()
	row := numbersRow{Dirty: time.UnixMicro(5).UTC(), Stats: rating.Stats{
		Content: "c", Count: 3, Sum: -4, Histogram: map[int]int64{-2: 2, 0: 1, 100: 1 << 40},
		Revision: 9, AsOf: time.UnixMicro(6).UTC(),
		Score: score.Score{Value: 0.1 + 0.2, Counted: math.SmallestNonzeroFloat64, Rank: -1.5, Computed: true},
	}}
	for _, row := range []numbersRow{row, {Stats: rating.Stats{Histogram: map[int]int64{}}}} {
		got, err := decode[numbersRow](encode(row))
		if err != nil || !reflect.DeepEqual(got, row) {
			t.Errorf("%#v is read as %#v, %v", row, got, err)
		}
	}
	bucket := bucketRow{Index: 7, Counts: map[int]int64{-2: 2, 0: 1, 100: 1 << 40}}
	if got, err := decode[bucketRow](encode(bucket)); err != nil || !reflect.DeepEqual(got, bucket) {
		t.Errorf("%#v is read as %#v, %v", bucket, got, err)
	}
	lying := encode(row)
	for n := range lying {
		if _, err := decode[numbersRow](lying[:n]); err == nil {
			t.Errorf("the first %d of %d bytes are read as a row", n, len(lying))
		}
	}
}

func TestLaterLayoutIsRefused(t *testing.T) {
	t.Parallel()
	row := encode(int64(7))
	row[0]++
	if n, err := decode[int64](row); err == nil {
		t.Errorf("a row of layout %d is read as %d", row[0], n)
	}
}

// shape returns the types of the fields of a row, in their order.
func shape(t reflect.Type) string {
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[time.Time]() {
		return t.Kind().String()
	}
	var fields []string
	for f := range t.Fields() {
		fields = append(fields, f.Name+" "+shape(f.Type))
	}
	return "{" + strings.Join(fields, ", ") + "}"
}

// TestLayout fails when a type that rows are made of changes: layout has to grow then, and with
// every change of the encoding. Rows of another layout are refused; none was released yet.
func TestLayout(t *testing.T) {
	t.Parallel()
	var all strings.Builder
	for _, v := range []any{
		content.Content{}, content.IdempotencyRecord{}, rating.Rating{}, numbersRow{}, bucketRow{},
		rating.Window{},
		rating.Erasure{}, rating.DeadLetter{}, lease{}, auth.User{}, auth.Session{}, auth.Token{},
	} {
		all.WriteString(shape(reflect.TypeOf(v)) + "\n")
	}
	sum := fmt.Sprintf("%d %x", layout, sha256.Sum256([]byte(all.String())))
	if sum != "3 93c8c99983d28ca1071590ce55a2fd9e582127ea4791e27ae6d3c3316a36aac4" {
		t.Errorf("the layout is %s:\n%s", sum, all.String())
	}
}
