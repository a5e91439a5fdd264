package cachetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/khodnevis/khodnevis/cache"
)

// counting is a cache that counts.
type counting interface {
	cache.Cache
	cache.Counter
}

// counted makes a check for caches that count.
func counted(check func(ctx context.Context, c counting) error) func(ctx context.Context, c cache.Cache) error {
	return func(ctx context.Context, c cache.Cache) error {
		if counter, ok := c.(counting); ok {
			return check(ctx, counter)
		}
		return ErrAbsent
	}
}

// adds adds n and reports whether the sum is not want.
func adds(ctx context.Context, c cache.Counter, key string, n int64, ttl time.Duration, want int64) error {
	got, err := c.Add(ctx, key, n, ttl)
	if err != nil {
		return fmt.Errorf("adding %d: %w", n, err)
	}
	if got != want {
		return fmt.Errorf("adding %d to the count %q gave %d, want %d", n, key, got, want)
	}
	return nil
}

func sum(ctx context.Context, c counting) error {
	const great = 1<<53 + 1 // no floating-point number
	return errors.Join(
		adds(ctx, c, "a", 1, long, 1),
		adds(ctx, c, "a", 1, long, 2),
		adds(ctx, c, "a", 40, long, 42),
		adds(ctx, c, "a", -50, long, -8),
		adds(ctx, c, "b", -1, long, -1),
		adds(ctx, c, "b", 1, long, 0),
		adds(ctx, c, "b", 3, long, 3),
		adds(ctx, c, "a", 0, long, -8),
		adds(ctx, c, "g", great, long, great),
		adds(ctx, c, "g", 1, long, great+1),
	)
}

func countEnds(ctx context.Context, c counting) error {
	for i, later := range []time.Duration{short, long, short / 3} {
		key := fmt.Sprint("k", i)
		began, err := spanOf(short, func() error { return adds(ctx, c, key, 1, short, 1) })
		if err != nil {
			return err
		}
		if err := countOver(ctx, c, key, 1, later, began); err != nil {
			return err
		}
	}
	return nil
}

// countOver goes on adding n with the TTL ttl to a count of 1 until that ended, and reports whether
// it ended too early or too late.
func countOver(ctx context.Context, c counting, key string, n int64, ttl time.Duration, began span) error {
	for total := int64(1); ; {
		before := time.Now()
		got, err := c.Add(ctx, key, n, ttl)
		if err != nil {
			return fmt.Errorf("adding %d: %w", n, err)
		}
		total += n
		switch now := time.Now(); {
		case got == n && began.lasts(now):
			return fmt.Errorf("a count of %v began again after %v", began.ttl, now.Sub(began.before))
		case got == n:
			return nil
		case got != total:
			return fmt.Errorf("a count is %d, want %d or, at its end, %d", got, total, n)
		case began.over(before):
			return fmt.Errorf("a count of %v goes on %v after it began", began.ttl, before.Sub(began.after))
		}
		if err := tick(ctx); err != nil {
			return err
		}
	}
}

func countRead(ctx context.Context, c counting) error {
	if err := errors.Join(adds(ctx, c, "k", 0, long, 0), adds(ctx, c, "k", 0, long, 0)); err != nil {
		return err
	}
	began, err := spanOf(short, func() error { return adds(ctx, c, "k", 1, short, 1) })
	if err != nil {
		return err
	}
	if err := countOver(ctx, c, "k", 0, long, began); err != nil {
		return fmt.Errorf("read before it began and after: %w", err)
	}
	return adds(ctx, c, "k", 2, long, 2)
}

func countKeys(ctx context.Context, c counting) error {
	if err := set(ctx, c, item("a", "an item", 5)); err != nil {
		return err
	}
	if err := errors.Join(adds(ctx, c, "a", 7, long, 7), adds(ctx, c, "b", 8, long, 8)); err != nil {
		return err
	}
	if err := hasNot(ctx, c, "b"); err != nil {
		return err
	}
	if err := has(ctx, c, item("a", "an item", 5)); err != nil {
		return err
	}
	if err := set(ctx, c, item("b", "another item", 1)); err != nil {
		return err
	}
	if err := c.DeleteMany(ctx, []string{"a", "b"}); err != nil {
		return fmt.Errorf("deleting: %w", err)
	}
	return errors.Join(adds(ctx, c, "a", 0, long, 7), adds(ctx, c, "b", 1, long, 9))
}

func manyCounting(ctx context.Context, c counting) error {
	const callers, each = 16, 50
	var mu sync.Mutex
	var sums []int64
	err := together(callers, func(int) error {
		for range each {
			got, err := c.Add(ctx, "k", 1, long)
			if err != nil {
				return fmt.Errorf("adding 1: %w", err)
			}
			mu.Lock()
			sums = append(sums, got)
			mu.Unlock()
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.Sort(sums)
	for i, got := range sums {
		if got != int64(i+1) {
			return fmt.Errorf("%d callers added 1 for %d times: as sum number %d came %d", callers, each, i+1, got)
		}
	}
	return adds(ctx, c, "k", 0, long, callers*each)
}
