package cachetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/khodnevis/khodnevis/cache"
)

func missing(ctx context.Context, c cache.Cache) error {
	if err := hasNot(ctx, c, "a", "b"); err != nil {
		return err
	}
	if err := set(ctx, c, item("a", "1", 1)); err != nil {
		return err
	}
	if err := hasNot(ctx, c, "b", "A", "a ", "aa", "*", "?"); err != nil {
		return err
	}
	found, err := get(ctx, c, "b", "a")
	if err != nil {
		return err
	}
	if _, ok := found["a"]; !ok || len(found) != 1 {
		return fmt.Errorf("got %d of one key that is there and one that is missing", len(found))
	}
	return nil
}

func answers(ctx context.Context, c cache.Cache) error {
	items := []cache.Item{item("a", "1", 1), item("b", "2", 2), item("c", "3", 3)}
	if err := set(ctx, c, items...); err != nil {
		return err
	}
	if err := has(ctx, c, items...); err != nil {
		return err
	}
	return has(ctx, c, items[2], items[0])
}

func keyTwice(ctx context.Context, c cache.Cache) error {
	if err := set(ctx, c, item("a", "1", 1), item("b", "2", 2)); err != nil {
		return err
	}
	if err := has(ctx, c, item("a", "1", 1), item("b", "2", 2), item("a", "1", 1)); err != nil {
		return err
	}
	if err := c.DeleteMany(ctx, []string{"a", "a"}); err != nil {
		return fmt.Errorf("deleting a key twice: %w", err)
	}
	return hasNot(ctx, c, "a", "a")
}

func nothing(ctx context.Context, c cache.Cache) error {
	for _, keys := range [][]string{nil, {}} {
		found, err := c.GetMany(ctx, keys)
		if err != nil {
			return fmt.Errorf("getting no keys: %w", err)
		}
		if len(found) > 0 {
			return fmt.Errorf("getting no keys gave %d items", len(found))
		}
		if err := c.DeleteMany(ctx, keys); err != nil {
			return fmt.Errorf("deleting no keys: %w", err)
		}
	}
	for _, items := range [][]cache.Item{nil, {}} {
		if err := set(ctx, c, items...); err != nil {
			return err
		}
	}
	return nil
}

func roundTrip(ctx context.Context, c cache.Cache) error {
	everyByte := make([]byte, 256)
	for i := range everyByte {
		everyByte[i] = byte(i)
	}
	items := []cache.Item{
		{Key: string(everyByte), Value: everyByte, Version: 7},
		{Key: "a\x00", Value: []byte("after a zero byte, nothing")},
		{Key: "a\x00b", Value: []byte("after a zero byte, b")},
		{Key: "two\r\nlines {and} *?[braces] %s", Value: []byte("\r\n$-1\r\n")},
		{Key: "خودنویس", Value: []byte("سلام")},
		{Key: " ", Value: []byte(" ")},
		{Key: strings.Repeat("k", cache.MaxKey), Value: []byte(strings.Repeat("v", cache.MaxValue))},
		{Key: "number", Value: []byte("12")},
	}
	if err := set(ctx, c, items...); err != nil {
		return err
	}
	return has(ctx, c, items...)
}

func largestCall(ctx context.Context, c cache.Cache) error {
	items, keys := make([]cache.Item, cache.MaxBatch), make([]string, cache.MaxBatch)
	for i := range items {
		items[i] = item(fmt.Sprint("key ", i), fmt.Sprint("value ", i), int64(i))
		keys[i] = items[i].Key
	}
	if err := set(ctx, c, items...); err != nil {
		return err
	}
	if err := has(ctx, c, items...); err != nil {
		return err
	}
	if err := c.DeleteMany(ctx, keys); err != nil {
		return fmt.Errorf("deleting %d keys: %w", len(keys), err)
	}
	return hasNot(ctx, c, keys...)
}

