package queuetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/khodnevis/khodnevis/queue"
)

func positionsInOrder(ctx context.Context, q queue.Queue) error {
	msgs := []queue.Message{message("a", "a1"), message("b", "b1"), message("a", "a2"), message("c", "c1"),
		message("b", "b2"), message("a", "a3")}
	return delivers(ctx, q, msgs)
}

func offsetsGrow(ctx context.Context, q queue.Queue) error {
	var all []queue.Position
	for _, msgs := range [][]queue.Message{
		{message("k", "1")},
		{message("k", "2"), message("k", "3"), message("k", "4")},
		{message("k", "5")},
	} {
		ps, err := publish(ctx, q, msgs...)
		if err != nil {
			return err
		}
		all = append(all, ps...)
	}
	for i := 1; i < len(all); i++ {
		if all[i].Stream == all[i-1].Stream && all[i].Offset <= all[i-1].Offset {
			return fmt.Errorf("message %d of a key has offset %d, the next one %d", i, all[i-1].Offset, all[i].Offset)
		}
	}
	return nil
}

func offsetsNotNegative(ctx context.Context, q queue.Queue) error {
	ps, err := publish(ctx, q, message("a", "1"), message("b", "2"))
	if err != nil {
		return err
	}
	for _, p := range ps {
		if p.Offset < 0 {
			return fmt.Errorf("offset %d", p.Offset)
		}
	}
	return nil
}

func oneStream(ctx context.Context, q queue.Queue) error {
	var all []queue.Position
	for _, msgs := range [][]queue.Message{{message("a", "1"), message("b", "2")}, {message("a", "3")}} {
		ps, err := publish(ctx, q, msgs...)
		if err != nil {
			return err
		}
		all = append(all, ps...)
	}
	name := all[0].Stream
	if name == "" || len(name) > queue.MaxStream || strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r > '~'
	}) {
		return fmt.Errorf("stream %q", name)
	}
	for _, p := range all {
		if p.Stream != name {
			return fmt.Errorf("one log has the streams %q and %q", name, p.Stream)
		}
	}
	return nil
}

func roundTrip(ctx context.Context, q queue.Queue) error {
	everyByte := make([]byte, 256)
	for i := range everyByte {
		everyByte[i] = byte(i)
	}
	full := make(map[string]string)
	for i := range queue.MaxHeader {
		name := fmt.Sprintf("%02d", i)
		full[name+strings.Repeat("n", queue.MaxField-len(name))] = strings.Repeat("ü", queue.MaxField/2)
	}
	return delivers(ctx, q, []queue.Message{
		{Key: "nil body and header"},
		{Key: "empty body and header", Body: []byte{}, Header: map[string]string{}},
		{Key: "every byte", Body: everyByte},
		{Key: "not UTF-8", Body: []byte{0xff, 0xfe, 0x80}},
		{Key: "خودنویس ✒️ \x00\n\"'\\", Body: []byte("سلام"),
			Header: map[string]string{"نام": "ن\x00\r\n\"'", "empty": "", "A": "1", "a": "2"}},
		{Key: strings.Repeat("k", queue.MaxKey), Body: []byte(strings.Repeat("b", queue.MaxBody)), Header: full},
		{Key: " ", Body: []byte(" ")},
	})
}

func largestBatch(ctx context.Context, q queue.Queue) error {
	msgs := make([]queue.Message, queue.MaxBatch)
	for i := range msgs {
		msgs[i] = message(fmt.Sprintf("k%d", i%100), fmt.Sprint(i))
	}
	return delivers(ctx, q, msgs)
}

// delivers publishes msgs at once and compares them, and their positions, with what is delivered.
func delivers(ctx context.Context, q queue.Queue, msgs []queue.Message) error {
	positions, err := publish(ctx, q, msgs...)
	if err != nil {
		return err
	}
	t := newTape()
	if err := receive(ctx, q, queue.MaxBatch, t, positions); err != nil {
		return err
	}
	return agree(msgs, positions, t.deliveries())
}

