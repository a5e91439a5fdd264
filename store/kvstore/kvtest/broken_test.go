package kvtest_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/store/kvstore"
	"github.com/khodnevis/khodnevis/store/kvstore/kvtest"
	"github.com/khodnevis/khodnevis/store/memstore"
)

type function = func(kvstore.Tx) error

// broken is a right engine with something that is wrong on purpose.
type broken struct {
	kvstore.Engine
	view, update func(ctx context.Context, fn function) error
	tx           func(kvstore.Tx) kvstore.Tx // of every transaction
}

func (b broken) View(ctx context.Context, fn function) error {
	if b.view != nil {
		return b.view(ctx, fn)
	}
	return b.Engine.View(ctx, b.wrapped(fn))
}

func (b broken) Update(ctx context.Context, fn function) error {
	if b.update != nil {
		return b.update(ctx, fn)
	}
	return b.Engine.Update(ctx, b.wrapped(fn))
}

func (b broken) wrapped(fn function) function {
	if b.tx == nil {
		return fn
	}
	return func(kv kvstore.Tx) error { return fn(b.tx(kv)) }
}

// wrong is a right Tx with a method that is wrong on purpose.
type wrong struct {
	kvstore.Tx
	get    func(key []byte) ([]byte, bool, error)
	put    func(key, value []byte) error
	remove func(key []byte) error
	scan   func(low, high []byte, descending bool, yield func(key, value []byte) bool) error
}

func (w wrong) Get(key []byte) ([]byte, bool, error) {
	if w.get != nil {
		return w.get(key)
	}
	return w.Tx.Get(key)
}

func (w wrong) Put(key, value []byte) error {
	if w.put != nil {
		return w.put(key, value)
	}
	return w.Tx.Put(key, value)
}

func (w wrong) Delete(key []byte) error {
	if w.remove != nil {
		return w.remove(key)
	}
	return w.Tx.Delete(key)
}

func (w wrong) Scan(low, high []byte, descending bool, yield func(key, value []byte) bool) error {
	if w.scan != nil {
		return w.scan(low, high, descending, yield)
	}
	return w.Tx.Scan(low, high, descending, yield)
}

// transactions returns an engine whose transactions are made wrong by f.
func transactions(f func(tx kvstore.Tx) wrong) func(kvstore.Engine) kvstore.Engine {
	return func(e kvstore.Engine) kvstore.Engine {
		return broken{Engine: e, tx: func(tx kvstore.Tx) kvstore.Tx {
			w := f(tx)
			w.Tx = tx
			return w
		}}
	}
}

// scans is transactions that scan wrongly.
func scans(
	f func(tx kvstore.Tx, low, high []byte, descending bool, yield func(key, value []byte) bool) error,
) func(kvstore.Engine) kvstore.Engine {
	return transactions(func(tx kvstore.Tx) wrong {
		return wrong{scan: func(low, high []byte, descending bool, yield func(key, value []byte) bool) error {
			return f(tx, low, high, descending, yield)
		}}
	})
}

