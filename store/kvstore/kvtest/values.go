package kvtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/khodnevis/khodnevis/store/kvstore"
)

func get(ctx context.Context, e kvstore.Engine) error {
	if err := putAll(ctx, e, pair{"b", "1"}, pair{"d", "2"}); err != nil {
		return err
	}
	return e.View(ctx, func(tx kvstore.Tx) error {
		return errors.Join(
			has(tx, "b", "1"),
			has(tx, "d", "2"),
			hasNot(
				tx,
				"a",
			),
			hasNot(tx, "c"),
			hasNot(tx, "e"),
			hasNot(tx, "bb"),
			hasNot(tx, "B"),
			hasNot(tx, strings.Repeat("b", 2*kvstore.MaxKey)),
		)
	})
}

func emptyValue(ctx context.Context, e kvstore.Engine) error {
	err := e.Update(ctx, func(tx kvstore.Tx) error {
		return errors.Join(tx.Put([]byte("nil"), nil), tx.Put([]byte("empty"), []byte{}))
	})
	if err != nil {
		return err
	}
	return e.View(ctx, func(tx kvstore.Tx) error {
		return errors.Join(
			has(tx, "nil", ""),
			has(tx, "empty", ""),
			wantScan(tx, "a", "z", []pair{{"empty", ""}, {"nil", ""}}),
		)
	})
}

func anyBytes(ctx context.Context, e kvstore.Engine) error {
	var all []pair
	for b := range 256 {
		all = append(all, pair{string([]byte{byte(b)}), string([]byte{byte(b), 0, 0xff})})
		for _, c := range []byte{0, 1, 0x7f, 0x80, 0xff} {
			all = append(all, pair{string([]byte{byte(b), c}), string([]byte{c})})
		}
	}
	if err := putAll(ctx, e, all...); err != nil {
		return err
	}
	return e.View(ctx, func(tx kvstore.Tx) error {
		for _, p := range all {
			if err := has(tx, p.key, p.value); err != nil {
				return err
			}
		}
		return wantScan(tx, "", "", all)
	})
}

func put(ctx context.Context, e kvstore.Engine) error {
	for _, value := range []string{"first", "2", "", "a longer value than before"} {
		if err := putAll(ctx, e, pair{"k", value}, pair{"other", "stays"}); err != nil {
			return err
		}
		if err := e.View(ctx, func(tx kvstore.Tx) error {
			return errors.Join(has(tx, "k", value), wantScan(tx, "a", "z", []pair{{"k", value}, {"other", "stays"}}))
		}); err != nil {
			return err
		}
	}
	return nil
}

func remove(ctx context.Context, e kvstore.Engine) error {
	if err := putAll(ctx, e, pair{"a", "1"}, pair{"b", "2"}, pair{"c", "3"}); err != nil {
		return err
	}
	for range 2 {
		if err := e.Update(ctx, func(tx kvstore.Tx) error {
			return errors.Join(tx.Delete([]byte("b")), tx.Delete([]byte("missing")))
		}); err != nil {
			return err
		}
		if err := e.View(ctx, func(tx kvstore.Tx) error {
			return errors.Join(hasNot(tx, "b"), wantScan(tx, "", "", []pair{{"a", "1"}, {"c", "3"}}))
		}); err != nil {
			return err
		}
	}
	return nil
}

func largest(ctx context.Context, e kvstore.Engine) error {
	all := []pair{
		{
			filled(kvstore.MaxKey-1, 0),
			"1",
		}, {filled(kvstore.MaxKey, 0), "2"}, {filled(kvstore.MaxKey-1, 0) + "\x01", "3"},
		{filled(kvstore.MaxKey-1, 'k'), "4"}, {filled(kvstore.MaxKey, 'k'), "5"}, {filled(kvstore.MaxKey, 0xff), "6"},
	}
	if err := putAll(ctx, e, all...); err != nil {
		return err
	}
	return e.View(ctx, func(tx kvstore.Tx) error {
		return errors.Join(
			wantScan(tx, "", "", all),
			wantScan(tx, all[1].key, all[4].key, all[1:4]),
			has(tx, all[5].key, "6"),
		)
	})
}

