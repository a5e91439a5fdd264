package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/khodnevis/khodnevis/rating"
)

// Recalculator publishes the numbers, recounts the buckets, and runs the jobs.
type Recalculator struct{ shared }

// shared is what a Worker and a Recalculator use.
type shared struct {
	cfg     rating.Config
	ratings *rating.Service
	db      rating.Store
}

// time returns the present in UTC, cut to the microseconds that every store keeps.
func (s shared) time() time.Time { return s.cfg.Now().UTC().Truncate(time.Microsecond) }

// NewRecalculator returns a Recalculator with the configuration of ratings. store is that of
// ratings.
func NewRecalculator(ratings *rating.Service, store rating.Store) (*Recalculator, error) {
	if ratings == nil || store == nil {
		return nil, errors.New("worker: NewRecalculator needs a service and a store")
	}
	return &Recalculator{shared{cfg: ratings.Config(), ratings: ratings, db: store}}, nil
}

// chunk is how many contents one transaction of a recalculation has at the most.
const chunk = 500

// RefreshScores publishes the numbers of all contents that have changed since their numbers were
// last published, and returns how many.
func (r *Recalculator) RefreshScores(ctx context.Context) (int, error) {
	total, limit := 0, min(chunk, r.cfg.Batch)
	for {
		began := r.cfg.Now()
		stats, err := r.db.RefreshScores(ctx, limit, r.ratings.Compute)
		if err != nil {
			return total, fmt.Errorf("worker: refresh scores: %w", err)
		}
		r.ratings.CacheStats(ctx, stats, began)
		total += len(stats)
		if len(stats) < limit {
			return total, nil
		}
	}
}

// Recount recounts the buckets of every content from its ratings, repairs those that differ and
// reports them to drift, if that is not nil. It returns how many contents it has read. Ratings may
// be stored meanwhile. If the store is an Auditor, only the contents that the audit names are
// recounted.
func (r *Recalculator) Recount(ctx context.Context, drift func(rating.Drift)) (int, error) {
	if auditor, ok := r.db.(rating.Auditor); ok {
		n, suspects, err := auditor.Audit(ctx)
		if err == nil {
			for ids := range slices.Chunk(suspects, chunk) {
				if err := r.recount(ctx, ids, drift); err != nil {
					return n, err
				}
			}
			return n, nil
		}
		if ctx.Err() != nil {
			return 0, fmt.Errorf("worker: audit: %w", err)
		}
		r.cfg.Logger.WarnContext(ctx, "worker: the audit failed, recounting content by content", "error", err)
	}
	return r.walk(ctx, func(ids []string) error { return r.recount(ctx, ids, drift) })
}

// walk calls do with the identifiers of all contents that have ratings or numbers, in chunks.
func (r *Recalculator) walk(ctx context.Context, do func(ids []string) error) (int, error) {
	total, after := 0, ""
	for {
		ids, err := r.db.RatedContents(ctx, after, chunk)
		if err != nil {
			return total, fmt.Errorf("worker: contents after %q: %w", after, err)
		}
		if len(ids) == 0 {
			return total, nil
		}
		if err := do(ids); err != nil {
			return total, err
		}
		total += len(ids)
		after = ids[len(ids)-1]
	}
}

func (r *Recalculator) recount(ctx context.Context, ids []string, drift func(rating.Drift)) error {
	found, err := r.db.Recount(ctx, ids)
	if err != nil {
		return fmt.Errorf("worker: recount %d contents from %q: %w", len(ids), ids[0], err)
	}
	for _, d := range found {
		r.report(ctx, d, drift)
	}
	return nil
}

func (r *Recalculator) report(ctx context.Context, d rating.Drift, drift func(rating.Drift)) {
	r.cfg.Logger.ErrorContext(ctx, "worker: numbers had drifted and were repaired", "content", d.Content,
		"first", d.First())
	if drift != nil {
		drift(d)
	}
}

// Recalculate recounts contents like Recount and computes all their scores, also where no rating
// has changed, as a change of rating.Config.Policy requires. Without ids it does so for every
// content.
func (r *Recalculator) Recalculate(ctx context.Context, ids []string, drift func(rating.Drift)) (int, error) {
	recalculate := func(ids []string) error {
		if err := r.recount(ctx, ids, drift); err != nil {
			return err
		}
		if err := r.db.MarkChanged(ctx, ids); err != nil {
			return fmt.Errorf("worker: mark %d contents from %q: %w", len(ids), ids[0], err)
		}
		return r.ratings.Publish(ctx, ids)
	}
	if len(ids) > 0 {
		return len(ids), recalculate(ids)
	}
	return r.walk(ctx, recalculate)
}

// Verify recounts like Recount, and also compares the published numbers of each content with those
// that its buckets give, the score to the bit. Wrong numbers are published again and reported.
func (r *Recalculator) Verify(ctx context.Context, drift func(rating.Drift)) (int, error) {
	return r.walk(ctx, func(ids []string) error {
		if err := r.recount(ctx, ids, drift); err != nil {
			return err
		}
		if err := r.ratings.Publish(ctx, ids); err != nil {
			return err
		}
		for _, id := range ids {
			d, err := r.wrongStats(ctx, id)
			if err != nil {
				return fmt.Errorf("worker: verify %s: %w", id, err)
			}
			if d == nil {
				continue
			}
			r.report(ctx, *d, drift)
			if err := r.db.MarkChanged(ctx, []string{id}); err != nil {
				return fmt.Errorf("worker: mark %s: %w", id, err)
			}
		}
		return r.ratings.Publish(ctx, ids)
	})
}

// wrongStats returns how the published numbers of a content differ from those of its history, or nil.
// While ratings arrive it tries again until it has read numbers and the history of these numbers.
func (r *Recalculator) wrongStats(ctx context.Context, id string) (*rating.Drift, error) {
	var d *rating.Drift
	for range 10 {
		before, err := r.db.StatsByContent(ctx, []string{id})
		if err != nil || len(before) == 0 {
			return nil, err
		}
		h, err := r.db.HistoryByContent(ctx, id)
		if err != nil {
			return nil, err
		}
		is := h.Stats(id, r.ratings.Compute(h))
		if is.Equal(before[0]) {
			return nil, nil
		}
		d = &rating.Drift{Content: id, Was: before[0], Is: is, WasBuckets: h.Buckets, IsBuckets: h.Buckets}
		if err := r.ratings.Publish(ctx, []string{id}); err != nil {
			return nil, err
		}
		after, err := r.db.StatsByContent(ctx, []string{id})
		if err != nil {
			return nil, err
		}
		if len(after) == 1 && after[0].Revision == before[0].Revision { // nothing was due
			return d, nil
		}
	}
	return d, nil
}