var brokenEngines = []struct {
	name   string
	of     func(kvstore.Engine) kvstore.Engine
	checks []string
}{
	{"knows every key", transactions(func(tx kvstore.Tx) wrong {
		return wrong{get: func(key []byte) ([]byte, bool, error) { v, _, err := tx.Get(key); return v, true, err }}
	}), []string{"get", "delete"}},
	{"takes an empty value for none", transactions(func(tx kvstore.Tx) wrong {
		return wrong{
			get: func(key []byte) ([]byte, bool, error) {
				v, ok, err := tx.Get(key)
				return v, ok &&
					len(v) > 0, err
			},
		}
	}), []string{"empty value"}},
	{"ends keys at a zero byte", transactions(func(tx kvstore.Tx) wrong {
		cut := func(key []byte) []byte { before, _, _ := bytes.Cut(key, []byte{0}); return before }
		return wrong{
			get: func(key []byte) ([]byte, bool, error) { return tx.Get(cut(key)) },
			put: func(key, value []byte) error { return tx.Put(cut(key), value) },
		}
	}), []string{"any bytes", "ascending", "largest"}},
	{"keeps the first value", transactions(func(tx kvstore.Tx) wrong {
		return wrong{put: func(key, value []byte) error {
			if _, ok, err := tx.Get(key); ok || err != nil {
				return err
			}
			return tx.Put(key, value)
		}}
	}), []string{"put", "own changes"}},
	{"fails at the deletion of a missing key", transactions(func(tx kvstore.Tx) wrong {
		return wrong{remove: func(key []byte) error {
			if _, ok, err := tx.Get(key); !ok || err != nil {
				return errors.Join(err, os.ErrNotExist)
			}
			return tx.Delete(key)
		}}
	}), []string{"delete"}},
	{
		"deletes nothing",
		transactions(func(kvstore.Tx) wrong { return wrong{remove: func([]byte) error { return nil }} }),
		[]string{"delete", "own changes", "many keys"},
	},
	{"takes short keys only", transactions(func(tx kvstore.Tx) wrong {
		return wrong{put: func(key, value []byte) error {
			if len(key) > 1000 {
				return errors.New("the key is too long")
			}
			return tx.Put(key, value)
		}}
	}), []string{"largest"}},
	{"cuts long values", transactions(func(tx kvstore.Tx) wrong {
		return wrong{put: func(key, value []byte) error { return tx.Put(key, value[:min(len(value), 64<<10)]) }}
	}), []string{"largest value"}},
	{
		"writes at the end of a transaction",
		func(e kvstore.Engine) kvstore.Engine { return broken{Engine: e, update: delayed(e)} },
		[]string{"own changes"},
	},
	{"reuses the memory of values", func(e kvstore.Engine) kvstore.Engine {
		return broken{Engine: e, tx: func(tx kvstore.Tx) kvstore.Tx {
			var lent [][]byte
			return wrong{Tx: tx, get: func(key []byte) ([]byte, bool, error) {
				v, ok, err := tx.Get(key)
				v = bytes.Clone(v)
				lent = append(lent, v)
				return v, ok, err
			}, put: func(key, value []byte) error {
				for _, v := range lent {
					clear(v)
				}
				return tx.Put(key, value)
			}}
		}}
	}, []string{"value kept"}},
	{
		"orders without regard to case",
		scans(func(tx kvstore.Tx, low, high []byte, descending bool, yield func(key, value []byte) bool) error {
			return reordered(
				tx,
				low,
				high,
				descending,
				yield,
				func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) },
			)
		}),
		[]string{"ascending"},
	},
	{
		"orders by length",
		scans(func(tx kvstore.Tx, low, high []byte, descending bool, yield func(key, value []byte) bool) error {
			return reordered(tx, low, high, descending, yield, func(a, b string) int { return len(a) - len(b) })
		}),
		[]string{"any bytes", "ascending", "bounds"},
	},
	{
		"excludes the low bound",
		scans(func(tx kvstore.Tx, low, high []byte, descending bool, yield func(key, value []byte) bool) error {
			return tx.Scan(append(bytes.Clone(low), 0), high, descending, yield)
		}),
		[]string{"bounds"},
	},
	{
		"includes the high bound",
		scans(func(tx kvstore.Tx, low, high []byte, descending bool, yield func(key, value []byte) bool) error {
			if len(high) > 0 {
				high = append(bytes.Clone(high), 0)
			}
			return tx.Scan(low, high, descending, yield)
		}),
		[]string{"bounds"},
	},
	{"always ascends", scans(func(tx kvstore.Tx, low, high []byte, _ bool, yield func(key, value []byte) bool) error {
		return tx.Scan(low, high, false, yield)
	}), []string{"bounds", "ascending"}},
	{
		"finds nothing below no bound",
		scans(func(tx kvstore.Tx, low, high []byte, descending bool, yield func(key, value []byte) bool) error {
			if len(high) == 0 && descending {
				return nil
			}
			return tx.Scan(low, high, descending, yield)
		}),
		[]string{"no bound"},
	},
	{
		"takes ff for the end of no bound",
		scans(func(tx kvstore.Tx, low, high []byte, descending bool, yield func(key, value []byte) bool) error {
			if len(high) == 0 {
				high = []byte{0xff}
			}
			return tx.Scan(low, high, descending, yield)
		}),
		[]string{"no bound"},
	},
	{
		"yields on",
		scans(func(tx kvstore.Tx, low, high []byte, descending bool, yield func(key, value []byte) bool) error {
			return tx.Scan(low, high, descending, func(key, value []byte) bool { yield(key, value); return true })
		}),
		[]string{"stop"},
	},
	{"has one cursor", func(e kvstore.Engine) kvstore.Engine {
		return broken{Engine: e, tx: func(tx kvstore.Tx) kvstore.Tx {
			scans := 0
			return wrong{
				Tx: tx,
				scan: func(low, high []byte, descending bool, yield func(key, value []byte) bool) error {
					scans++
					mine := scans
					return tx.Scan(
						low,
						high,
						descending,
						func(key, value []byte) bool { return mine == scans && yield(key, value) },
					)
				},
			}
		}}
	}, []string{"reads in a scan"}},
	{"loses a key now and then", func(e kvstore.Engine) kvstore.Engine {
		var puts atomic.Int64
		return broken{Engine: e, tx: func(tx kvstore.Tx) kvstore.Tx {
			return wrong{Tx: tx, put: func(key, value []byte) error {
				if puts.Add(1)%1000 == 0 {
					return nil
				}
				return tx.Put(key, value)
			}}
		}}
	}, []string{"many keys"}},
	{
		"writes in a view",
		func(e kvstore.Engine) kvstore.Engine { return broken{Engine: e, view: e.Update} },
		[]string{"write in a view"},
	},
	{"keeps what a failing function did", func(e kvstore.Engine) kvstore.Engine {
		return broken{Engine: e, update: func(ctx context.Context, fn function) error {
			var failed error
			err := e.Update(ctx, func(tx kvstore.Tx) error { failed = fn(tx); return nil })
			return errors.Join(failed, err)
		}}
	}, []string{"error of a function"}},
	{"wraps errors of functions", func(e kvstore.Engine) kvstore.Engine {
		return broken{
			Engine: e,
			update: func(ctx context.Context, fn function) error { return errors.Join(e.Update(ctx, fn)) },
		}
	}, []string{"error as it is"}},
	{"keeps what a panicking function did", func(e kvstore.Engine) kvstore.Engine {
		return broken{Engine: e, update: func(ctx context.Context, fn function) error {
			var v any
			err := e.Update(ctx, func(tx kvstore.Tx) error {
				defer func() { v = recover() }()
				return fn(tx)
			})
			if v != nil {
				panic(v)
			}
			return err
		}}
	}, []string{"panic"}},
	{"makes an error of a panic", func(e kvstore.Engine) kvstore.Engine {
		return broken{Engine: e, update: func(ctx context.Context, fn function) (err error) {
			defer func() {
				if recover() != nil {
					err = errors.New("the function panicked")
				}
			}()
			return e.Update(ctx, fn)
		}}
	}, []string{"panic"}},
	{"takes no notice of its context", func(e kvstore.Engine) kvstore.Engine {
		return broken{
			Engine: e,
			update: func(_ context.Context, fn function) error { return e.Update(context.Background(), fn) },
		}
	}, []string{"done before", "waiting"}},
	{"commits later", func(e kvstore.Engine) kvstore.Engine {
		var group sync.WaitGroup
		return broken{Engine: e, update: func(ctx context.Context, fn function) error {
			group.Go(func() { time.Sleep(time.Millisecond); _ = e.Update(context.WithoutCancel(ctx), fn) })
			return nil
		}}
	}, []string{"seen later"}},
	{"views without a snapshot", func(e kvstore.Engine) kvstore.Engine {
		return broken{Engine: e, view: func(ctx context.Context,
			fn function) error {
			return fn(uncommitted{ctx, e})
		}}
	}, []string{"snapshot"}},
	{"updates without transactions", func(e kvstore.Engine) kvstore.Engine {
		return broken{
			Engine: e,
			update: func(ctx context.Context, fn function) error { return fn(uncommitted{ctx, e}) },
		}
	}, []string{"snapshot", "lost updates", "write skew", "phantoms", "error of a function", "panic"}},
	{
		"updates on snapshots, of which the last one wins",
		func(e kvstore.Engine) kvstore.Engine { return broken{Engine: e, update: delayed(e)} },
		[]string{"lost updates", "write skew", "phantoms"},
	},
}