func largestValue(ctx context.Context, e kvstore.Engine) error {
	all := []pair{{"a", filled(kvstore.MaxValue, 'a')}, {"b", filled(kvstore.MaxValue, 0)}}
	if err := putAll(ctx, e, all...); err != nil {
		return err
	}
	return e.View(ctx, func(tx kvstore.Tx) error { return wantScan(tx, "", "", all) })
}

func ownChanges(ctx context.Context, e kvstore.Engine) error {
	if err := putAll(ctx, e, pair{"a", "1"}, pair{"b", "2"}, pair{"c", "3"}); err != nil {
		return err
	}
	return e.Update(ctx, func(tx kvstore.Tx) error {
		if err := errors.Join(
			tx.Put([]byte("b"), []byte("new")), tx.Delete([]byte("c")), tx.Put([]byte("d"), []byte("4")),
			tx.Delete([]byte("a")), tx.Put([]byte("a"), []byte("again")),
		); err != nil {
			return err
		}
		return errors.Join(
			has(tx, "b", "new"),
			hasNot(tx, "c"),
			has(tx, "d", "4"),
			wantScan(tx, "", "", []pair{{"a", "again"}, {"b", "new"}, {"d", "4"}}),
		)
	})
}

func valueKept(ctx context.Context, e kvstore.Engine) error {
	if err := putAll(ctx, e, pair{"a", "before"}, pair{"b", "before"}); err != nil {
		return err
	}
	return e.Update(ctx, func(tx kvstore.Tx) error {
		a, _, err := tx.Get([]byte("a"))
		b, _, err2 := tx.Get([]byte("b"))
		if err := errors.Join(err, err2, tx.Put([]byte("a"), []byte("after!")), tx.Delete([]byte("b"))); err != nil {
			return err
		}
		for i := range 500 {
			if err := tx.Put(fmt.Appendf(nil, "a%d", i), []byte("more")); err != nil {
				return err
			}
		}
		if string(a) != "before" || string(b) != "before" {
			return fmt.Errorf("values that were %q are %q and %q after their keys were written", "before", a, b)
		}
		return nil
	})
}

func ascending(ctx context.Context, e kvstore.Engine) error {
	all := []pair{
		{"\x00", ""},
		{"\x00\x00", ""},
		{"\x01", ""},
		{"A", ""},
		{"B", ""},
		{"a", ""},
		{"a\x00", ""},
		{"a\x00\x00", ""},
		{"a\x01", ""},
		{"aa", ""},
		{"ab", ""},
		{"b", ""},
		{"\x7f", ""},
		{"\x80", ""},
		{"é", ""},
		{"\xff", ""},
		{"\xff\xff", ""},
	}
	backwards := slices.Clone(all)
	slices.Reverse(backwards)
	if err := putAll(ctx, e, backwards...); err != nil {
		return err
	}
	return e.View(ctx, func(tx kvstore.Tx) error { return wantScan(tx, "", "", all) })
}

