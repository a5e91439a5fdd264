package rating

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/internal/id"
	"github.com/khodnevis/khodnevis/internal/invalid"
	"github.com/khodnevis/khodnevis/queue"
)

// ErasureMode is what becomes of the ratings of a rater who leaves.
type ErasureMode string

// The fates of ratings. Count, sum and histogram equal the ratings that are left, either way.
const (
	EraseDelete    ErasureMode = "delete"    // they are withdrawn
	EraseAnonymize ErasureMode = "anonymize" // each stays as it is, as the rating of a rater that is made up for it alone
)

// ErasureModes returns the fates that there are.
func ErasureModes() []ErasureMode { return []ErasureMode{EraseDelete, EraseAnonymize} }

// Validate returns a *ValidationError on the field ratings, unless f is one of the fates.
func (f ErasureMode) Validate() error {
	if slices.Contains(ErasureModes(), f) {
		return nil
	}
	return invalidField(invalid.NotAmong("ratings", ErasureModes()...))
}

const (
	// followEvery is how often Service.Run looks after those who left less than recentFor ago. Once
	// an hour it looks after all who are on record.
	followEvery = 30 * time.Second
	recentFor   = time.Hour
	// erasures is how many who left are looked up at once, and departed how many of one's ratings.
	erasures = 100
	departed = 500
)

// Erase takes a rater who leaves for good out of the ratings. This module's users are forgotten
// when their account is deleted; a host calls it for its own. Once it returns nil, what the rater
// has given is dealt with sooner or later, whatever happens to the process or the queue; usually it
// is on its way already. That holds as well for ratings that were accepted and are not stored yet,
// and for those that come during the next two weeks: they go the same way, so do not give the
// identifier to anybody again. Forgetting twice is fine; the last fate counts for what is left. A
// fate that is none, or a rater that is no identifier, is a *ValidationError.
func (s *Service) Erase(ctx context.Context, rater string, fate ErasureMode) error {
	if err := fate.Validate(); err != nil {
		return err
	}
	if !id.Valid(rater) {
		return invalidField(invalid.Field{Name: "rater", Code: invalid.Type, Detail: "Not an identifier."})
	}
	d := Erasure{Rater: rater, Mode: fate, At: s.cfg.time()}
	if err := s.store.RecordErasure(ctx, d); err != nil {
		return fmt.Errorf("rating: record the erasure of %s: %w", rater, err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.PublishTimeout)
	defer cancel()
	if n, err := s.follow(ctx, d); err != nil {
		s.cfg.Logger.WarnContext(ctx, "rating: the ratings of one who left will be withdrawn later", "rater", rater, "withdrawn", n, "error", err)
	}
	return nil
}

// EraseContent takes a content that is gone for good out of the ratings: they are removed, with
// their numbers, and those that were accepted and are not stored yet are refused. A host whose
// contents this module rates calls it when it deletes one, once its RatedContents no longer knows
// it; of this module's own contents content.Service.Delete does as much. The identifier must not
// come back. Forgetting twice is fine. An identifier that can be none is a *ValidationError.
func (s *Service) EraseContent(ctx context.Context, content string) error {
	if !id.Valid(content) {
		return invalidField(invalid.Field{Name: "content", Code: invalid.Type, Detail: "Not an identifier."})
	}
	if err := s.store.EraseContent(ctx, content); err != nil {
		return fmt.Errorf("rating: forget content %s: %w", content, err)
	}
	s.numbers.seen.forget(content)
	s.numbers.forget(ctx, content)
	return nil
}

// Run goes on looking for ratings of those who left, until ctx is done, and returns nil. Of all
// processes that run it on one store, one does each tick.
func (s *Service) Run(ctx context.Context) error {
	return runJob(ctx, s.cfg, s.store, JobErase, Every(followEvery), func(ctx context.Context) (done TaskResult, err error) {
		now := s.cfg.time()
		since := now.Add(-recentFor)
		if now.Sub(now.Truncate(recentFor)) < followEvery {
			since = time.Time{}
		}
		done.Withdrawn, err = s.ResumeErasures(ctx, since)
		return done, err
	})
}

// ResumeErasures deals with what is stored of those who left at the given time or later, as Erase
// does, and returns how many withdrawals it has published. Run does so by itself.
func (s *Service) ResumeErasures(ctx context.Context, since time.Time) (int, error) {
	total, after := 0, ""
	var all []error
	for {
		page, err := s.store.Erasures(ctx, since, after, erasures)
		if err != nil {
			return total, fmt.Errorf("rating: those who left: %w", errors.Join(append(all, err)...))
		}
		for _, d := range page {
			n, err := s.follow(ctx, d)
			total += n
			if err != nil {
				all = append(all, err)
			}
			if errors.Is(err, ErrUnavailable) || ctx.Err() != nil {
				return total, errors.Join(all...)
			}
		}
		if len(page) < erasures {
			return total, errors.Join(all...)
		}
		after = page[len(page)-1].Rater
	}
}

// follow publishes a withdrawal of every stored rating of one who left.
func (s *Service) follow(ctx context.Context, d Erasure) (int, error) {
	if err := d.Mode.Validate(); err != nil {
		return 0, fmt.Errorf("rating: the fate of the ratings of %s: %w", d.Rater, err)
	}
	q := Query{Filter: Filter{Rater: d.Rater}, Order: OldestFirst, Limit: departed} // an order that every store has an index for
	for total := 0; ; {
		page, err := s.store.ListRatings(ctx, q)
		if err != nil {
			return total, fmt.Errorf("rating: list the ratings of %s, who left: %w", d.Rater, err)
		}
		n, err := s.withdrawAll(ctx, d, s.pending.untouched(ctx, page))
		total += n
		if err != nil || len(page) < q.Limit {
			return total, err
		}
		last := page[len(page)-1]
		q.After = &Cursor{At: last.UpdatedAt, Key: last.Key}
	}
}

// withdrawAll publishes the withdrawals of ratings of one who left, and returns how many there are.
func (s *Service) withdrawAll(ctx context.Context, d Erasure, ratings []Rating) (int, error) {
	if len(ratings) == 0 {
		return 0, nil
	}
	e := event{Op: opWithdraw, By: d.Rater, At: s.cfg.time()}
	messages := make([]queue.Message, len(ratings))
	for i, r := range ratings {
		if d.Mode == EraseAnonymize {
			e.ReassignTo = "anonymous-" + strings.ToLower(rand.Text())
		}
		messages[i] = e.message(r.Key.String(), "")
	}
	positions, err := s.publish(ctx, messages...)
	if err != nil {
		return 0, err
	}
	items := make([]cache.Item, 0, len(ratings))
	for i, r := range ratings { // so that the next look knows that they are on their way
		if epoch, err := s.epochs.of(ctx, positions[i].Stream); err == nil {
			items = append(items, mark{Version: Version{epoch, positions[i].Offset}, Withdraw: true, At: e.At.UnixMicro()}.item(r.Key))
		}
	}
	remember(ctx, s.cfg.Cache, s.cfg.warn, items)
	return len(ratings), nil
}
