package memstore

import (
	"context"
	"fmt"
	"time"

	"github.com/khodnevis/khodnevis/content"
)

type creationKey struct {
	author string
	key    content.Hash
}

// CreateContentOnce implements content.Store.
func (s *Store) CreateContentOnce(ctx context.Context, c content.Content, r content.Creation, since time.Time) (content.Creation, error) {
	if err := s.lock(ctx); err != nil {
		return content.Creation{}, err
	}
	defer s.mu.Unlock()
	k := creationKey{r.Author, r.Key}
	if kept, ok := s.made[k]; ok && !kept.At.Before(since) {
		return kept, nil
	}
	if err := s.create(c); err != nil {
		return content.Creation{}, err
	}
	s.made[k] = r
	return r, nil
}

// CreationByKey implements content.Store.
func (s *Store) CreationByKey(ctx context.Context, author string, key content.Hash) (content.Creation, error) {
	if err := s.rlock(ctx); err != nil {
		return content.Creation{}, err
	}
	defer s.mu.RUnlock()
	r, ok := s.made[creationKey{author, key}]
	if !ok {
		return content.Creation{}, fmt.Errorf("memstore: creation by key: %w", content.ErrNotFound)
	}
	return r, nil
}

// SweepCreations implements content.Store.
func (s *Store) SweepCreations(ctx context.Context, before time.Time, limit int) (int, error) {
	if err := s.lock(ctx); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	swept := 0
	for k, r := range s.made {
		if swept == limit {
			break
		}
		if r.At.Before(before) {
			delete(s.made, k)
			swept++
		}
	}
	return swept, nil
}