// agree reports whether got is exactly msgs at positions.
func agree(msgs []queue.Message, positions []queue.Position, got []queue.Delivery) error {
	published := make(map[place]queue.Message, len(msgs))
	for i, m := range msgs {
		p := place{m.Key, positions[i]}
		if _, taken := published[p]; taken {
			return fmt.Errorf("two messages of the key %.80q have the position %v", m.Key, positions[i])
		}
		published[p] = m
	}
	for _, d := range got {
		m, ok := published[place{d.Key, d.Position}]
		if !ok {
			return fmt.Errorf("delivered %.80q of the key %.80q at %v, which was not published there", d.Body, d.Key,
				d.Position)
		}
		if err := same(m, d.Message); err != nil {
			return fmt.Errorf("at %v: %w", d.Position, err)
		}
	}
	if lost := missing(positions, got); len(lost) > 0 {
		return fmt.Errorf("%d of %d messages were not delivered", len(lost), len(msgs))
	}
	return nil
}

func noMessages(ctx context.Context, q queue.Queue) error {
	ps, err := publish(ctx, q)
	if err != nil {
		return err
	}
	if len(ps) != 0 {
		return fmt.Errorf("%d positions for no message", len(ps))
	}
	return empty(ctx, q, "k")
}

func invalidMessages(ctx context.Context, q queue.Queue) error {
	tooMany := make(map[string]string)
	for i := range queue.MaxHeader + 1 {
		tooMany[fmt.Sprint(i)] = ""
	}
	header := func(name, value string) queue.Message {
		return queue.Message{Key: "k", Header: map[string]string{name: value}}
	}
	tooManyMessages := make([]queue.Message, queue.MaxBatch+1)
	for i := range tooManyMessages {
		tooManyMessages[i] = message("k", "one too many")
	}
	good := message("k", "beside an invalid one")
	for what, msgs := range map[string][]queue.Message{
		"no key":                        {message("", "x")},
		"a key that is too long":        {message(strings.Repeat("k", queue.MaxKey+1), "x")},
		"a key that is not UTF-8":       {message("k\xff", "x")},
		"a body that is too long":       {message("k", strings.Repeat("x", queue.MaxBody+1))},
		"too many header entries":       {{Key: "k", Header: tooMany}},
		"a header without name":         {header("", "x")},
		"a header name too long":        {header(strings.Repeat("n", queue.MaxField+1), "x")},
		"a header value too long":       {header("n", strings.Repeat("x", queue.MaxField+1))},
		"a header name not of UTF-8":    {header("\xff", "x")},
		"a header value not of UTF-8":   {header("n", "\xff")},
		"too many messages":             tooManyMessages,
		"an invalid one after good one": {good, good, message("", "x")},
		"a good one after invalid one":  {message("", "x"), good},
	} {
		_, err := publish(ctx, q, msgs...)
		if !errors.Is(err, queue.ErrInvalid) || !errors.Is(err, queue.ErrNotAccepted) {
			return fmt.Errorf("%s: got the error %v, want one that wraps ErrInvalid and ErrNotAccepted", what, err)
		}
	}
	return empty(ctx, q, "k")
}

func publishDone(ctx context.Context, q queue.Queue) error {
	done, cancel := context.WithCancel(ctx)
	cancel()
	failed := make(chan error, 1)
	go func() {
		_, err := q.Publish(done, message("k", "too late"))
		failed <- err
	}()
	select {
	case err := <-failed:
		if !errors.Is(err, queue.ErrNotAccepted) {
			return fmt.Errorf("got the error %v, want one that wraps ErrNotAccepted", err)
		}
	case <-ctx.Done():
		return errors.New("got no answer from Publish")
	}
	return empty(ctx, q, "k")
}

// empty reports whether q holds nothing: a message published now is the first to arrive of its key.
func empty(ctx context.Context, q queue.Queue, key string) error {
	ps, err := publish(ctx, q, message(key, "marker"))
	if err != nil {
		return err
	}
	t := newTape()
	if err := receive(ctx, q, queue.MaxBatch, t, ps); err != nil {
		return err
	}
	for _, d := range t.deliveries() {
		if string(d.Body) != "marker" {
			return fmt.Errorf("delivered %.80q of the key %.80q, which must not be there", d.Body, d.Key)
		}
	}
	return nil
}