func outOfBounds(ctx context.Context, c cache.Cache) error {
	longest := item(strings.Repeat("k", cache.MaxKey), "within bounds", 1)
	if err := set(ctx, c, longest, item("a", "within bounds", 1)); err != nil {
		return err
	}
	for what, bad := range map[string]cache.Item{
		"no key":                 item("", "out of bounds", 2),
		"a key that is too long": item(longest.Key+"k", "out of bounds", 2),
		"a value that is too long": {
			Key: "b", Value: []byte(strings.Repeat("v", cache.MaxValue+1)), Version: 2,
		},
	} {
		err := c.SetMany(ctx, []cache.Item{item("beside "+what, "within bounds", 1), bad})
		if err == nil {
			found, err := get(ctx, c, bad.Key)
			if err != nil {
				return fmt.Errorf("%s, which was taken: %w", what, err)
			}
			if got, ok := found[bad.Key]; ok && string(got.Value) != string(bad.Value) {
				return fmt.Errorf("%s was taken and became a value of %d bytes", what, len(got.Value))
			}
			continue
		}
		if !errors.Is(err, cache.ErrInvalid) {
			return fmt.Errorf("%s: got the error %w, which does not wrap ErrInvalid", what, err)
		}
		if err := hasNot(ctx, c, "beside "+what); err != nil {
			return fmt.Errorf("%s was refused, but not what came with it: %w", what, err)
		}
	}
	for _, ttl := range []time.Duration{-time.Second, -1, 1} {
		brief := cache.Item{Key: fmt.Sprint("brief ", ttl), Version: 1, TTL: ttl}
		var refused error
		written, _ := spanOf(ttl, func() error { refused = c.SetMany(ctx, []cache.Item{brief}); return nil })
		if refused != nil && !errors.Is(refused, cache.ErrInvalid) {
			return fmt.Errorf("a TTL of %v: got the error %w, which does not wrap ErrInvalid", ttl, refused)
		}
		if err := ends(ctx, c, brief.Key, written); err != nil {
			return err
		}
	}
	return has(ctx, c, longest, item("a", "within bounds", 1))
}

func emptyValue(ctx context.Context, c cache.Cache) error {
	items := []cache.Item{{Key: "nil", Version: 1}, {Key: "empty", Value: []byte{}, Version: 2}}
	if err := set(ctx, c, items...); err != nil {
		return err
	}
	return has(ctx, c, items...)
}

func olderVersions(ctx context.Context, c cache.Cache) error {
	steps := []struct{ set, want cache.Item }{
		{item("k", "five", 5), item("k", "five", 5)},
		{item("k", "four", 4), item("k", "five", 5)},
		{item("k", "zero", 0), item("k", "five", 5)},
		{item("k", "minus one", -1), item("k", "five", 5)},
		{item("other", "one", 1), item("other", "one", 1)},
		{item("z", "zero", 0), item("z", "zero", 0)},
		{item("z", "minus one", -1), item("z", "zero", 0)},
	}
	for _, step := range steps {
		if err := set(ctx, c, step.set); err != nil {
			return err
		}
		if err := has(ctx, c, step.want); err != nil {
			return fmt.Errorf("after version %d was set: %w", step.set.Version, err)
		}
	}
	return has(ctx, c, item("k", "five", 5))
}

func newerVersions(ctx context.Context, c cache.Cache) error {
	for _, it := range []cache.Item{
		item("k", "minus two", -2), item("k", "minus one", -1), item("k", "zero", 0), item("k", "zero again", 0),
		item("k", "nine", 9), item("k", "nine again", 9), item("k", "ten", 10), item("k", "", 10),
	} {
		if err := set(ctx, c, it); err != nil {
			return err
		}
		if err := has(ctx, c, it); err != nil {
			return err
		}
	}
	return nil
}

func greatVersions(ctx context.Context, c cache.Cache) error {
	// A floating-point number tells no two of these neighbours apart.
	for i, v := range []int64{math.MinInt64 + 1, -1<<53 - 1, 1<<53 + 1, 1<<62 + 1, math.MaxInt64} {
		key := fmt.Sprint("k", i)
		if err := set(ctx, c, item(key, "newer", v)); err != nil {
			return err
		}
		if err := set(ctx, c, item(key, "older", v-1)); err != nil {
			return err
		}
		if err := has(ctx, c, item(key, "newer", v)); err != nil {
			return fmt.Errorf("after version %d was set: %w", v-1, err)
		}
	}
	for i, v := range []int64{math.MinInt64, -1 << 53, 1 << 53, 1 << 62, math.MaxInt64 - 1} {
		key := fmt.Sprint("n", i)
		if err := set(ctx, c, item(key, "older", v)); err != nil {
			return err
		}
		if err := set(ctx, c, item(key, "newer", v+1)); err != nil {
			return err
		}
		if err := has(ctx, c, item(key, "newer", v+1)); err != nil {
			return err
		}
	}
	return nil
}

