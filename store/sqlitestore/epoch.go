package sqlitestore

import (
	"context"
	"fmt"

	"github.com/khodnevis/khodnevis/rating"
)

// Installation implements rating.Store.
func (s *Store) Installation(ctx context.Context) (id string, err error) {
	if _, err := s.file.Get(ctx, &id, `SELECT id FROM installation`); err != nil {
		return "", fmt.Errorf("sqlitestore: installation: %w", err)
	}
	return id, nil
}

// StreamEpoch implements rating.Store.
func (s *Store) StreamEpoch(ctx context.Context, stream string) (int64, error) {
	epoch, ok, err := s.epoch(ctx, stream)
	if err == nil && !ok {
		if err = s.file.Write(ctx, func(tx Tx) error {
			_, err := tx.Exec(`INSERT INTO streams (stream, epoch) SELECT ?, coalesce(max(epoch), 0) + 1
				FROM streams WHERE TRUE ON CONFLICT (stream) DO NOTHING`, stream)
			return err
		}); err == nil {
			epoch, _, err = s.epoch(ctx, stream)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("sqlitestore: epoch of stream %s: %w", stream, err)
	}
	return epoch, nil
}

// KnownEpoch implements rating.Store.
func (s *Store) KnownEpoch(ctx context.Context, stream string) (int64, error) {
	epoch, ok, err := s.epoch(ctx, stream)
	if err == nil && !ok {
		err = rating.ErrNotFound
	}
	if err != nil {
		return 0, fmt.Errorf("sqlitestore: epoch of stream %q: %w", stream, err)
	}
	return epoch, nil
}

func (s *Store) epoch(ctx context.Context, stream string) (epoch int64, ok bool, err error) {
	ok, err = s.file.Get(ctx, &epoch, `SELECT epoch FROM streams WHERE stream = ?`, stream)
	return epoch, ok, err
}
