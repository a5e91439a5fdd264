package pgstore

import (
	"context"
	"fmt"
	"time"
)

// SweepRatings implements rating.Store. It also removes the rows of contents with a tombstone,
// which do not count: nobody sees them.
func (s *Store) SweepRatings(ctx context.Context, before time.Time, limit int) (int, error) {
	if err := s.sweepDeleted(ctx); err != nil {
		return 0, fmt.Errorf("pgstore: sweep ratings of deleted contents: %w", err)
	}
	var swept int
	err := s.transact(ctx, func(tx transaction) (err error) {
		if swept, err = tx.exec(`DELETE FROM khodnevis.ratings WHERE ctid = ANY(ARRAY(
			SELECT ctid FROM khodnevis.ratings WHERE withdrawn AND updated_at < $1
				LIMIT $2 FOR UPDATE SKIP LOCKED))`, before, limit); err != nil {
			return err
		}
		messages, err := tx.exec(`DELETE FROM khodnevis.rejected WHERE id = ANY(ARRAY(
			SELECT id FROM khodnevis.rejected WHERE at < $1 ORDER BY at
				LIMIT $2 FOR UPDATE SKIP LOCKED))`, before, limit-swept)
		if swept += messages; err != nil {
			return err
		}
		erased, err := tx.exec(`DELETE FROM khodnevis.departures WHERE rater = ANY(ARRAY(
			SELECT rater FROM khodnevis.departures WHERE at < $1 ORDER BY at
				LIMIT $2 FOR UPDATE SKIP LOCKED))`, before, limit-swept)
		swept += erased
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("pgstore: sweep ratings and dead letters: %w", err)
	}
	return swept, nil
}

const (
	unswept = `SELECT id FROM khodnevis.deleted_contents WHERE NOT swept ORDER BY deleted_at LIMIT 1000`

	// finish records that no row can be left. A statement that began before the deletion may end
	// after clear; no statement lasts an hour.
	finish = `UPDATE khodnevis.deleted_contents SET swept = true WHERE id = $1
		AND deleted_at < now() - interval '1 hour'`
)

func (s *Store) sweepDeleted(ctx context.Context) error {
	var ids []string
	if err := s.query(ctx, &ids, unswept); err != nil {
		return err
	}
	for _, id := range ids {
		for done := false; !done; {
			var err error
			if done, err = s.clear(ctx, id, 1); err != nil {
				return err
			}
		}
		if _, err := s.exec(ctx, finish, id); err != nil {
			return err
		}
	}
	return nil
}

// clearChunk is how many ratings one statement removes.
const clearChunk = 2000

const clearRatings = `DELETE FROM khodnevis.ratings WHERE ctid = ANY(ARRAY(
	SELECT ctid FROM khodnevis.ratings WHERE content_id = $1 LIMIT $2 FOR UPDATE SKIP LOCKED))`

// clear removes the rows of a content with a tombstone, at most a number of chunks of its ratings,
// and reports whether none is left. It skips rows that are locked.
func (s *Store) clear(ctx context.Context, id string, chunks int) (bool, error) {
	for range chunks {
		n, err := s.exec(ctx, clearRatings, id, clearChunk)
		if err != nil {
			return false, err
		}
		if n < clearChunk {
			return true, s.transact(ctx, func(tx transaction) error { return tx.clearNumbers(id) })
		}
	}
	return false, nil
}

// clearNumbers removes what was derived from the ratings, under the lock of everything derived.
func (tx transaction) clearNumbers(id string) error {
	return tx.execAll(id,
		`DELETE FROM khodnevis.rebuilds WHERE content_id = $1`,      // first, as Rebuild locks it first
		`DELETE FROM khodnevis.rating_scores WHERE content_id = $1`, // then, as RefreshScores locks it first
		`SELECT FROM khodnevis.rating_stats WHERE content_id = $1 FOR UPDATE`,
		`DELETE FROM khodnevis.rating_buckets WHERE content_id = $1`,
		`DELETE FROM khodnevis.rating_stats WHERE content_id = $1`,
		`DELETE FROM khodnevis.rating_windows WHERE content_id = $1`,
		`DELETE FROM khodnevis.openings WHERE content_id = $1`)
}
