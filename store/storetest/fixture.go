package storetest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/internal/suite"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
)

// newUUID returns a random identifier of the shape that services give to contents, users and
// sessions.
func newUUID() string {
	var b [16]byte
	mustRead(b[:])
	b[6] = b[6]&0x0f | 0x70
	b[8] = b[8]&0x3f | 0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// newName returns a random identifier of the shape that hosts may bring: every character that
// identifiers may have occurs, so that an order that is not bytewise shows.
func newName() string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.@|=+-"
	b := make([]byte, 24)
	mustRead(b)
	for i, c := range b {
		b[i] = alphabet[int(c)%len(alphabet)]
	}
	return string(b)
}

func names(n int) []string { return many(n, newName) }

func many(n int, make func() string) []string {
	var all []string
	for range n {
		all = append(all, make())
	}
	return all
}

func mustRead(b []byte) {
	if _, err := rand.Read(b); err != nil {
		panic(err) // crypto/rand never fails
	}
}

// dice returns a source that is the same in every run, so that a failure can be repeated.
func dice(seed uint64) *mathrand.Rand {
	return mathrand.New(mathrand.NewPCG(seed, 1)) //nolint:gosec // repeatable on purpose, and no secret
}

// at returns a time n microseconds and as many seconds after a fixed one.
func at(n int) time.Time {
	return time.Date(2025, 3, 1, 12, 0, 0, 123_456_000, time.UTC).Add(time.Duration(n) * (time.Second +
		time.Microsecond))
}

// edges returns times at which a store may lose a microsecond, a sign or a zone.
func edges() []time.Time {
	return []time.Time{
		time.Date(1900, 1, 1, 0, 0, 0, 1000, time.UTC),
		time.Date(1969, 12, 31, 23, 59, 59, 999_999_000, time.UTC),
		time.Unix(0, 0).UTC(),
		time.Date(2024, 2, 29, 12, 0, 0, 100_000, time.UTC),
		time.Date(2025, 3, 30, 1, 30, 0, 120_000_000, time.UTC), // does not exist in some zones
		time.Date(2038, 1, 19, 3, 14, 8, 0, time.UTC),
		time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC),
	}
}

// want returns an error unless got is what was wanted. Times within are compared as they are,
// location included.
func want[T comparable](what string, got, wanted T) error {
	if got != wanted {
		return fmt.Errorf("%s: got %.2000s, want %.2000s", what, fmt.Sprintf("%#v", got), fmt.Sprintf("%#v", wanted))
	}
	return nil
}

// wantError returns an error unless got is the sentinel wanted.
func wantError(what string, got, wanted error) error {
	switch {
	case got == nil:
		return fmt.Errorf("%s: got no error, want %w", what, wanted)
	case !errors.Is(got, wanted):
		return fmt.Errorf("%s: got the error %w, want %w", what, got, wanted)
	}
	return nil
}

// show writes down a filter with the values that its pointers lead to, or long things, cut.
func show(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%.2000s", text)
}

// together runs do n times at once and returns their errors joined.
func together(n int, do func(i int) error) error {
	var (
		wg    sync.WaitGroup
		start = make(chan struct{})
		errs  = make([]error, n)
	)
	for i := range n {
		wg.Go(func() {
			<-start
			errs[i] = suite.Recovered(func() error { return do(i) })
		})
	}
	close(start)
	wg.Wait()
	return errors.Join(errs...)
}

// poll calls done until it reports true, and fails when ctx ends first.
func poll(ctx context.Context, what string, done func() (bool, error)) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := done(); err != nil || ok {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: not in time: %w", what, ctx.Err())
		}
	}
}

// index makes a map of items by key and fails when a key occurs twice.
func index[K comparable, V any](items []V, key func(V) K) (map[K]V, error) {
	byKey := make(map[K]V, len(items))
	for _, item := range items {
		k := key(item)
		if _, ok := byKey[k]; ok {
			return nil, fmt.Errorf("%v is returned twice", k)
		}
		byKey[k] = item
	}
	return byKey, nil
}

// newContent returns a content of author that was never stored. Its times are those of n.
func newContent(author string, n int) content.Content {
	return content.Content{
		ID: newUUID(), Title: fmt.Sprintf("Title %d", n), Description: fmt.Sprintf("Description %d", n),
		Author:  author,
		Version: 1, CreatedAt: at(n), UpdatedAt: at(n),
	}
}

