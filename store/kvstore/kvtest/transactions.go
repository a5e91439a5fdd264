package kvtest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/khodnevis/khodnevis/store/kvstore"
)

var errHost = errors.New("an error of the function")

func writeInView(ctx context.Context, e kvstore.Engine) error {
	if err := putAll(ctx, e, pair{"a", "1"}); err != nil {
		return err
	}
	err := e.View(ctx, func(tx kvstore.Tx) error {
		if tx.Put([]byte("b"), []byte("2")) == nil || tx.Delete([]byte("a")) == nil {
			return errors.New("a write in a View returns no error")
		}
		return nil
	})
	if err != nil {
		return err
	}
	return e.View(ctx, func(tx kvstore.Tx) error { return wantScan(tx, "", "", []pair{{"a", "1"}}) })
}

// change makes changes of every kind to what failure and panics have put.
func change(tx kvstore.Tx) error {
	return errors.Join(
		tx.Put([]byte("a"), []byte("changed")),
		tx.Put([]byte("c"), []byte("new")),
		tx.Delete([]byte("b")),
	)
}

func failure(ctx context.Context, e kvstore.Engine) error {
	all := []pair{{"a", "1"}, {"b", "2"}}
	if err := putAll(ctx, e, all...); err != nil {
		return err
	}
	if err := e.Update(ctx, func(tx kvstore.Tx) error { return errors.Join(change(tx), errHost) }); err == nil {
		return errors.New("an Update whose function fails returns no error")
	}
	if err := e.View(ctx, func(tx kvstore.Tx) error { return wantScan(tx, "", "", all) }); err != nil {
		return fmt.Errorf("after an error: %w", err)
	}
	return putAll(ctx, e, pair{"d", "the engine goes on"})
}

// methods returns what an engine runs functions by.
func methods(e kvstore.Engine) map[string]func(context.Context, func(kvstore.Tx) error) error {
	return map[string]func(context.Context, func(kvstore.Tx) error) error{"View": e.View, "Update": e.Update}
}

func failureAsItIs(ctx context.Context, e kvstore.Engine) error {
	for name, run := range methods(e) {
		err := run(ctx, func(kvstore.Tx) error { return errHost })
		if err != errHost {
			return fmt.Errorf("%s returns %v, want the error of the function", name, err)
		}
	}
	return nil
}

func panics(ctx context.Context, e kvstore.Engine) error {
	all := []pair{{"a", "1"}, {"b", "2"}}
	if err := putAll(ctx, e, all...); err != nil {
		return err
	}
	for name, run := range methods(e) {
		passed := func() (v any) {
			defer func() { v = recover() }()
			return run(ctx, func(tx kvstore.Tx) error {
				_ = change(tx) // in a View an error
				panic(errHost)
			})
		}()
		if passed != any(errHost) {
			return fmt.Errorf("%s: the panic came out as %v", name, passed)
		}
	}
	if err := e.View(ctx, func(tx kvstore.Tx) error { return wantScan(tx, "", "", all) }); err != nil {
		return fmt.Errorf("after a panic: %w", err)
	}
	return putAll(ctx, e, pair{"d", "the engine goes on"})
}

func doneBefore(ctx context.Context, e kvstore.Engine) error {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	for name, run := range methods(e) {
		ran := false
		err := run(ctx, func(kvstore.Tx) error { ran = true; return nil })
		if !errors.Is(err, context.Canceled) || ran {
			return fmt.Errorf("%s with a context that is done: the error %v, the function ran: %t", name, err, ran)
		}
	}
	return nil
}

// waiting cancels an Update that may have to wait for another one, whose function does not end
// before. An engine that lets them run at once need not wait.
func waiting(ctx context.Context, e kvstore.Engine) error {
	inside, cancelled := make(chan struct{}), make(chan struct{})
	var (
		once  sync.Once
		group sync.WaitGroup
		first error
	)
	group.Go(func() {
		first = e.Update(ctx, func(tx kvstore.Tx) error {
			once.Do(func() { close(inside) })
			select {
			case <-cancelled:
			case <-ctx.Done():
				return errors.New("an Update whose context is done waits for another one")
			}
			return tx.Put([]byte("a"), []byte("1"))
		})
	})
	<-inside
	second, cancel := context.WithCancel(ctx)
	group.Go(cancel)
	err := e.Update(second, func(tx kvstore.Tx) error { return tx.Put([]byte("b"), []byte("2")) })
	close(cancelled)
	group.Wait()
	if err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("an Update whose context was cancelled: %w", err)
	}
	if first != nil {
		return first
	}
	return e.View(ctx, func(tx kvstore.Tx) error {
		if err != nil {
			return errors.Join(has(tx, "a", "1"), hasNot(tx, "b"))
		}
		return errors.Join(has(tx, "a", "1"), has(tx, "b", "2"))
	})
}

func seenLater(ctx context.Context, e kvstore.Engine) error {
	const callers, rounds = 4, 25
	return together(callers, func(i int) error {
		key := fmt.Sprint("k", i)
		for n := range rounds {
			value := strconv.Itoa(n)
			if err := putAll(ctx, e, pair{key, value}); err != nil {
				return err
			}
			look := func(tx kvstore.Tx) error { return has(tx, key, value) }
			if err := errors.Join(e.View(ctx, look), e.Update(ctx, look)); err != nil {
				return fmt.Errorf("after an Update that returned nil: %w", err)
			}
		}
		return nil
	})
}