func orderInOneCall(ctx context.Context, c cache.Cache) error {
	err := set(ctx, c,
		item("a", "two", 2), item("b", "one", 1), item("a", "one", 1), item("b", "one again", 1),
		item("a", "two again", 2), item("b", "three", 3), item("b", "two", 2),
	)
	if err != nil {
		return err
	}
	return has(ctx, c, item("a", "two again", 2), item("b", "three", 3))
}

func deleted(ctx context.Context, c cache.Cache) error {
	if err := set(ctx, c, item("a", "nine", 9), item("b", "nine", 9), item("c", "nine", 9)); err != nil {
		return err
	}
	if err := c.DeleteMany(ctx, []string{"a", "b"}); err != nil {
		return fmt.Errorf("deleting: %w", err)
	}
	if err := hasNot(ctx, c, "a", "b"); err != nil {
		return err
	}
	if err := set(ctx, c, item("a", "one", 1)); err != nil {
		return err
	}
	return has(ctx, c, item("a", "one", 1), item("c", "nine", 9))
}

func deletedMissing(ctx context.Context, c cache.Cache) error {
	if err := set(ctx, c, item("a", "1", 1)); err != nil {
		return err
	}
	for range 2 {
		if err := c.DeleteMany(ctx, []string{"missing", "a"}); err != nil {
			return fmt.Errorf("deleting what is missing: %w", err)
		}
	}
	return hasNot(ctx, c, "a")
}

func writerMemory(ctx context.Context, c cache.Cache) error {
	given := []cache.Item{item("a", "as set", 1)}
	if err := set(ctx, c, given...); err != nil {
		return err
	}
	copy(given[0].Value, "broken")
	given[0] = item("a", "replaced", 2)
	if err := has(ctx, c, item("a", "as set", 1)); err != nil {
		return fmt.Errorf("after the writer changed what it had set: %w", err)
	}
	return nil
}

func readerMemory(ctx context.Context, c cache.Cache) error {
	if err := set(ctx, c, item("a", "as set", 1)); err != nil {
		return err
	}
	first, err := get(ctx, c, "a")
	if err != nil {
		return err
	}
	second, err := get(ctx, c, "a")
	if err != nil {
		return err
	}
	copy(first["a"].Value, "broken")
	first["a"] = item("a", "replaced", 2)
	if got := string(second["a"].Value); got != "as set" {
		return fmt.Errorf("another reader has %q after a reader changed what it had got", got)
	}
	if err := has(ctx, c, item("a", "as set", 1)); err != nil {
		return fmt.Errorf("after a reader changed what it had got: %w", err)
	}
	return nil
}

func manyCallers(ctx context.Context, c cache.Cache) error {
	const callers, rounds = 16, 30
	return together(callers, func(n int) error {
		own := fmt.Sprint("own ", n)
		for i := range rounds {
			shared := fmt.Sprint("shared ", i%3)
			if err := set(ctx, c, item(own, fmt.Sprint(i), int64(i)), item(shared, shared, int64(i))); err != nil {
				return err
			}
			if err := has(ctx, c, item(own, fmt.Sprint(i), int64(i))); err != nil {
				return err
			}
			found, err := get(ctx, c, shared, own)
			if err != nil {
				return err
			}
			if got, ok := found[shared]; ok && string(got.Value) != shared {
				return fmt.Errorf("the key %q has the value %q", shared, got.Value)
			}
			if i%5 == 0 {
				if err := c.DeleteMany(ctx, []string{shared}); err != nil {
					return fmt.Errorf("deleting: %w", err)
				}
			}
		}
		return nil
	})
}

func newestOfMany(ctx context.Context, c cache.Cache) error {
	const writers, each = 8, 40
	err := together(writers, func(n int) error {
		for i := range each {
			version := int64((i*37+n*11)%each*writers + n) // all of 0 to writers*each-1, in disorder
			if err := set(ctx, c, item("k", fmt.Sprint(version), version)); err != nil {
				return err
			}
			found, err := get(ctx, c, "k")
			if err != nil {
				return err
			}
			if got := found["k"]; got.Version < version || string(got.Value) != fmt.Sprint(got.Version) {
				return fmt.Errorf("after version %d was set the key has the value %q of version %d", version, got.Value,
					got.Version)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	last := int64(writers*each - 1)
	return has(ctx, c, item("k", fmt.Sprint(last), last))
}

// together runs f n times at once and returns the first error.
func together(n int, f func(i int) error) error {
	failures := make(chan error, n)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			if err := f(i); err != nil {
				failures <- err
			}
		})
	}
	group.Wait()
	close(failures)
	return <-failures
}
