package rating

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/internal/id"
	"github.com/khodnevis/khodnevis/internal/invalid"
	"github.com/khodnevis/khodnevis/rating/internal/event"
)

// ErasureMode is what an erasure does to the ratings of a rater.
type ErasureMode string

// The modes of an erasure. Either way count, sum and histogram equal the ratings that are left.
const (
	EraseDelete    ErasureMode = "delete"    // the ratings are withdrawn
	EraseAnonymize ErasureMode = "anonymize" // each rating is reassigned to a random rater of its own
)

// Validate returns a *ValidationError about the field ratings, unless m is one of the modes.
func (m ErasureMode) Validate() error {
	if m == EraseDelete || m == EraseAnonymize {
		return nil
	}
	return invalidField(invalid.NotAmong("ratings", EraseDelete, EraseAnonymize))
}

const (
	erasurePage = 100 // erasures that are read at once
	erasedPage  = 500 // ratings of one rater that are withdrawn at once
)

// Erase erases a rater who leaves for good (GDPR, article 17). Deleting an account of this module
// calls it; a host calls it for its own users. The erasure is recorded, so once Erase returns nil
// the ratings are withdrawn sooner or later, whatever happens to the process or the queue, and
// usually the withdrawals are published already. The erasure also covers ratings that are accepted
// and not stored yet, and ratings that arrive within two weeks, so do not reuse the identifier.
// Erasing twice is fine; the last mode counts for the ratings that are left. An invalid mode or
// identifier is a *ValidationError.
func (s *Service) Erase(ctx context.Context, rater string, mode ErasureMode) error {
	if err := mode.Validate(); err != nil {
		return err
	}
	if !id.Valid(rater) {
		return invalidField(invalid.Field{Name: "rater", Code: invalid.Type, Detail: "Not an identifier."})
	}
	e := Erasure{Rater: rater, Mode: mode, At: s.cfg.time()}
	if err := s.store.RecordErasure(ctx, e); err != nil {
		return fmt.Errorf("rating: record the erasure of %s: %w", rater, err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.PublishTimeout)
	defer cancel()
	if n, err := s.eraseStored(ctx, e); err != nil {
		s.cfg.Logger.WarnContext(ctx, "rating: the erasure of a rater will be resumed", "rater", rater,
			"withdrawn", n, "error", err)
	}
	return nil
}

// EraseContent removes the ratings and the numbers of a content that is deleted for good; ratings
// of it that are accepted and not stored yet are refused. A host that keeps the contents calls it
// after it has deleted one, once its Contents no longer has it; content.Service.Delete does as much
// for contents of this module. Do not reuse the identifier. Erasing twice is fine. An invalid
// identifier is a *ValidationError.
func (s *Service) EraseContent(ctx context.Context, content string) error {
	if !id.Valid(content) {
		return invalidField(invalid.Field{Name: "content", Code: invalid.Type, Detail: "Not an identifier."})
	}
	if err := s.store.EraseContent(ctx, content); err != nil {
		return fmt.Errorf("rating: erase content %s: %w", content, err)
	}
	s.stats.forget(ctx, content)
	return nil
}

// ResumeErasures withdraws what is stored of the raters who were erased at the given time or later,
// as Erase does, and returns how many withdrawals it has published. A job of package rating/worker
// calls it.
func (s *Service) ResumeErasures(ctx context.Context, since time.Time) (int, error) {
	total, after := 0, ""
	var all []error
	for {
		page, err := s.store.Erasures(ctx, since, after, erasurePage)
		if err != nil {
			return total, fmt.Errorf("rating: list erasures: %w", errors.Join(append(all, err)...))
		}
		for _, e := range page {
			n, err := s.eraseStored(ctx, e)
			total += n
			if err != nil {
				all = append(all, err)
			}
			if errors.Is(err, ErrUnavailable) || ctx.Err() != nil {
				return total, errors.Join(all...)
			}
		}
		if len(page) < erasurePage {
			return total, errors.Join(all...)
		}
		after = page[len(page)-1].Rater
	}
}

// eraseStored publishes a withdrawal of every stored rating of an erased rater.
func (s *Service) eraseStored(ctx context.Context, e Erasure) (int, error) {
	if err := e.Mode.Validate(); err != nil {
		return 0, fmt.Errorf("rating: the mode of the erasure of %s: %w", e.Rater, err)
	}
	// Every store has an index for this order.
	q := Query{Filter: Filter{Rater: e.Rater}, Order: OldestFirst, Limit: erasedPage}
	for total := 0; ; {
		page, err := s.store.ListRatings(ctx, q)
		if err != nil {
			return total, fmt.Errorf("rating: list the ratings of %s, who is erased: %w", e.Rater, err)
		}
		n, err := s.withdrawAll(ctx, e, s.pending.withoutWithdrawal(ctx, page))
		total += n
		if err != nil || len(page) < q.Limit {
			return total, err
		}
		last := page[len(page)-1]
		q.After = &Cursor{At: last.UpdatedAt, Key: last.Key}
	}
}

// withdrawAll publishes withdrawals of ratings of an erased rater, and returns how many.
func (s *Service) withdrawAll(ctx context.Context, erased Erasure, ratings []Rating) (int, error) {
	if len(ratings) == 0 {
		return 0, nil
	}
	keys, events, at := make([]string, len(ratings)), make([]event.Event, len(ratings)), s.cfg.time()
	for i, r := range ratings {
		keys[i], events[i] = r.Key.String(), event.Event{Op: event.Withdraw, By: erased.Rater, At: at}
		if erased.Mode == EraseAnonymize {
			events[i].ReassignTo = "anonymous-" + strings.ToLower(rand.Text())
		}
	}
	positions, err := s.publish(ctx, "", keys, events...)
	if err != nil {
		return 0, err
	}
	items := make([]cache.Item, 0, len(ratings))
	for i, r := range ratings { // so that the next call does not publish them again
		if epoch, err := s.epochs.of(ctx, positions[i].Stream); err == nil {
			items = append(items, s.pending.item(r.Key, Version{epoch, positions[i].Offset}, events[i]))
		}
	}
	s.cache.set(ctx, items)
	return len(ratings), nil
}
