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
	// keptTTL is how long a response to an Idempotency-Key is kept.
	keptTTL = content.IdempotencyTTL
	// maxKept bounds a response that is kept, in bytes. A longer one would push others out; it is
	// made again.
	maxKept = 16 << 10
	// acquireTTL is how long a request holds its key, should it never end. After that only the store
	// keeps two requests from creating two contents.
	acquireTTL = 10 * time.Second
	// maxIdempotencyKey is the greatest length of a key, in bytes.
	maxIdempotencyKey = 128
)

// keptResponses keeps the responses of requests with an Idempotency-Key
// (draft-ietf-httpapi-idempotency-key-header). It may lose them: the store has the idempotency
// record, see content.Service.CreateIdempotent.
type keptResponses struct {
	cache cache.Cache
	now   func() time.Time
	mu    sync.Mutex
	held  map[string]bool // when the cache cannot count
	lost  logthrottle.Log
}

func newKeptResponses(c cache.Cache, now func() time.Time) *keptResponses {
	return &keptResponses{cache: c, now: now, held: map[string]bool{}}
}

// keptResponse is a response that is kept.
type keptResponse struct {
	Request  string          `json:"request"` // hash of the body
	Status   int             `json:"status"`
	Location string          `json:"location,omitempty"`
	ETag     string          `json:"etag,omitempty"`
	Body     json.RawMessage `json:"body"`
}

// acquire reports whether no other request with this key is in flight, and returns how to release the
// key.
func (r *keptResponses) acquire(ctx context.Context, key string) (release func(), ok bool) {
	if counter, can := r.cache.(cache.Counter); can {
		began := r.now()
		if n, err := counter.Add(ctx, key+":claim", 1, acquireTTL); err == nil {
			release = func() {
				if r.now().Sub(began) < acquireTTL { // otherwise it has ended by itself, and there is none to take from
					_, _ = counter.Add(context.WithoutCancel(ctx), key+":claim", -1, acquireTTL)
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
	if r.held[key] {
		return nil, false
	}
	r.held[key] = true
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.held, key)
	}, true
}

func (r *keptResponses) find(ctx context.Context, key string) (keptResponse, bool) {
	items, err := r.cache.GetMany(ctx, []string{key})
	if err != nil {
		return keptResponse{}, false
	}
	item, ok := items[key]
	if !ok {
		return keptResponse{}, false
	}
	var found keptResponse
	return found, json.Unmarshal(item.Value, &found) == nil
}

// made is what a request has created.
type made struct {
	location, etag string
	value          any
	again          bool // by an earlier request with the same key
}

// createIdempotent responds 201 with what create returns. A request with the Idempotency-Key of an earlier one
// by the same user gets the earlier response, and create is not called, or finds that the earlier
// one has created the content. Without a key, create gets nil.
func (c *call) createIdempotent(create func(*content.IdempotencyKey) (made, error)) error {
	keys := c.r.Header.Values("Idempotency-Key")
	if len(keys) == 0 {
		m, err := create(nil)
		if err != nil {
			return err
		}
		c.created(m)
		return c.json(http.StatusCreated, m.value)
	}
	if len(keys) > 1 || !visibleASCII(keys[0]) {
		return badHeader("Idempotency-Key", "invalid", fmt.Sprintf("Give one key of 1 to %d visible ASCII characters.",
			maxIdempotencyKey))
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
	release, alone := c.keptResponses.acquire(ctx, key)
	if alone {
		defer release()
	}
	if old, ok := c.keptResponses.find(ctx, key); ok { // after the claim: who had it before has left its answer
		return c.repeat(old, request)
	}
	if !alone {
		return &problem{status: 409, code: "idempotency_key_in_flight", title: "Conflict", retry: time.Second,
			detail: "A request with this Idempotency-Key is in flight."}
	}
	m, err := create(&content.IdempotencyKey{Key: keys[0], Request: request})
	if err != nil {
		return err
	}
	body, err := json.Marshal(m.value)
	if err != nil {
		return fmt.Errorf("httpapi: encode %T: %w", m.value, err)
	}
	answer := keptResponse{Request: request, Status: http.StatusCreated, Location: m.location, ETag: m.etag, Body: body}
	// only the first answer is kept
	if stored, err := json.Marshal(answer); err == nil && len(stored) <= maxKept && !m.again {
		if err := c.cfg.Cache.SetMany(context.WithoutCancel(ctx),
			[]cache.Item{{Key: key, Value: stored, TTL: keptTTL}}); err != nil {
			c.keptResponses.lost.Warn(ctx, c.cfg.Logger, c.cfg.Now(), "httpapi: the answer to an Idempotency-Key is not kept",
				slog.String("request_id", c.id), slog.Any("error", err))
		}
	}
	c.created(m)
	c.write(http.StatusCreated, "application/json", body)
	return nil
}

// created sets the headers of a response with m.
func (c *call) created(m made) {
	h := c.w.Header()
	if m.again {
		h.Set("Idempotency-Replayed", "true")
	}
	h.Set("Location", m.location)
	h.Set("ETag", m.etag)
}

func (c *call) repeat(old keptResponse, request string) error {
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
