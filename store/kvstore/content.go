package kvstore

import (
	"context"
	"crypto/sha256"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/rating"
)

// contentKeys returns the keys in indexes that follow from a content alone.
func contentKeys(c content.Content) [][]byte {
	keys := [][]byte{
		key(contentsByCreated, c.CreatedAt, c.ID),
		key(contentsByUpdated, c.UpdatedAt, c.ID),
		key(contentsByTitle, c.SortTitle(), c.ID),
		key(contentsByAuthor, c.Author, c.CreatedAt, c.ID),
	}
	for _, term := range c.Terms() {
		keys = append(keys, key(contentsByTerm, short(term), c.CreatedAt, c.ID))
	}
	return keys
}

// numberKeys returns the keys in indexes that follow from the numbers of a content.
func numberKeys(id string, st rating.Stats) [][]byte {
	return [][]byte{key(contentsByScore, st.Score.Rank, id), key(contentsByRatings, float64(st.Count), id)}
}

// short returns a term, or a hash of one that is too long for a key. No term begins with the byte
// that a hash begins with.
func short(term string) string {
	if len(term) <= 64 {
		return term
	}
	sum := sha256.Sum256([]byte(term))
	return "\xff" + string(sum[:])
}

// CreateContent implements content.Store.
func (s *Store) CreateContent(ctx context.Context, c content.Content) error {
	return s.write(ctx, "create content "+c.ID, func(t *tx) error { return t.create(c) })
}

func (t *tx) create(c content.Content) error {
	if contents.has(t, c.ID) || tombstones.has(t, c.ID) {
		return content.ErrConflict
	}
	contents.put(t, c, c.ID)
	st, _ := numbers.get(t, c.ID)
	t.reindex(nil, append(contentKeys(c), numberKeys(c.ID, st.Stats)...))
	return nil
}

// ContentsByID implements content.Store.
func (s *Store) ContentsByID(ctx context.Context, ids []string) ([]content.Content, error) {
	return view(ctx, s, "contents by id", func(t *tx) (found []content.Content, _ error) {
		for _, id := range unique(ids) {
			if c, ok := contents.get(t, id); ok {
				found = append(found, c)
			}
		}
		return found, nil
	})
}

// UpdateContent implements content.Store.
func (s *Store) UpdateContent(ctx context.Context, c content.Content) error {
	return s.write(ctx, "update content "+c.ID, func(t *tx) error {
		old, ok := contents.get(t, c.ID)
		switch {
		case !ok:
			return content.ErrNotFound
		case old.Version != c.Version-1:
			return content.ErrConflict
		}
		now := c
		now.Author, now.CreatedAt = old.Author, old.CreatedAt
		contents.put(t, now, c.ID)
		t.reindex(contentKeys(old), contentKeys(now))
		return nil
	})
}

// DeleteContent implements content.Store.
func (s *Store) DeleteContent(ctx context.Context, id string, version int64) error {
	return s.write(ctx, "delete content "+id, func(t *tx) error {
		c, ok := contents.get(t, id)
		switch {
		case !ok:
			return content.ErrNotFound
		case version != 0 && version != c.Version:
			return content.ErrConflict
		}
		st, _ := numbers.get(t, id)
		t.reindex(append(contentKeys(c), numberKeys(id, st.Stats)...), nil)
		contents.delete(t, id)
		t.eraseRatings(id)
		return nil
	})
}
