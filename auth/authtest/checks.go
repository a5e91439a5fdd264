package authtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/khodnevis/khodnevis/auth"
)

func anonymous(ctx context.Context, h Host) error {
	if who, err := h.as(ctx, nil); !errors.Is(err, auth.ErrNoCredentials) {
		return fmt.Errorf("a request without credentials is %+v, %w", who, orNone(err))
	}
	return nil
}

func good(ctx context.Context, h Host) error {
	for i, u := range h.Users {
		if who, err := h.as(ctx, u.Sign); err != nil || who != u.Principal {
			return fmt.Errorf("user %d is %+v, want %+v: %w", i, who, u.Principal, orNone(err))
		}
	}
	return nil
}

func wrong(ctx context.Context, h Host) error {
	for name, sign := range h.Wrong {
		for range 2 { // what was looked up may be remembered
			if who, err := h.as(ctx, sign); !errors.Is(err, auth.ErrInvalidCredentials) {
				return fmt.Errorf("%s: it is %+v, %w", name, who, orNone(err))
			}
		}
	}
	return nil
}

// unavailable does not ask for more than honesty: who is remembered may pass, and what is malformed
// may be refused.
func unavailable(ctx context.Context, h Host) error {
	if h.Break == nil {
		return nil
	}
	if _, err := h.as(ctx, h.Users[0].Sign); err != nil {
		return fmt.Errorf("before anything is broken: %w", err)
	}
	h.Break()
	for i, u := range h.Users {
		if who, err := h.as(ctx, u.Sign); !errors.Is(err, auth.ErrUnavailable) && (err != nil || who != u.Principal) {
			return fmt.Errorf("user %d is %+v, %w", i, who, orNone(err))
		}
	}
	for name, sign := range h.Wrong {
		if who, err := h.as(ctx, sign); !errors.Is(err, auth.ErrUnavailable) && !errors.Is(err, auth.ErrInvalidCredentials) {
			return fmt.Errorf("%s: it is %+v, %w", name, who, orNone(err))
		}
	}
	if who, err := h.as(ctx, nil); !errors.Is(err, auth.ErrNoCredentials) {
		return fmt.Errorf("a request without credentials is %+v, %w: there is nothing to ask", who, orNone(err))
	}
	return nil
}

// everyKind yields the answers to requests of every kind, the last ones with whatever is asked
// broken.
func everyKind(ctx context.Context, h Host, look func(what string, who auth.Principal, err error) error) error {
	all := map[string]func(*http.Request){"a request without credentials": nil}
	for name, sign := range h.Wrong {
		all[name] = sign
	}
	for i, u := range h.Users {
		all[fmt.Sprintf("user %d", i)] = u.Sign
	}
	for _, down := range []string{"", ", while unavailable"} {
		if down != "" {
			if h.Break == nil {
				break
			}
			h.Break()
		}
		for name, sign := range all {
			who, err := h.as(ctx, sign)
			if err := look(name+down, who, err); err != nil {
				return err
			}
		}
	}
	return nil
}

func oneError(ctx context.Context, h Host) error {
	return everyKind(ctx, h, func(what string, _ auth.Principal, err error) error {
		n := 0
		for _, sentinel := range []error{auth.ErrNoCredentials, auth.ErrInvalidCredentials, auth.ErrUnavailable} {
			if errors.Is(err, sentinel) {
				n++
			}
		}
		if n > 1 {
			return fmt.Errorf("%s: the error is %d of them: %w", what, n, err)
		}
		return nil
	})
}

func errorAlone(ctx context.Context, h Host) error {
	return everyKind(ctx, h, func(what string, who auth.Principal, err error) error {
		if err != nil && who != (auth.Principal{}) {
			return fmt.Errorf("%s: it is %+v together with the error %w", what, who, err)
		}
		return nil
	})
}

func junk(ctx context.Context, h Host) error {
	const mebibyte = 1 << 20
	values := []string{"", " ", "x", "Bearer", "Bearer ", "Basic Og==", "=", ";", "a=b; c", `"`, "\x00", "\xff\xfe",
		"é", "null", "{}", "../../etc/passwd", "%s%n", "' OR '1'='1",
		strings.Repeat(".", mebibyte), strings.Repeat("A", mebibyte), "Bearer " + strings.Repeat("a.", mebibyte/2)}
	plain := signed(ctx, nil).Header
	for i, u := range h.Users {
		for name, sent := range signed(ctx, u.Sign).Header {
			if reflect.DeepEqual(plain[name], sent) {
				continue
			}
			tries := map[string][]string{"nothing at all": {},
				"good and junk": {strings.Join(sent, "") + strings.Repeat("~", 1000)}}
			for _, v := range values {
				tries[fmt.Sprintf("%.20q of %d bytes", v, len(v))] = []string{v}
				if cookie, _, ok := strings.Cut(sent[0], "="); ok && name == "Cookie" {
					tries[fmt.Sprintf("%.20q of %d bytes as %q", v, len(v), cookie)] = []string{cookie + "=" + v}
				}
			}
			for what, v := range tries {
				r := signed(ctx, u.Sign)
				r.Header[name] = v
				who, err := h.ask(ctx, r)
				if !errors.Is(err, auth.ErrNoCredentials) && !errors.Is(err, auth.ErrInvalidCredentials) {
					return fmt.Errorf("user %d with %s in the header %s is %+v, %w", i, what, name, who, orNone(err))
				}
			}
		}
	}
	return nil
}

