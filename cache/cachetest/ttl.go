package cachetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/khodnevis/khodnevis/cache"
)

const (
	short = 60 * time.Millisecond // a TTL whose end a check waits for
	long  = time.Hour             // a TTL that does not end
	exact = time.Millisecond      // how far off the end of a TTL may be
)

// span is when something with a TTL began, as well as its writer knows.
type span struct {
	before, after time.Time // its writing
	ttl           time.Duration
}

// spanOf times write.
func spanOf(ttl time.Duration, write func() error) (span, error) {
	s := span{ttl: ttl, before: time.Now()}
	err := write()
	s.after = time.Now()
	return s, err
}

// over reports whether the TTL has surely ended at t.
func (s span) over(t time.Time) bool { return t.Sub(s.after) > s.ttl+exact }

// lasts reports whether the TTL has surely not ended at t.
func (s span) lasts(t time.Time) bool { return t.Sub(s.before) < s.ttl-exact }

func ttlEnds(ctx context.Context, c cache.Cache) error {
	for i, ttl := range []time.Duration{short, 7 * time.Millisecond, cache.MinTTL, 123 * time.Millisecond} {
		it := item(fmt.Sprint("k", i), "short-lived", 1)
		it.TTL = ttl
		written, err := spanOf(ttl, func() error { return set(ctx, c, it) })
		if err != nil {
			return err
		}
		if err := ends(ctx, c, it.Key, written); err != nil {
			return err
		}
	}
	return nil
}

// ends watches key until its TTL is over and reports whether it was missing before or there after
// that.
func ends(ctx context.Context, c cache.Cache, key string, written span) error {
	for {
		before := time.Now()
		found, err := get(ctx, c, key)
		if err != nil {
			return err
		}
		_, ok := found[key]
		switch now := time.Now(); {
		case ok && written.over(before):
			return fmt.Errorf("an item with a TTL of %v was served %v after it was set", written.ttl, before.Sub(written.after))
		case !ok && written.lasts(now):
			return fmt.Errorf("an item with a TTL of %v was missing after %v", written.ttl, now.Sub(written.before))
		case !ok && written.over(before):
			return nil
		}
		if err := tick(ctx); err != nil {
			return err
		}
	}
}

func ttlForgetsVersion(ctx context.Context, c cache.Cache) error {
	it := item("k", "nine", 9)
	it.TTL = short
	written, err := spanOf(short, func() error { return set(ctx, c, it) })
	if err != nil {
		return err
	}
	if err := reach(ctx, written); err != nil { // without reading: nothing tells the cache that the item is past its TTL
		return err
	}
	if err := set(ctx, c, item("k", "one", 1)); err != nil {
		return err
	}
	return has(ctx, c, item("k", "one", 1))
}

func ttlZero(ctx context.Context, c cache.Cache) error {
	it := item("k", "for ever", 1)
	written, err := spanOf(short, func() error { return set(ctx, c, it) })
	if err != nil {
		return err
	}
	return stays(ctx, c, it, written)
}

// stays reports whether it is still there when the TTL that might wrongly apply to it is over.
func stays(ctx context.Context, c cache.Cache, it cache.Item, other span) error {
	if err := has(ctx, c, it); err != nil {
		return err
	}
	if err := reach(ctx, other); err != nil {
		return err
	}
	return has(ctx, c, it)
}

func ttlOfAnswer(ctx context.Context, c cache.Cache) error {
	with, without := item("with", "1", 1), item("without", "1", 1)
	with.TTL = long
	if err := set(ctx, c, with, without); err != nil {
		return err
	}
	found, err := get(ctx, c, "with", "without")
	if err != nil {
		return err
	}
	for _, key := range []string{"with", "without"} {
		if got, ok := found[key]; !ok || got.TTL != 0 {
			return fmt.Errorf("the item %q is there: %t, with the TTL %v", key, ok, got.TTL)
		}
	}
	return nil
}

func ttlReplaced(ctx context.Context, c cache.Cache) error {
	for _, version := range []int64{1, 2} { // replaced by an equal one and by a greater one
		for _, next := range []time.Duration{0, long} {
			it := item(fmt.Sprint("short, then ", next, version), "first", 1)
			it.TTL = short
			written, err := spanOf(short, func() error { return set(ctx, c, it) })
			if err != nil {
				return err
			}
			it = cache.Item{Key: it.Key, Value: []byte("second"), Version: version, TTL: next}
			if err := set(ctx, c, it); err != nil {
				return err
			}
			if err := stays(ctx, c, it, written); err != nil {
				return fmt.Errorf("a TTL of %v was replaced by %v: %w", short, next, err)
			}
		}
		for _, first := range []time.Duration{0, long} {
			it := item(fmt.Sprint(first, version, " then short"), "first", 1)
			it.TTL = first
			if err := set(ctx, c, it); err != nil {
				return err
			}
			it = cache.Item{Key: it.Key, Value: []byte("second"), Version: version, TTL: short}
			written, err := spanOf(short, func() error { return set(ctx, c, it) })
			if err != nil {
				return err
			}
			if err := ends(ctx, c, it.Key, written); err != nil {
				return fmt.Errorf("a TTL of %v was replaced by %v: %w", first, short, err)
			}
		}
	}
	return nil
}

func ttlLeft(ctx context.Context, c cache.Cache) error {
	kept := item("kept", "two", 2)
	kept.TTL = long
	older := cache.Item{Key: kept.Key, Value: []byte("one"), Version: 1, TTL: short}
	if err := set(ctx, c, kept); err != nil {
		return err
	}
	written, err := spanOf(short, func() error { return set(ctx, c, older) })
	if err != nil {
		return err
	}
	if err := stays(ctx, c, kept, written); err != nil {
		return fmt.Errorf("an older item with a TTL of %v came after one of %v: %w", short, long, err)
	}
	// The other way round the older item must come before the end of the newer one, or it enters
	// rightly.
	for ttl := short; ; ttl *= 2 {
		newer := cache.Item{Key: fmt.Sprint("newer, ", ttl), Value: []byte("two"), Version: 2, TTL: ttl}
		written, err := spanOf(ttl, func() error { return set(ctx, c, newer) })
		if err != nil {
			return err
		}
		for _, longer := range []time.Duration{long, 0} {
			if err := set(ctx, c, cache.Item{Key: newer.Key, Value: []byte("one"), Version: 1, TTL: longer}); err != nil {
				return err
			}
		}
		if !written.lasts(time.Now()) {
			continue
		}
		if err := ends(ctx, c, newer.Key, written); err != nil {
			return fmt.Errorf("an older item came after one with a TTL of %v: %w", ttl, err)
		}
		return nil
	}
}

// reach waits until s is over.
func reach(ctx context.Context, s span) error {
	for !s.over(time.Now()) {
		if err := tick(ctx); err != nil {
			return err
		}
	}
	return nil
}

// tick lets a moment pass.
func tick(ctx context.Context) error {
	timer := time.NewTimer(exact / 2)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return errors.New("timed out waiting for the end of a TTL")
	}
}
