package httpapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/internal/logthrottle"
)

const (
	// replayTTL is how long the answer to an Idempotency-Key is kept.
	replayTTL = content.IdempotencyTTL
	// maxReplay is the greatest size of an answer that is kept, in bytes. Longer ones, which would
	// push others out, are made again.
	maxReplay = 16 << 10
	// claimTTL is how long a request with a key keeps others with the same one away, should it
	// never end. Should it take longer, it is the store that lets one of them make a content.
	claimTTL = 10 * time.Second
	// maxIdempotencyKey is the greatest length of a key, in bytes.
	maxIdempotencyKey = 128
)

// replays keeps the answers of requests that carry an Idempotency-Key
// (draft-ietf-httpapi-idempotency-key-header). It may forget them: that a key makes nothing twice
// is for the store to see to, which see content.Service.CreateIdempotent.
type replays struct {
	cache   cache.Cache
	now     func() time.Time
	mu      sync.Mutex
	claimed map[string]bool // when the cache cannot count
	lost    logthrottle.Log
}

func newReplays(c cache.Cache, now func() time.Time) *replays {
	return &replays{cache: c, now: now, claimed: map[string]bool{}}
}

// replay is a stored answer.
type replay struct {
	Request  string          `json:"request"` // hash of the body
	Status   int             `json:"status"`
	Location string          `json:"location,omitempty"`
	ETag     string          `json:"etag,omitempty"`
	Body     json.RawMessage `json:"body"`
}

// claim reports whether the caller is the only one with this key right now, and returns how to end
// that.
func (r *replays) claim(ctx context.Context, key string) (release func(), ok bool) {
	if counter, can := r.cache.(cache.Counter); can {
		began := r.now()
		if n, err := counter.Add(ctx, key+":claim", 1, claimTTL); err == nil {
			release = func() {
				if r.now().Sub(began) < claimTTL { // otherwise it has ended by itself, and there is none to take from
					_, _ = counter.Add(context.WithoutCancel(ctx), key+":claim", -1, claimTTL)
				}
			}
			if n > 1 {
				release()
				return nil, false
			}
			return release, true
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.claimed[key] {
		return nil, false
	}
	r.claimed[key] = true
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.claimed, key)
	}, true
}

func (r *replays) find(ctx context.Context, key string) (replay, bool) {
	items, err := r.cache.GetMany(ctx, []string{key})
	if err != nil {
		return replay{}, false
	}
	item, ok := items[key]
	if !ok {
		return replay{}, false
	}
	var found replay
	return found, json.Unmarshal(item.Value, &found) == nil
}

// made is what a request has made.
type made struct {
	location, etag string
	value          any
	again          bool // by an earlier request with the same key
}

// once answers 201 with what do makes. A request with the Idempotency-Key of an earlier one by the
// same user gets the earlier answer, and do is not called, or what do finds that the earlier one
// has made. Without a key do is handed nil.
func (c *call) once(do func(*content.IdempotencyKey) (made, error)) error {
	keys := c.r.Header.Values("Idempotency-Key")
	if len(keys) == 0 {
		m, err := do(nil)
		if err != nil {
			return err
		}
		c.created(m)
		return c.json(http.StatusCreated, m.value)
	}
	if len(keys) > 1 || !visibleASCII(keys[0]) {
		return badHeader("Idempotency-Key", "invalid", fmt.Sprintf("Give one key of 1 to %d visible ASCII characters.", maxIdempotencyKey))
	}
	if c.cfg.Cache == nil {
		return badHeader("Idempotency-Key", codeUnsupportedHeader, "This server does not keep responses.")
	}
	scope := sha256.Sum256([]byte(c.who.Subject + "\n" + c.r.Method + " " + c.selfPath() + "\n" + keys[0]))
	key := "replay:" + hex.EncodeToString(scope[:])
	sent, err := json.Marshal(c.input.values)
	if err != nil {
		return fmt.Errorf("httpapi: encode what was sent: %w", err)
	}
	sum := sha256.Sum256(sent)
	request := hex.EncodeToString(sum[:])
	ctx := c.r.Context()
	release, alone := c.replays.claim(ctx, key)
	if alone {
		defer release()
	}
	if old, ok := c.replays.find(ctx, key); ok { // after the claim: who had it before has left its answer
		return c.replay(old, request)
	}
	if !alone {
		return &problem{status: 409, code: "idempotency_key_in_flight", title: "Conflict", retry: time.Second,
			detail: "A request with this Idempotency-Key is in flight."}
	}
	m, err := do(&content.IdempotencyKey{Key: keys[0], Request: request})
	if err != nil {
		return err
	}
	body, err := json.Marshal(m.value)
	if err != nil {
		return fmt.Errorf("httpapi: encode %T: %w", m.value, err)
	}
	answer := replay{Request: request, Status: http.StatusCreated, Location: m.location, ETag: m.etag, Body: body}
	if stored, err := json.Marshal(answer); err == nil && len(stored) <= maxReplay && !m.again { // only the first answer is kept
		if err := c.cfg.Cache.SetMany(context.WithoutCancel(ctx), []cache.Item{{Key: key, Value: stored, TTL: replayTTL}}); err != nil {
			c.replays.lost.Warn(ctx, c.cfg.Logger, c.cfg.Now(), "httpapi: the answer to an Idempotency-Key is not kept",
				slog.String("request_id", c.id), slog.Any("error", err))
		}
	}
	c.created(m)
	c.write(http.StatusCreated, "application/json", body)
	return nil
}

// created sets the headers of an answer with m.
func (c *call) created(m made) {
	h := c.w.Header()
	if m.again {
		h.Set("Idempotency-Replayed", "true")
	}
	h.Set("Location", m.location)
	h.Set("ETag", m.etag)
}

func (c *call) replay(old replay, request string) error {
	if old.Request != request {
		return problemKeyReused
	}
	h := c.w.Header()
	h.Set("Idempotency-Replayed", "true")
	h.Set("Location", old.Location)
	if old.ETag != "" {
		h.Set("ETag", old.ETag)
	}
	c.write(old.Status, "application/json", old.Body)
	return nil
}

func visibleASCII(s string) bool {
	if s == "" || len(s) > maxIdempotencyKey {
		return false
	}
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e {
			return false
		}
	}
	return true
}