func publisherMemory(ctx context.Context, q queue.Queue) error {
	given := []queue.Message{{Key: "k", Body: []byte("as published"), Header: map[string]string{"name": "value"}}}
	want := queue.Message{Key: "k", Body: []byte("as published"), Header: map[string]string{"name": "value"}}
	ps, err := publish(ctx, q, given...)
	if err != nil {
		return err
	}
	copy(given[0].Body, "overwritten!")
	given[0].Header["name"], given[0].Header["new"] = "overwritten", "added"
	given[0] = message("other", "replaced")
	t := newTape()
	if err := receive(ctx, q, 10, t, ps); err != nil {
		return err
	}
	for _, d := range t.deliveries() {
		if err := same(want, d.Message); err != nil {
			return fmt.Errorf("after the publisher changed what it had published: %w", err)
		}
	}
	return nil
}

func manyPublishers(ctx context.Context, q queue.Queue) error {
	const publishers, each = 32, 20
	return publishBeside(ctx, q, publishers, each, func(p, i int) queue.Message {
		return message(fmt.Sprintf("k%d", i%7), fmt.Sprintf("%d of publisher %d", i, p))
	}, agree)
}

func orderOfKeys(ctx context.Context, q queue.Queue) error {
	const publishers, each = 8, 40
	return publishBeside(ctx, q, publishers, each, func(p, i int) queue.Message {
		return message(fmt.Sprintf("k%d", p), fmt.Sprint(i))
	}, func(_ []queue.Message, _ []queue.Position, got []queue.Delivery) error {
		for p := range publishers {
			for i, body := range bodies(got, fmt.Sprintf("k%d", p)) {
				if body != fmt.Sprint(i) {
					return fmt.Errorf("of the key k%d message %s was delivered where message %d was due", p, body, i)
				}
			}
		}
		return nil
	})
}

func positionsUnderConcurrency(ctx context.Context, q queue.Queue) error {
	const publishers, each = 8, 40
	return publishBeside(ctx, q, publishers, each, func(p, i int) queue.Message {
		return message("k", fmt.Sprintf("%d of publisher %d", i, p))
	}, func(msgs []queue.Message, positions []queue.Position, got []queue.Delivery) error {
		last := int64(-1)
		for _, d := range firsts(got) {
			if d.Offset <= last {
				return fmt.Errorf("offset %d of a key was delivered after offset %d", d.Offset, last)
			}
			last = d.Offset
		}
		return agree(msgs, positions, got)
	})
}

// publishBeside lets publishers publish concurrently, each its messages one after the other and now
// and then three at once, while one consumer takes them, and hands everything to check.
func publishBeside(ctx context.Context, q queue.Queue, publishers, each int, msg func(publisher, i int) queue.Message,
	check func(msgs []queue.Message, positions []queue.Position, got []queue.Delivery) error,
) error {
	t := newTape()
	c := consume(ctx, q, 50, t.record)
	var (
		group     sync.WaitGroup
		mu        sync.Mutex
		msgs      []queue.Message
		positions []queue.Position
		failures  []error
	)
	for p := range publishers {
		group.Go(func() {
			for i := 0; i < each; {
				size := 1
				if i%5 == 0 {
					size = min(3, each-i)
				}
				var batch []queue.Message
				for range size {
					batch = append(batch, msg(p, i))
					i++
				}
				ps, err := publish(ctx, q, batch...)
				mu.Lock()
				if err != nil {
					failures = append(failures, err)
					mu.Unlock()
					return
				}
				msgs, positions = append(msgs, batch...), append(positions, ps...)
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if len(failures) > 0 {
		return errors.Join(failures[0], c.stop())
	}
	err := c.await(t, fmt.Sprintf("%d messages", len(positions)), holds(positions))
	if err := errors.Join(err, c.stop()); err != nil {
		return err
	}
	return check(msgs, positions, t.deliveries())
}