func number(tx kvstore.Tx, key string) (int, error) {
	value, ok, err := tx.Get([]byte(key))
	if err != nil || !ok {
		return 0, err
	}
	return strconv.Atoi(string(value))
}

func setNumber(tx kvstore.Tx, key string, n int) error {
	return tx.Put([]byte(key), []byte(strconv.Itoa(n)))
}

// snapshot looks at accounts between which money moves: whoever reads twice, in either way, finds
// the same, and the sum never changes.
func snapshot(ctx context.Context, e kvstore.Engine) error {
	const accounts, each = 10, 100
	var all []pair
	for i := range accounts {
		all = append(all, pair{fmt.Sprint("account ", i), strconv.Itoa(each)})
	}
	if err := putAll(ctx, e, all...); err != nil {
		return err
	}
	const movers, viewers, views, moves = 4, 4, 50, 40 // views and moves are the least
	var moved, viewing atomic.Int64
	viewing.Store(viewers)
	return together(movers+viewers, func(i int) error {
		if i >= movers {
			defer viewing.Add(-1)
			for n := 0; n < views || moved.Load() < moves; n++ {
				// A move shall come between, but an engine may have it wait for the View.
				pause := func() {
					for before, n := moved.Load(), 0; moved.Load() == before && n < 1000; n++ {
						runtime.Gosched()
					}
				}
				look := func(tx kvstore.Tx) error { return balanced(tx, all, accounts*each, pause) }
				if err := e.View(ctx, look); err != nil {
					return err
				}
			}
			return nil
		}
		for n := 0; viewing.Load() > 0; n++ {
			from, to := all[(i*3+n)%accounts].key, all[(i*3+n*7+1)%accounts].key
			if err := e.Update(ctx, func(tx kvstore.Tx) error { return move(tx, from, to) }); err != nil {
				return err
			}
			moved.Add(1)
		}
		return nil
	})
}

func move(tx kvstore.Tx, from, to string) error {
	a, err := number(tx, from)
	if err == nil {
		err = setNumber(tx, from, a-1)
	}
	if err != nil {
		return err
	}
	b, err := number(tx, to)
	if err != nil {
		return err
	}
	return setNumber(tx, to, b+1)
}

// balanced looks at all accounts twice.
func balanced(tx kvstore.Tx, all []pair, wanted int, pause func()) error {
	sum := 0
	first := make([]int, len(all))
	for i, p := range all {
		var err error
		if first[i], err = number(tx, p.key); err != nil {
			return err
		}
		sum += first[i]
	}
	if sum != wanted {
		return fmt.Errorf("a View sees the sum %d, want %d", sum, wanted)
	}
	pause()
	again, err := scan(tx, "account ", "account!", false, len(all)+1)
	if err != nil {
		return err
	}
	for i, p := range all {
		second, err := number(tx, p.key)
		if err != nil {
			return err
		}
		if len(again) != len(all) || second != first[i] || again[i].value != strconv.Itoa(first[i]) {
			return fmt.Errorf("a View sees %d under %q, then %d, and %v in a scan", first[i], p.key, second, again)
		}
	}
	return nil
}

func lostUpdates(ctx context.Context, e kvstore.Engine) error {
	const callers, rounds = 8, 25
	err := together(callers, func(int) error {
		for range rounds {
			if err := e.Update(ctx, func(tx kvstore.Tx) error {
				n, err := number(tx, "n")
				if err != nil {
					return err
				}
				return setNumber(tx, "n", n+1)
			}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return e.View(ctx, func(tx kvstore.Tx) error { return has(tx, "n", strconv.Itoa(callers*rounds)) })
}

// writeSkew lets two callers each write one of two keys, if the other one is missing.
func writeSkew(ctx context.Context, e kvstore.Engine) error {
	for round := range 25 {
		keys := []string{fmt.Sprint("a", round), fmt.Sprint("b", round)}
		err := together(2, func(i int) error {
			return e.Update(ctx, func(tx kvstore.Tx) error {
				if _, there, err := tx.Get([]byte(keys[1-i])); err != nil || there {
					return err
				}
				return tx.Put([]byte(keys[i]), nil)
			})
		})
		if err != nil {
			return err
		}
		if err := e.View(ctx, func(tx kvstore.Tx) error {
			_, a, err := tx.Get([]byte(keys[0]))
			_, b, err2 := tx.Get([]byte(keys[1]))
			if a == b {
				const wrong = "of two Updates that each write unless the other one has, both or neither did: %t, %t"
				err = errors.Join(err, fmt.Errorf(wrong, a, b))
			}
			return errors.Join(err, err2)
		}); err != nil {
			return err
		}
	}
	return nil
}

// phantoms lets callers each write a key of their own, if a scan finds none.
func phantoms(ctx context.Context, e kvstore.Engine) error {
	for round := range 25 {
		low, high := fmt.Sprintf("%03d ", round), fmt.Sprintf("%03d!", round)
		err := together(4, func(i int) error {
			return e.Update(ctx, func(tx kvstore.Tx) error {
				found, err := scan(tx, low, high, i%2 == 0, 1)
				if err != nil || len(found) > 0 {
					return err
				}
				return tx.Put([]byte(low+strconv.Itoa(i)), nil)
			})
		})
		if err != nil {
			return err
		}
		if err := e.View(ctx, func(tx kvstore.Tx) error {
			found, err := scan(tx, low, high, false, 9)
			if err == nil && len(found) != 1 {
				err = fmt.Errorf("of Updates that each write unless there is something, %d wrote", len(found))
			}
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}