func subjects(ctx context.Context, h Host) error {
	for i, u := range h.Users {
		who, err := h.as(ctx, u.Sign)
		if err == nil && !auth.ValidSubject(who.Subject) {
			return fmt.Errorf("user %d has the subject %q", i, who.Subject)
		}
	}
	return nil
}

func oneSubject(ctx context.Context, h Host) error {
	owner := map[string]int{}
	for i, u := range h.Users {
		first := ""
		for n := range 5 {
			who, err := h.as(ctx, u.Sign)
			if err != nil {
				return fmt.Errorf("user %d: %w", i, err)
			}
			if n > 0 && who.Subject != first {
				return fmt.Errorf("user %d has the subject %q, then %q", i, first, who.Subject)
			}
			first = who.Subject
		}
		if other, taken := owner[first]; taken {
			return fmt.Errorf("users %d and %d both have the subject %q", other, i, first)
		}
		owner[first] = i
	}
	return nil
}

// untouchable is a body that reports whether it was touched.
type untouchable struct {
	mu      sync.Mutex
	touched bool
}

func (u *untouchable) Read([]byte) (int, error) { return 0, u.touch() }

func (u *untouchable) Close() error { return u.touch() }

func (u *untouchable) touch() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.touched = true
	return io.EOF
}

func body(ctx context.Context, h Host) error {
	signs := []func(*http.Request){nil, h.Users[0].Sign}
	for sign := range maps.Values(h.Wrong) {
		signs = append(signs, sign)
	}
	for _, mediaType := range []string{"application/json", "application/x-www-form-urlencoded"} {
		for _, sign := range signs {
			r, b := signed(ctx, sign), &untouchable{}
			r.Header.Set("Content-Type", mediaType)
			r.Body, r.ContentLength = b, 100
			_, err := h.ask(ctx, r)
			b.mu.Lock()
			touched := b.touched
			b.mu.Unlock()
			if touched {
				return fmt.Errorf("the body of type %s was read or closed; the answer was %w", mediaType, orNone(err))
			}
		}
	}
	return nil
}

func request(ctx context.Context, h Host) error {
	signs := map[string]func(*http.Request){"a request without credentials": nil, "user 0": h.Users[0].Sign}
	maps.Copy(signs, h.Wrong)
	for name, sign := range signs {
		r := signed(ctx, sign)
		before := describe(r)
		if _, err := h.ask(ctx, r); errors.Is(err, errLate) {
			return err
		}
		if after := describe(r); after != before {
			return fmt.Errorf("%s was\n%s\nand is\n%s", name, before, after)
		}
	}
	return nil
}

// describe writes down what handlers see of r.
func describe(r *http.Request) string {
	var b bytes.Buffer
	fmt.Fprintln(&b, r.Method, r.URL, r.RequestURI, r.Host, r.RemoteAddr, r.ContentLength, r.Pattern)
	_ = r.Header.Write(&b) // a buffer takes everything
	fmt.Fprint(&b, r.Form, r.PostForm, r.MultipartForm)
	return b.String()
}

// contextEnds asks with what is asked broken, too, since that is when the time runs out.
func contextEnds(ctx context.Context, h Host) error {
	for _, broken := range []bool{false, true} {
		if broken {
			if h.Break == nil {
				break
			}
			h.Break()
		}
		for i, u := range h.Users {
			asking, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			_, err := h.ask(ctx, signed(asking, u.Sign))
			cancel()
			if errors.Is(err, errLate) {
				return fmt.Errorf("user %d, with what is asked broken: %v: no answer after the end of its context", i, broken)
			}
		}
	}
	return nil
}

func outOfTime(ctx context.Context, h Host) error {
	done, cancel := context.WithCancel(ctx)
	cancel()
	for i, u := range h.Users {
		who, err := h.ask(ctx, signed(done, u.Sign))
		if errors.Is(err, errLate) || errors.Is(err, auth.ErrNoCredentials) || errors.Is(err, auth.ErrInvalidCredentials) ||
			err == nil && who != u.Principal {
			return fmt.Errorf("user %d is %+v, %w", i, who, orNone(err))
		}
	}
	return nil
}

func manyRequests(ctx context.Context, h Host) error {
	var all sync.WaitGroup
	var mu sync.Mutex
	var failed error
	for range 8 {
		for i, u := range h.Users {
			all.Go(func() {
				for range 25 {
					if who, err := h.as(ctx, u.Sign); err != nil || who != u.Principal {
						mu.Lock()
						failed = fmt.Errorf("user %d among many is %+v, want %+v: %w", i, who, u.Principal, orNone(err))
						mu.Unlock()
						return
					}
				}
			})
		}
		for name, sign := range h.Wrong {
			all.Go(func() {
				if who, err := h.as(ctx, sign); !errors.Is(err, auth.ErrInvalidCredentials) {
					mu.Lock()
					failed = fmt.Errorf("%s, among many: it is %+v, %w", name, who, orNone(err))
					mu.Unlock()
				}
			})
		}
	}
	all.Wait()
	return failed
}

var errNone = errors.New("no error")

// orNone makes nil printable.
func orNone(err error) error {
	if err == nil {
		return errNone
	}
	return err
}
