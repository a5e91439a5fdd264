package httpapi

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/khodnevis/khodnevis/internal/counter"
	"github.com/khodnevis/khodnevis/internal/logthrottle"
)

const (
	// waitsOfUser bounds the waits of one user for ratings to be stored. A request beyond it is
	// answered at once.
	waitsOfUser = 32
	// hurried is the read and write deadline of a client while as many bodies or responses are on
	// their way as there may be requests in flight.
	hurried = time.Second
	// bodyGrace is how long a body may be on its way before it must have come at leastRate, in
	// bytes a second, from its beginning.
	bodyGrace = 5 * time.Second
	leastRate = 1 << 10
	// bodyMemory bounds the bytes of all bodies in memory, without the first smallBody bytes of
	// each. Memory is taken as bytes arrive, whatever Content-Length says.
	bodyMemory = 64 << 20
	// shareOfMemory is the divisor of bodyMemory that gives the fair share of one IP prefix.
	shareOfMemory = 8
)

// admission has the limiters of admission control. Each bounds a total and the fair share of one IP
// prefix or user.
type admission struct {
	inFlight *counter.Limiter // the in-flight limiter: requests whose bodies have arrived
	reading  *counter.Limiter // bodies on their way with the full read deadline
	writing  *counter.Limiter // responses on their way with the full write deadline
	memory   *counter.Limiter // bytes of bodies
	waiting  *counter.Limiter // waits for ratings to be stored, of each user
	full     logthrottle.Log  // reports that inFlight is full
}

func newAdmission(l Limits) admission {
	requests, share := int64(l.InFlight), int64(l.PrefixInFlight)
	memoryShare := int64(bodyMemory / shareOfMemory)
	if l.Off {
		share, memoryShare = requests, bodyMemory
	}
	return admission{
		inFlight: counter.NewLimiter(requests, share),
		reading:  counter.NewLimiter(requests, share),
		writing:  counter.NewLimiter(requests, share),
		memory:   counter.NewLimiter(bodyMemory, memoryShare),
		waiting:  counter.NewLimiter(requests, waitsOfUser),
	}
}

// overloaded is load shedding: it refuses the call because the total, or the share of an IP prefix,
// is in use.
func (c *call) overloaded(detail, share string) error {
	if share != "" {
		return problemThrottled(fmt.Sprintf(detail, " from your network"), time.Second)
	}
	p := problemUnavailable("")
	p.detail = fmt.Sprintf(detail, "")
	if c.r.Method != http.MethodGet && c.r.Method != http.MethodHead {
		p.outcome = "not_accepted"
	}
	return p
}

// send writes the body of a response. The call has left the admission, so that a client that reads
// slowly takes no place of a request in flight. While many are that slow, the others get a short
// write deadline. A client whose body was not read gets a short read deadline, because net/http
// reads some of it before it responds.
func (c *call) send(body []byte) {
	c.leave()
	control := http.NewResponseController(c.w.ResponseWriter)
	if !c.received {
		_ = control.SetReadDeadline(time.Now().Add(hurried)) // fails if the host has no connection
	}
	if ok, _ := c.admission.writing.Acquire(1, c.groups...); ok {
		defer c.admission.writing.Release(1, c.groups...)
	} else {
		_ = control.SetWriteDeadline(time.Now().Add(hurried))
	}
	_, _ = c.w.Write(body) // fails if the client has hung up
}

// receive returns the body, which may have at most limit bytes. While it arrives the call is not in
// flight, and that time does not count towards the call's deadline.
func (c *call) receive(limit int64) ([]byte, error) {
	switch {
	case c.r.ContentLength > limit:
		return nil, &http.MaxBytesError{Limit: limit}
	case c.received:
		return nil, nil
	}
	c.leave()
	began := time.Now()
	raw, err := c.read(limit)
	c.began = c.began.Add(time.Since(began))
	c.setDeadline(c.cfg.Limits.RequestTimeout)
	if err != nil {
		return nil, err
	}
	return raw, c.admit()
}

// read reads the body within its deadline, its least rate and its share of memory.
func (c *call) read(limit int64) ([]byte, error) {
	timeout, _ := c.serverTimeouts()
	if timeout == 0 {
		timeout = c.cfg.Limits.ReadTimeout
	}
	if ok, _ := c.admission.reading.Acquire(1, c.groups...); ok {
		defer c.admission.reading.Release(1, c.groups...)
	} else {
		timeout = min(timeout, hurried)
	}
	control, start := http.NewResponseController(c.w.ResponseWriter), time.Now()
	from := http.MaxBytesReader(c.w.ResponseWriter, c.r.Body, limit)
	var raw []byte
	for {
		if len(raw) == cap(raw) {
			var err error
			if raw, err = c.grow(raw, limit); err != nil {
				return nil, err
			}
		}
		due := bodyGrace + time.Duration(len(raw))*time.Second/leastRate
		_ = control.SetReadDeadline(start.Add(min(timeout, due))) // fails if the host has no connection
		n, err := from.Read(raw[len(raw):cap(raw)])
		raw = raw[:len(raw)+n]
		switch {
		case errors.Is(err, io.EOF):
			c.received = true
			// The server reads ahead to notice that the client hangs up: without a deadline.
			_ = control.SetReadDeadline(time.Time{})
			return raw, nil
		case err != nil:
			return nil, err
		}
	}
}

// grow returns raw with room for more of a body of at most limit bytes.
func (c *call) grow(raw []byte, limit int64) ([]byte, error) {
	size := min(max(512, 2*int64(cap(raw))), limit+1) // one more than allowed, to see the end
	if held := size - smallBody - 1 - c.memory; held > 0 {
		if ok, share := c.admission.memory.Acquire(held, c.groups...); !ok {
			return nil, c.overloaded("Too many bodies%s are being received. Try again later.", share)
		}
		c.memory += held
	}
	return append(make([]byte, 0, size), raw...), nil
}

// serverTimeouts returns the timeouts of the host's server, 0 where it has none.
func (c *call) serverTimeouts() (read, write time.Duration) {
	server, ok := c.r.Context().Value(http.ServerContextKey).(*http.Server)
	if !ok {
		return 0, 0
	}
	return server.ReadTimeout, server.WriteTimeout
}

// admit is admission control: from here on the call is in flight. Load shedding: while too many
// calls are, of all clients or of its IP prefix, it is refused at once.
func (c *call) admit() error {
	ok, share := c.admission.inFlight.Acquire(1, c.groups...)
	switch {
	case ok:
		c.inFlight = true
		return nil
	case share == "":
		c.admission.full.Warn(c.r.Context(), c.cfg.Logger, c.cfg.Now(), "httpapi: too many requests at once",
			slog.Int("in_flight", c.cfg.Limits.InFlight))
	}
	return c.overloaded("Too many requests%s are in flight. Try again later.", share)
}

// leave ends what the call holds of the admission: it is done, or waits for something that takes no
// processor and little memory.
func (c *call) leave() {
	if c.inFlight {
		c.inFlight = false
		c.admission.inFlight.Release(1, c.groups...)
	}
	if c.memory > 0 {
		c.admission.memory.Release(c.memory, c.groups...)
		c.memory = 0
	}
}