// uncommitted makes a transaction of each operation.
type uncommitted struct {
	ctx context.Context
	e   kvstore.Engine
}

func (u uncommitted) Get(key []byte) (value []byte, ok bool, err error) {
	err = u.e.View(u.ctx, func(tx kvstore.Tx) error { value, ok, err = tx.Get(key); return err })
	return value, ok, err
}

func (u uncommitted) Put(key, value []byte) error {
	time.Sleep(10 * time.Microsecond)
	return u.e.Update(u.ctx, func(tx kvstore.Tx) error { return tx.Put(key, value) })
}

func (u uncommitted) Delete(key []byte) error {
	return u.e.Update(u.ctx, func(tx kvstore.Tx) error { return tx.Delete(key) })
}

func (u uncommitted) Scan(low, high []byte, descending bool, yield func(key, value []byte) bool) error {
	return u.e.View(u.ctx, func(tx kvstore.Tx) error { return tx.Scan(low, high, descending, yield) })
}

// delayed returns an Update that reads in a snapshot from before its first write, and writes at its
// end.
func delayed(e kvstore.Engine) func(ctx context.Context, fn function) error {
	return func(ctx context.Context, fn function) error {
		var writes []func(kvstore.Tx) error
		err := e.View(ctx, func(tx kvstore.Tx) error {
			err := fn(wrong{
				Tx: tx,
				put: func(key, value []byte) error {
					writes = append(writes, func(tx kvstore.Tx) error { return tx.Put(key, value) })
					return nil
				},
				remove: func(key []byte) error {
					writes = append(writes, func(tx kvstore.Tx) error { return tx.Delete(key) })
					return nil
				},
			})
			time.Sleep(100 * time.Microsecond)
			return err
		})
		if err != nil {
			return err
		}
		return e.Update(ctx, func(tx kvstore.Tx) error {
			for _, write := range writes {
				if err := write(tx); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// reordered scans in another order.
func reordered(
	tx kvstore.Tx,
	low, high []byte,
	descending bool,
	yield func(key, value []byte) bool,
	compare func(a, b string) int,
) error {
	type pair struct{ key, value string }
	var all []pair
	collect := func(key, value []byte) bool {
		all = append(all, pair{string(key), string(value)})
		return true
	}
	if err := tx.Scan(low, high, descending, collect); err != nil {
		return err
	}
	slices.SortStableFunc(all, func(a, b pair) int {
		if descending {
			a, b = b, a
		}
		return compare(a.key, b.key)
	})
	for _, p := range all {
		if !yield([]byte(p.key), []byte(p.value)) {
			break
		}
	}
	return nil
}

// TestBroken shows that the suite notices. That the checks pass with a right engine, the tests of
// the engines show.
func TestBroken(t *testing.T) {
	t.Parallel()
	noticed := map[string]bool{}
	byName := map[string]kvtest.Check{}
	for _, c := range kvtest.Checks() {
		byName[c.Name] = c
	}
	for _, b := range brokenEngines {
		for _, name := range b.checks {
			noticed[name] = true
		}
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			for _, name := range b.checks {
				check, ok := byName[name]
				if !ok {
					t.Fatalf("there is no check %q", name)
				}
				timeout, waits := time.Minute, name == "waiting"
				if waits { // for an Update that may never end
					timeout = time.Second
				}
				ctx, cancel := context.WithTimeout(t.Context(), timeout)
				switch err := check.Run(ctx, b.of(memstore.NewEngine())); {
				case err == nil:
					t.Errorf("%q does not notice", name)
				case ctx.Err() != nil && !waits:
					t.Errorf("%q does not end: %v", name, err)
				default:
					t.Logf("%s: %v", name, err)
				}
				cancel()
			}
		})
	}
	for name := range byName {
		if !noticed[name] {
			t.Errorf("no broken engine shows that %q notices anything", name)
		}
	}
}

// TestSentences keeps suite and port together.
func TestSentences(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("../engine.go")
	if err != nil {
		t.Fatal(err)
	}
	said := strings.Join(strings.Fields(strings.ReplaceAll(string(source), "//", "")), " ")
	names := map[string]bool{}
	for _, c := range kvtest.Checks() {
		if names[c.Name] || c.Sentence == "" || !strings.Contains(said, c.Sentence) {
			t.Errorf("%s: the name must be unique, and the port say %q", c.Name, c.Sentence)
		}
		names[c.Name] = true
	}
}
