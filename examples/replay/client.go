package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/khodnevis/khodnevis/internal/backoff"
)

const (
	attemptTimeout = 10 * time.Second // the contract answers within 2 s even when it can do nothing
	maxRetryAfter  = 10 * time.Second
	firstPause     = 25 * time.Millisecond
	lastPause      = 2 * time.Second
	maxAnswer      = 1 << 20 // bytes
)

// client sends requests to one server or to several in turn, and keeps trying while it has no
// definite answer.
type client struct {
	http    *http.Client
	bases   []string
	timeout time.Duration
	turn    atomic.Uint64
	trouble atomic.Pointer[string]
}

func newClient(bases []string, conns int, timeout time.Duration) *client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConns, t.MaxIdleConnsPerHost = 0, conns // the default of 2 would dial for almost every request
	t.DisableCompression = true
	return &client{
		http: &http.Client{
			Transport: t,
			// A redirect would turn a POST into a GET; the contract has none.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		bases:   bases,
		timeout: timeout,
	}
}

type request struct {
	method, path   string // path below the mount prefix
	body           any    // nil: none
	by             *user  // nil: anonymous
	idempotencyKey string
}

// answer is the definite answer to a request, and what it took to get it.
type answer struct {
	status   int
	body     []byte
	latency  time.Duration // of the attempt that was answered
	attempts int
	// unsure: an attempt before the answered one may have been carried out, at once or later.
	unsure bool
}

// do sends r until it has a definite answer: one that is neither 429 nor 5xx. Nothing definite
// within the timeout, or the end of ctx, is an error; the answer's attempts and unsure hold then
// too. Expired tokens of r.by are renewed once.
func (c *client) do(ctx context.Context, r request) (answer, error) {
	if r.by == nil {
		return c.persist(ctx, r, "")
	}
	token := r.by.token()
	a, err := c.persist(ctx, r, token)
	if err != nil || a.status != http.StatusUnauthorized {
		return a, err
	}
	if token, err = r.by.renew(ctx, c, token); err != nil {
		return a, err
	}
	again, err := c.persist(ctx, r, token)
	again.attempts += a.attempts
	again.unsure = again.unsure || a.unsure
	return again, err
}

// call is do for requests that have one good status, whose answer is decoded into v.
func (c *client) call(ctx context.Context, r request, want int, v any) error {
	a, err := c.do(ctx, r)
	if err == nil && a.status != want {
		err = fmt.Errorf("%s %s: %s", r.method, r.path, a.problem())
	}
	if err != nil {
		return err
	}
	return a.decode(v)
}

// persist sends r with a token until it has a definite answer, a refusal of the token being one.
func (c *client) persist(ctx context.Context, r request, token string) (answer, error) {
	payload, err := json.Marshal(r.body)
	if err != nil {
		return answer{}, err
	}
	var a answer
	giveUp := time.Now().Add(c.timeout)
	server := c.turn.Add(1)
	pauses := backoff.Backoff{First: firstPause, Max: lastPause, Jitter: true}
	for {
		a.attempts++
		start := time.Now()
		base := c.bases[(server+uint64(a.attempts))%uint64(len(c.bases))]
		header, err := c.send(ctx, r, base, token, payload, &a)
		a.latency = time.Since(start)
		switch {
		case ctx.Err() != nil:
			return a, ctx.Err()
		case err != nil:
			var op *net.OpError
			neverSent := errors.As(err, &op) && op.Op == "dial"
			a.unsure = a.unsure || !neverSent
		case a.status == http.StatusTooManyRequests:
		case a.status == http.StatusConflict && r.idempotencyKey != "": // an earlier attempt is still at work
		case a.status >= 500:
			var p struct{ Outcome string }
			_ = json.Unmarshal(a.body, &p) // no problem document: no outcome
			a.unsure = a.unsure || p.Outcome != "not_accepted"
		default:
			return a, nil
		}
		why := a.problem()
		if err != nil {
			why = err.Error()
		}
		c.trouble.Store(&why)
		left := time.Until(giveUp)
		if left <= 0 {
			return a, fmt.Errorf("%s %s: no definite answer in %v and %d attempts, the last one: %s",
				r.method, r.path, c.timeout, a.attempts, why)
		}
		if err != nil && a.attempts%len(c.bases) != 0 {
			continue // the next server may live
		}
		if err := backoff.Sleep(ctx, min(max(pauses.Next(), retryAfter(header)), left)); err != nil {
			return a, err
		}
	}
}

// send makes one attempt, whose status and body go to a, zero when the answer is not whole.
func (c *client) send(
	ctx context.Context, r request, base, token string, payload []byte, a *answer,
) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	a.status, a.body = 0, nil
	var body io.Reader
	if r.body != nil {
		body = bytes.NewReader(payload)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, base+r.path, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if r.idempotencyKey != "" {
		req.Header.Set("Idempotency-Key", r.idempotencyKey)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	whole, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	a.status, a.body = res.StatusCode, whole
	return res.Header, nil
}

func (a answer) decode(v any) error {
	if err := json.Unmarshal(a.body, v); err != nil {
		return fmt.Errorf("an answer %d that is not the contract's: %w: %.200s", a.status, err, a.body)
	}
	return nil
}

func (a answer) problem() string { return fmt.Sprintf("%d %.300s", a.status, bytes.TrimSpace(a.body)) }

// lastTrouble is the latest reason, since the call before, for which a request had to be sent
// again; empty: none.
func (c *client) lastTrouble() string {
	if s := c.trouble.Swap(nil); s != nil {
		return *s
	}
	return ""
}

func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil {
		return 0
	}
	return min(max(time.Duration(seconds), 0), maxRetryAfter/time.Second) * time.Second
}
