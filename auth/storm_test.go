package auth_test

import (
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/khodnevis/khodnevis/auth"
)

// A5, A6: the zero Config hashes with the parameters that are documented, and a login raises what
// is weaker to them.
func TestHashDefaults(t *testing.T) {
	t.Parallel()
	e := newEnv(t, func(c *auth.Config) { c.Hash = auth.HashParams{Memory: 8192, Time: 2, Threads: 1} })
	weak := e.register("alice")
	if !strings.HasPrefix(weak.PasswordHash, "$argon2id$v=19$m=8192,t=2,p=1$") {
		t.Fatalf("the seed is %s", weak.PasswordHash)
	}
	e.Service = e.another(func(c *auth.Config) { c.Hash = auth.HashParams{} })
	e.login("alice")
	raised, err := e.User(t.Context(), weak.ID)
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Split(raised.PasswordHash, "$")
	// 16 and 32 bytes
	if len(fields) != 6 || strings.Join(fields[:4], "$") != "$argon2id$v=19$m=19456,t=2,p=1" || len(fields[4]) != 22 ||
		len(fields[5]) != 43 {
		t.Errorf("the hash is %s", raised.PasswordHash)
	}
}

// A8: 500 logins at once hash as many passwords at a time as configured, in the memory of so many
// hashes.
func TestLoginStorm(t *testing.T) { // not parallel: it looks at the heap
	const slots, queue = 2, 16
	e := newEnv(t, func(c *auth.Config) {
		c.Hash, c.MaxHashes, c.HashQueue, c.LimitsOff = auth.HashParams{}, slots, queue, true
	})
	total, most := e.CountHashes()
	var peak atomic.Uint64
	e.OnHash(func(next func()) {
		next()
		var m runtime.MemStats
		runtime.GC() // what a hash left is not what it holds
		runtime.ReadMemStats(&m)
		for p := peak.Load(); m.HeapAlloc > p && !peak.CompareAndSwap(p, m.HeapAlloc); p = peak.Load() {
		}
	})
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	var all sync.WaitGroup
	var busy, refused atomic.Int64
	for n := range 500 {
		all.Go(func() {
			switch err := e.wrong("alice", from(n)); {
			case errors.Is(err, auth.ErrBusy):
				busy.Add(1)
			case errors.Is(err, auth.ErrInvalidLogin):
				refused.Add(1)
			default:
				t.Errorf("got %v", err)
			}
		})
	}
	all.Wait()
	if busy.Load()+refused.Load() != 500 || total.Load() != refused.Load() || total.Load() < slots {
		t.Errorf("%d busy, %d refused, %d hashes", busy.Load(), refused.Load(), total.Load())
	}
	if most.Load() > slots {
		t.Errorf("%d hashes at once, want %d", most.Load(), slots)
	}
	const each = 19456 << 10
	if taken, bound := int64(peak.Load())-int64(before.HeapAlloc), int64(slots*each+4<<20); taken > bound {
		t.Errorf("the heap grew by %d MiB, want %d at most", taken>>20, bound>>20)
	}
}
