// Package kvtest is the suite that every kvstore.Engine must pass. Each check quotes the sentence
// of package kvstore that it is about.
//
//	func TestEngine(t *testing.T) {
//		kvtest.Run(t, func(t *testing.T) kvstore.Engine { return open(t) }, kvtest.Config{})
//	}
//
// What an engine promises of durability, its own tests show.
package kvtest

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/store/kvstore"

	"github.com/khodnevis/khodnevis/internal/suite"
)

// Check is one promise of the port and the test of it.
type Check struct {
	Name     string
	Sentence string // as it stands in package kvstore
	// Run returns what is wrong with e, in which nothing has been kept, or nil. It ends early, with
	// an error, when ctx does.
	Run func(ctx context.Context, e kvstore.Engine) error
}

// Checks returns all checks, in an order in which a new engine may be written.
func Checks() []Check {
	return []Check{
		{"get", "Get returns the value of key, and false if there is none.", get},
		{"empty value", "The value may be empty.", emptyValue},
		{"any bytes", "Keys and values are any bytes.", anyBytes},
		{"put", "Put replaces the value of key.", put},
		{"delete", "Delete removes key. A missing key is no error.", remove},
		{"largest", "MaxKey is the greatest length of a key, in bytes; the least is 1.", largest},
		{"largest value", "MaxValue is the greatest length of a value, in bytes; the least is 0.", largestValue},
		{"own changes", "It sees its own changes.", ownChanges},
		{"value kept", "It stays as it is until the function of the transaction returns", valueKept},
		{"ascending", "An Engine keeps values under keys in the bytewise order of the keys.", ascending},
		{
			"bounds",
			"Scan calls yield for the keys from low, included, to high, excluded, in ascending or descending order",
			bounds,
		},
		{"no bound", "An empty high is no bound.", noBound},
		{"stop", "until yield returns false.", stop},
		{"reads in a scan", "The caller may Get and Scan meanwhile", readsInScan},
		{"many keys", "An Engine keeps values under keys in the bytewise order of the keys.", manyKeys},

		{"write in a view", "In a View it returns an error.", writeInView},
		{"error of a function", "keeps what fn did, all of it or, with an error, nothing.", failure},
		{"error as it is", "An error of fn is returned as it is", failureAsItIs},
		{"panic", "and so is a panic of fn, which keeps nothing.", panics},
		{"done before", "A context that is done before fn runs ends View and Update with its error", doneBefore},
		{"waiting", "waiting for other Updates ends with it too.", waiting},
		{"seen later", "An Update that returned nil is seen by every View and Update that begins later", seenLater},
		{"snapshot", "it sees all of an Update or nothing of it, and always the same.", snapshot},
		{
			"lost updates",
			"Updates are serializable: the result is as if they had run one after the other.",
			lostUpdates,
		},
		{"write skew", "Updates are serializable: the result is as if they had run one after the other.", writeSkew},
		{"phantoms", "Updates are serializable: the result is as if they had run one after the other.", phantoms},
	}
}

// Config adjusts Run; the zero value is usable.
type Config struct {
	// Timeout is how long one check may take before it fails. Zero: a minute.
	Timeout time.Duration
}

// Run runs every check as a parallel subtest. Open returns an empty engine that nobody else works
// on; what it needs to close it leaves to t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) kvstore.Engine, cfg Config) {
	t.Helper()
	if cfg.Timeout == 0 {
		cfg.Timeout = time.Minute
	}
	for _, check := range Checks() {
		suite.Run(t, check.Name, check.Sentence, cfg.Timeout, open, check.Run)
	}
}

// pair is a key and its value.
type pair struct{ key, value string }

// putAll puts pairs in one Update.
func putAll(ctx context.Context, e kvstore.Engine, pairs ...pair) error {
	return e.Update(ctx, func(tx kvstore.Tx) error {
		for _, p := range pairs {
			if err := tx.Put([]byte(p.key), []byte(p.value)); err != nil {
				return fmt.Errorf("put %.40q: %w", p.key, err)
			}
		}
		return nil
	})
}

// has returns an error unless key has the value wanted.
func has(tx kvstore.Tx, key, wanted string) error {
	value, ok, err := tx.Get([]byte(key))
	switch {
	case err != nil:
		return fmt.Errorf("get %.40q: %w", key, err)
	case !ok:
		return fmt.Errorf("the key %.40q is missing", key)
	case string(value) != wanted:
		return fmt.Errorf(
			"the key %.40q has the value %.40q (%d bytes), want %.40q (%d)",
			key,
			value,
			len(value),
			wanted,
			len(wanted),
		)
	}
	return nil
}

// hasNot returns an error if key is there.
func hasNot(tx kvstore.Tx, key string) error {
	value, ok, err := tx.Get([]byte(key))
	if err == nil && ok {
		err = fmt.Errorf("the key %.40q has the value %.40q, want none", key, value)
	}
	return err
}

// scan returns what a Scan yields, at most limit pairs.
func scan(tx kvstore.Tx, low, high string, descending bool, limit int) ([]pair, error) {
	var found []pair
	err := tx.Scan([]byte(low), []byte(high), descending, func(key, value []byte) bool {
		found = append(found, pair{string(key), string(value)})
		return len(found) < limit
	})
	return found, err
}

// wantScan compares a Scan, and one that is stopped halfway, in both directions with what is there.
func wantScan(tx kvstore.Tx, low, high string, wanted []pair) error {
	for _, descending := range []bool{false, true} {
		for _, limit := range []int{len(wanted) + 1, max(1, len(wanted)/2)} {
			found, err := scan(tx, low, high, descending, limit)
			if err != nil {
				return fmt.Errorf("scan: %w", err)
			}
			if err := same(found, wanted, descending, limit); err != nil {
				return fmt.Errorf(
					"a scan from %.40q to %.40q, descending %t, stopped after %d: %w",
					low,
					high,
					descending,
					limit,
					err,
				)
			}
		}
	}
	return nil
}

func same(found, ascending []pair, descending bool, limit int) error {
	if wanted := min(limit, len(ascending)); len(found) != wanted {
		return fmt.Errorf("%d keys, want %d", len(found), wanted)
	}
	for i, p := range found {
		wanted := ascending[i]
		if descending {
			wanted = ascending[len(ascending)-1-i]
		}
		if p != wanted {
			return fmt.Errorf(
				"place %d is %.40q with the value %.40q, want %.40q with %.40q",
				i,
				p.key,
				p.value,
				wanted.key,
				wanted.value,
			)
		}
	}
	return nil
}

// together runs do n times at once and returns the first error.
func together(n int, do func(i int) error) error {
	var wg sync.WaitGroup
	errs := make(chan error, n)
	for i := range n {
		wg.Go(func() {
			if err := do(i); err != nil {
				errs <- err
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}

func filled(n int, b byte) string { return string(bytes.Repeat([]byte{b}, n)) }
