package httpapi

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/khodnevis/khodnevis/internal/seldom"
)

// inHand bounds how many requests are answered at once, all together and of one IP prefix.
type inHand struct {
	cfg  Config
	full seldom.Log

	mu       sync.Mutex
	all      int
	prefixes map[string]int
}

func newInHand(cfg Config) *inHand { return &inHand{cfg: cfg, prefixes: map[string]int{}} }

// take takes a place, and reports whether there was one for all and one for the prefix.
func (h *inHand) take(prefix string) (forAll, forPrefix bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	forAll = h.all < h.cfg.Limits.InHand
	forPrefix = h.cfg.Limits.Off || h.prefixes[prefix] < h.cfg.Limits.PrefixInHand
	if forAll && forPrefix {
		h.all++
		h.prefixes[prefix]++
	}
	return forAll, forPrefix
}

func (h *inHand) giveBack(prefix string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all--
	if h.prefixes[prefix]--; h.prefixes[prefix] == 0 {
		delete(h.prefixes, prefix)
	}
}

func (h *inHand) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.all
}

// enter takes the call in hand, or refuses it at once.
func (c *call) enter() error {
	forAll, forPrefix := c.inHand.take(c.prefix)
	switch {
	case !forAll:
		c.inHand.full.Warn(c.r.Context(), c.cfg.Logger, c.cfg.Now(), "httpapi: too many requests at once", slog.Int("in_hand", c.cfg.Limits.InHand))
		p := problemUnavailable("")
		p.detail = "Too many requests are being answered. Try again later."
		if c.r.Method != http.MethodGet && c.r.Method != http.MethodHead {
			p.outcome = "not_accepted"
		}
		return p
	case !forPrefix:
		return problemThrottled("Too many requests from there are being answered. Try again later.", time.Second)
	}
	c.entered = true
	return nil
}

// leave lets the call go.
func (c *call) leave() {
	if c.entered {
		c.entered = false
		c.inHand.giveBack(c.prefix)
	}
}

// sent is a body as it came.
type sent struct {
	raw []byte
	err error
}

// admit takes the call in hand, with its body. A small one is not in hand while it comes, so that slow clients keep nobody else away,
// and nothing else is done before it is there, so that a refusal costs little. Great ones are in hand, since they fill the memory:
// they are left for receive.
func (c *call) admit(b *body) error {
	if limit := b.most(); limit <= smallBody && c.r.Body != nil && c.r.ContentLength != 0 && c.r.ContentLength <= limit {
		c.sent = c.read(limit)
		var over *http.MaxBytesError
		if err := c.sent.err; err != nil && !errors.As(err, &over) { // it is no use to ask whose it is
			return bodyProblem(err, limit)
		}
	}
	return c.enter()
}

// receive returns the body, if it has at most limit bytes.
func (c *call) receive(limit int64) ([]byte, error) {
	if c.r.ContentLength > limit {
		return nil, &http.MaxBytesError{Limit: limit}
	}
	if c.sent == nil {
		c.sent = c.read(limit)
	}
	return c.sent.raw, c.sent.err
}

func (c *call) read(limit int64) *sent {
	raw, err := io.ReadAll(http.MaxBytesReader(c.w.ResponseWriter, c.r.Body, limit))
	return &sent{raw, err}
}

// hurry gives the client a time to send a body and one to take the answer, where the host's server gives none. The server
// forgets both with the request.
func (c *call) hurry() {
	var read, write time.Duration // what the server gives
	if server, ok := c.r.Context().Value(http.ServerContextKey).(*http.Server); ok {
		read, write = server.ReadTimeout, server.WriteTimeout
	}
	control, now := http.NewResponseController(c.w.ResponseWriter), time.Now()
	// Without a body the server reads ahead, to see the client go: that must not end in time.
	if read == 0 && c.r.Body != nil && c.r.Body != http.NoBody {
		_ = control.SetReadDeadline(now.Add(c.cfg.Limits.ReadTimeout)) // not every host has a connection to wait for
	}
	if write == 0 {
		_ = control.SetWriteDeadline(now.Add(c.cfg.Limits.WriteTimeout))
	}
}