func bounds(ctx context.Context, e kvstore.Engine) error {
	all := []pair{{"b", "1"}, {"d", "2"}, {"d\x00", "3"}, {"f", "4"}, {"h", "5"}}
	if err := putAll(ctx, e, all...); err != nil {
		return err
	}
	return e.View(ctx, func(tx kvstore.Tx) error {
		limits := []string{"a", "b", "b\x00", "c", "d", "d\x00", "d\x00\x00", "e", "f", "g", "h", "h\x00", "z"}
		for _, low := range limits {
			for _, high := range limits {
				var wanted []pair
				for _, p := range all {
					if p.key >= low && p.key < high {
						wanted = append(wanted, p)
					}
				}
				if err := wantScan(tx, low, high, wanted); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func noBound(ctx context.Context, e kvstore.Engine) error {
	if err := e.View(ctx, func(tx kvstore.Tx) error { return wantScan(tx, "", "", nil) }); err != nil {
		return fmt.Errorf("an empty engine: %w", err)
	}
	all := []pair{{"a", "1"}, {"b", "2"}, {"\xff", "3"}, {"\xff\xff\xff", "4"}}
	if err := putAll(ctx, e, all...); err != nil {
		return err
	}
	return e.View(ctx, func(tx kvstore.Tx) error {
		return errors.Join(
			wantScan(tx, "", "", all),
			wantScan(tx, "b", "", all[1:]),
			wantScan(tx, "\xff\xff\xff\xff", "", nil),
			wantScan(tx, "", "b", all[:1]),
		)
	})
}

func stop(ctx context.Context, e kvstore.Engine) error {
	if err := putAll(ctx, e, pair{"a", "1"}, pair{"b", "2"}, pair{"c", "3"}); err != nil {
		return err
	}
	return e.View(ctx, func(tx kvstore.Tx) error {
		for _, descending := range []bool{false, true} {
			calls := 0
			halt := func(_, _ []byte) bool { calls++; return false }
			if err := tx.Scan([]byte("a"), []byte("z"), descending, halt); err != nil {
				return err
			}
			if calls != 1 {
				return fmt.Errorf("a scan that was stopped by the first call of yield made %d", calls)
			}
		}
		return nil
	})
}

func readsInScan(ctx context.Context, e kvstore.Engine) error {
	var all []pair
	for i := range 200 {
		all = append(all, pair{fmt.Sprintf("k%03d", i), fmt.Sprint(i)})
	}
	if err := putAll(ctx, e, all...); err != nil {
		return err
	}
	return e.View(ctx, func(tx kvstore.Tx) error {
		var wrong error
		n := 0
		err := tx.Scan([]byte("k"), []byte("l"), false, func(key, value []byte) bool {
			if string(key) != all[n].key || string(value) != all[n].value {
				wrong = fmt.Errorf("place %d is %q with the value %q", n, key, value)
				return false
			}
			other := all[len(all)-1-n]
			wrong = errors.Join(
				has(tx, other.key, other.value),
				wantScan(tx, other.key, other.key+"\x00", []pair{other}),
			)
			n++
			return wrong == nil
		})
		if n < len(all) {
			wrong = cmp.Or(wrong, fmt.Errorf("the scan ended after %d of %d", n, len(all)))
		}
		return errors.Join(err, wrong)
	})
}

// manyKeys compares the engine with a map, while keys come and go by the thousands.
func manyKeys(ctx context.Context, e kvstore.Engine) error {
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // repeatable on purpose, and no secret
	model := map[string]string{}
	for round := range 30 {
		next := maps.Clone(model)
		writes := make([]pair, 400) // those of an empty value are deletions
		for i := range writes {
			writes[i].key = fmt.Sprintf("%04d", r.IntN(3000))
			if round%10 < 5 || r.IntN(8) == 0 {
				writes[i].value = fmt.Sprint(r.IntN(1000))
			}
		}
		err := e.Update(ctx, func(tx kvstore.Tx) error {
			for _, w := range writes {
				if w.value == "" {
					if err := tx.Delete([]byte(w.key)); err != nil {
						return err
					}
				} else if err := tx.Put([]byte(w.key), []byte(w.value)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, w := range writes {
			if next[w.key] = w.value; w.value == "" {
				delete(next, w.key)
			}
		}
		model = next
		var all []pair
		for _, k := range slices.Sorted(maps.Keys(model)) {
			all = append(all, pair{k, model[k]})
		}
		if err := e.View(ctx, func(tx kvstore.Tx) error {
			low, high := fmt.Sprintf("%04d", r.IntN(3000)), fmt.Sprintf("%04d", r.IntN(3000))
			var within []pair
			for _, p := range all {
				if p.key >= low && p.key < high {
					within = append(within, p)
				}
			}
			return errors.Join(wantScan(tx, "", "", all), wantScan(tx, low, high, within))
		}); err != nil {
			return fmt.Errorf("round %d, %d keys: %w", round, len(all), err)
		}
	}
	return nil
}