// createContents stores n contents of author, the later ones with later times.
func createContents(ctx context.Context, s content.Store, author string, n int) ([]content.Content, error) {
	var all []content.Content
	for i := range n {
		c := newContent(author, i)
		if err := s.CreateContent(ctx, c); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// contentByID returns one content and fails if there is none.
func contentByID(ctx context.Context, s content.Store, id string) (content.Content, error) {
	found, err := s.ContentsByID(ctx, []string{id})
	if err != nil {
		return content.Content{}, err
	}
	if len(found) != 1 {
		return content.Content{}, fmt.Errorf("content %s: %d are returned, want 1", id, len(found))
	}
	return found[0], nil
}

// allContents pages through a whole list.
func allContents(ctx context.Context, s content.Store, q content.Query) ([]content.Listed, error) {
	var all []content.Listed
	for {
		page, err := s.ListContents(ctx, q)
		if err != nil {
			return nil, err
		}
		if len(page) > q.Limit {
			return nil, fmt.Errorf("a page of %d contents, at most %d", len(page), q.Limit)
		}
		all = append(all, page...)
		if _, err := index(all, func(l content.Listed) string { return l.ID }); err != nil { // or it might never end
			return nil, err
		}
		if len(page) < q.Limit {
			return all, nil
		}
		q.After = &all[len(all)-1].Cursor
	}
}

func contentsOf(listed []content.Listed) []content.Content {
	contents := make([]content.Content, len(listed))
	for i, l := range listed {
		contents[i] = l.Content
	}
	return contents
}

func idsOf(listed []content.Listed) []string {
	ids := make([]string, len(listed))
	for i, l := range listed {
		ids[i] = l.ID
	}
	return ids
}

// change returns a change that sets a score; its time is that of the offset. Histories that begin
// with one start within the first half hour after at(0), so that a bucket is the same as if they
// started at at(0), unless its time is near the end of an hour.
func change(k rating.Key, offset int64, value int) rating.Change {
	return rating.Change{Key: k, Version: rating.Version{Epoch: 1, Offset: offset}, Score: value, At: at(int(offset))}
}

// in returns c at a time in the second half of a bucket, if the history starts at at(0) or at most
// half an hour later.
func in(c rating.Change, bucket int) rating.Change {
	_, until := score.BucketSpan(at(0), bucket)
	c.At = until.Add(-time.Minute + time.Duration(c.Version.Offset)*time.Millisecond)
	return c
}

// begin starts the histories of contents at at(0), and leaves no ratings.
func begin(ctx context.Context, s rating.Store, contents ...string) error {
	for _, id := range contents {
		k := rating.Key{Content: id, Rater: newName()}
		for _, c := range []rating.Change{change(k, 0, 3), withdrawal(k, 1)} {
			if _, err := apply(ctx, s, c); err != nil {
				return err
			}
		}
	}
	return nil
}

// withdrawal returns a change that withdraws; its time is that of the offset.
func withdrawal(k rating.Key, offset int64) rating.Change {
	return rating.Change{Key: k, Version: rating.Version{Epoch: 1, Offset: offset}, Withdraw: true,
		At: at(int(offset))}
}

// newKey returns a key that was never rated.
func newKey() rating.Key { return rating.Key{Content: newName(), Rater: newName()} }

// apply applies changes in one batch.
func apply(ctx context.Context, s rating.Store, changes ...rating.Change) ([]rating.Outcome, error) {
	outcomes, err := s.ApplyRatings(ctx, rating.Batch{Changes: changes})
	if err == nil && len(outcomes) != len(changes) {
		err = fmt.Errorf("%d outcomes of %d changes", len(outcomes), len(changes))
	}
	return outcomes, err
}

// applyOne applies a change and compares its result.
func applyOne(ctx context.Context, s rating.Store, c rating.Change, wanted rating.Result) (rating.Rating, error) {
	outcomes, err := apply(ctx, s, c)
	if err != nil {
		return rating.Rating{}, err
	}
	if got := outcomes[0]; got.Result != wanted || got.Refused {
		return rating.Rating{}, fmt.Errorf("%#v: the outcome is %#v, want %s", c, got, wanted)
	}
	return outcomes[0].Rating, nil
}

// ratingByKey returns one rating and false if there is none.
func ratingByKey(ctx context.Context, s rating.Store, k rating.Key) (rating.Rating, bool, error) {
	found, err := s.RatingsByKey(ctx, []rating.Key{k})
	if err != nil || len(found) == 0 {
		return rating.Rating{}, false, err
	}
	if len(found) > 1 {
		return rating.Rating{}, false, fmt.Errorf("key %v: %d ratings", k, len(found))
	}
	return found[0], true, nil
}

// statsOf publishes all numbers that are due and returns those of one content; those of one that was
// never rated are zero.
func statsOf(ctx context.Context, s rating.Store, id string) (rating.Stats, error) {
	if _, err := computeAll(ctx, s, mean); err != nil {
		return rating.Stats{}, err
	}
	found, err := s.StatsByContent(ctx, []string{id})
	if err != nil || len(found) == 0 {
		return rating.Stats{Content: id}, err
	}
	if len(found) > 1 {
		return rating.Stats{}, fmt.Errorf("content %s: %d stats", id, len(found))
	}
	return found[0], nil
}

// allRatings pages through a whole list.
func allRatings(ctx context.Context, s rating.Store, q rating.Query) ([]rating.Rating, error) {
	var all []rating.Rating
	for {
		page, err := s.ListRatings(ctx, q)
		if err != nil {
			return nil, err
		}
		if len(page) > q.Limit {
			return nil, fmt.Errorf("a page of %d ratings, at most %d", len(page), q.Limit)
		}
		all = append(all, page...)
		if _, err := index(all, func(r rating.Rating) rating.Key { return r.Key }); err != nil {
			return nil, err
		}
		if len(page) < q.Limit {
			return all, nil
		}
		last := all[len(all)-1]
		q.After = &rating.Cursor{At: last.UpdatedAt, Key: last.Key}
	}
}
