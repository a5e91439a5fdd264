package pgstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store"
)

// Installation implements rating.Store.
func (s *Store) Installation(ctx context.Context) (string, error) {
	var ids []string
	err := s.query(ctx, &ids, `SELECT id FROM khodnevis.installation`)
	if err == nil && len(ids) != 1 {
		err = fmt.Errorf("%d identities", len(ids))
	}
	if err != nil {
		return "", fmt.Errorf("pgstore: installation: %w", err)
	}
	return ids[0], nil
}

const epochOf = `SELECT epoch FROM khodnevis.streams WHERE stream = $1`

// StreamEpoch implements rating.Store. New streams are rare, and made one at a time: a sequence
// could give a stream a greater epoch than one gets whose caller began later.
func (s *Store) StreamEpoch(ctx context.Context, stream string) (int64, error) {
	var epochs []int64
	err := s.query(ctx, &epochs, epochOf, stream)
	if err == nil && len(epochs) == 0 {
		err = s.transact(ctx, func(tx transaction) error {
			if _, err := tx.exec(`LOCK TABLE khodnevis.streams IN SHARE ROW EXCLUSIVE MODE`); err != nil {
				return err
			}
			if _, err := tx.exec(`INSERT INTO khodnevis.streams (stream, epoch) SELECT $1, coalesce(max(epoch),
				0) + 1 FROM khodnevis.streams
				ON CONFLICT (stream) DO NOTHING`, stream); err != nil {
				return err
			}
			epochs = nil
			return tx.query(&epochs, epochOf, stream)
		})
	}
	if err != nil {
		return 0, fmt.Errorf("pgstore: epoch of stream %q: %w", stream, err)
	}
	return epochs[0], nil
}

// KnownEpoch implements rating.Store.
func (s *Store) KnownEpoch(ctx context.Context, stream string) (int64, error) {
	var epochs []int64
	err := s.query(ctx, &epochs, epochOf, stream)
	if errors.Is(err, store.ErrUnstorable) || err == nil && len(epochs) == 0 { // what is no text names no stream
		err = rating.ErrNotFound
	}
	if err != nil {
		return 0, fmt.Errorf("pgstore: epoch of stream %q: %w", stream, err)
	}
	return epochs[0], nil
}
