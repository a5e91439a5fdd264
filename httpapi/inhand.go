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

// places bounds how many calls do something at once, all together and of one IP prefix or user.
type places struct {
	most, mostOfOne int

	mu  sync.Mutex
	all int
	of  map[string]int
}

func newPlaces(most, mostOfOne int) *places {
	return &places{most: most, mostOfOne: mostOfOne, of: map[string]int{}}
}

// take takes a place, and reports whether there was one.
func (p *places) take(whom string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all == p.most || p.of[whom] == p.mostOfOne {
		return false
	}
	p.all++
	p.of[whom]++
	return true
}

// full reports whether there is no place for anybody.
func (p *places) full() bool { return p.count() == p.most }

func (p *places) giveBack(whom string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all--
	if p.of[whom]--; p.of[whom] == 0 {
		delete(p.of, whom)
	}
}

func (p *places) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all
}

// waitsOfUser is how many waits for ratings to be stored one user may have at once; the next ones are answered as things stand.
const waitsOfUser = 32

// slowWrite is how long a client may take for an answer when as many as may be in hand are taking theirs.
const slowWrite = time.Second

// load is what an API has to do.
type load struct {
	inHand  *places    // of prefixes, to be answered
	writing *places    // of prefixes, to take their answers
	waiting *places    // of users, for ratings to be stored
	full    seldom.Log // tells of inHand
}

func newLoad(l Limits) load {
	ofPrefix := l.PrefixInHand
	if l.Off {
		ofPrefix = l.InHand
	}
	return load{inHand: newPlaces(l.InHand, ofPrefix), writing: newPlaces(l.InHand, ofPrefix), waiting: newPlaces(l.InHand, waitsOfUser)}
}

// enter takes the call in hand, or refuses it at once.
func (c *call) enter() error {
	switch {
	case c.load.inHand.take(c.prefix):
		c.entered = true
		return nil
	case c.load.inHand.full():
		c.load.full.Warn(c.r.Context(), c.cfg.Logger, c.cfg.Now(), "httpapi: too many requests at once", slog.Int("in_hand", c.cfg.Limits.InHand))
		p := problemUnavailable("")
		p.detail = "Too many requests are being answered. Try again later."
		if c.r.Method != http.MethodGet && c.r.Method != http.MethodHead {
			p.outcome = "not_accepted"
		}
		return p
	}
	return problemThrottled("Too many requests from there are being answered. Try again later.", time.Second)
}

// leave lets the call go: it is done, or only waits for something that takes no processor and little memory.
func (c *call) leave() {
	if c.entered {
		c.entered = false
		c.load.inHand.giveBack(c.prefix)
	}
}

// send writes the body of an answer. Clients that take it slowly keep nobody away: the call is in hand no more, and when many are that
// slow the next ones get little time.
func (c *call) send(body []byte) {
	c.leave()
	if c.load.writing.take(c.prefix) {
		defer c.load.writing.giveBack(c.prefix)
	} else {
		_ = http.NewResponseController(c.w.ResponseWriter).SetWriteDeadline(time.Now().Add(slowWrite)) // not every host has a connection
	}
	_, _ = c.w.Write(body) // the client is gone; there is nobody to tell
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

// read reads the body. The time that the client takes for it does not count towards the call's deadline: ReadTimeout bounds it.
func (c *call) read(limit int64) *sent {
	began := time.Now()
	raw, err := io.ReadAll(http.MaxBytesReader(c.w.ResponseWriter, c.r.Body, limit))
	c.began = c.began.Add(time.Since(began))
	c.answerWithin(c.cfg.Limits.RequestTimeout)
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
