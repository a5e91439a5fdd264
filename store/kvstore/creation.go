package kvstore

import (
	"context"
	"time"

	"github.com/khodnevis/khodnevis/content"
)

func creationFields(c *codec, v *content.Creation) {
	text(c, &v.Author)
	hash(c, &v.Key)
	hash(c, &v.Request)
	text(c, &v.Content)
	instant(c, &v.At)
}

func creationKeys(r content.Creation) [][]byte {
	return [][]byte{key(creationsByTime, r.At, r.Author, [32]byte(r.Key))}
}

// CreateContentOnce implements content.Store.
func (s *Store) CreateContentOnce(
	ctx context.Context, c content.Content, r content.Creation, since time.Time,
) (content.Creation, error) {
	return update(ctx, s, "create content "+c.ID+" once", func(t *tx) (content.Creation, error) {
		kept, ok := creations.get(t, r.Author, [32]byte(r.Key))
		if ok && !kept.At.Before(since) {
			return kept, nil
		}
		if err := t.create(c); err != nil {
			return content.Creation{}, err
		}
		var old [][]byte
		if ok {
			old = creationKeys(kept)
		}
		creations.put(t, r, r.Author, [32]byte(r.Key))
		t.reindex(old, creationKeys(r))
		return r, nil
	})
}

// CreationByKey implements content.Store.
func (s *Store) CreationByKey(ctx context.Context, author string, key content.Hash) (content.Creation, error) {
	return view(ctx, s, "creation by key", func(t *tx) (content.Creation, error) {
		r, ok := creations.get(t, author, [32]byte(key))
		if !ok {
			return r, content.ErrNotFound
		}
		return r, nil
	})
}

// SweepCreations implements content.Store.
func (s *Store) SweepCreations(ctx context.Context, before time.Time, limit int) (int, error) {
	return update(ctx, s, "sweep creations", func(t *tx) (int, error) {
		old := t.rests(span{prefix: key(creationsByTime), high: extend(nil, before)}, limit)
		for _, p := range old {
			t.delete(append(key(creationsByTime), p...))
			p.time()
			creations.delete(t, p.text(), p.hash())
		}
		return len(old), nil
	})
}
