package kvstore

import (
	"context"
	"fmt"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/rating"
)

// Damage counts a rating that does not exist.
func (s *Store) Damage(ctx context.Context, content string) error {
	return s.write(ctx, "damage", func(t *tx) error {
		sum := t.tally(content)
		sum.add(rating.Rating{Key: rating.Key{Content: content}, Result: rating.Created, Score: 5, Bucket: 7}, 1)
		sum.now.Revision, sum.now.AsOf, sum.now.dirty = sum.was.Revision, sum.was.AsOf, sum.was.dirty
		numbers.put(t, sum.now, content)
		for _, b := range sum.buckets {
			buckets.put(t, b, content, int64(b.Index))
		}
		return nil
	})
}

// Audit compares the keys in indexes with those that follow from the rows.
func (s *Store) Audit(ctx context.Context) error {
	_, err := view(ctx, s, "audit", func(t *tx) (struct{}, error) {
		wanted := map[string]bool{}
		want := func(keys [][]byte) {
			for _, k := range keys {
				wanted[string(k)] = true
			}
		}
		for _, c := range contents.list(t, span{prefix: key(contents.name)}, -1) {
			st, _ := numbers.get(t, c.ID)
			want(contentKeys(c))
			want(numberKeys(c.ID, st.Stats))
		}
		for _, r := range creations.list(t, span{prefix: key(creations.name)}, -1) {
			want(recordKeys(r))
		}
		for _, tb := range []table[rating.Rating]{ratings, withdrawn} {
			for _, r := range tb.list(t, span{prefix: key(tb.name)}, -1) {
				want(ratingKeys(r))
			}
		}
		for _, row := range numbers.list(t, span{prefix: key(numbers.name)}, -1) {
			want(dirtyKeys(row))
		}
		for _, d := range erasures.list(t, span{prefix: key(erasures.name)}, -1) {
			want(erasureKeys(d))
		}
		for _, r := range rejections.list(t, span{prefix: key(rejections.name)}, -1) {
			want(deadLetterKeys(r))
		}
		for _, login := range sessions.list(t, span{prefix: key(sessions.name)}, -1) {
			want(sessionKeys(login))
		}
		for _, tk := range tokens.list(t, span{prefix: key(tokens.name)}, -1) {
			if !sessions.has(t, tk.Session) {
				return struct{}{}, fmt.Errorf("a token of the session %q, which is gone", tk.Session)
			}
			want(tokenKeys(tk))
		}
		for name := contentsByCreated; name <= tokensByEnd; name++ {
			for rest := range t.scan(span{prefix: key(name)}) {
				k := string(append(key(name), rest...))
				if !wanted[k] {
					return struct{}{}, fmt.Errorf("the key %.100q follows from no row", k)
				}
				delete(wanted, k)
			}
		}
		for k := range wanted {
			return struct{}{}, fmt.Errorf("the key %.100q is missing", k)
		}
		return struct{}{}, nil
	})
	return err
}

// Dump returns all keys and values.
func (s *Store) Dump(ctx context.Context) (map[string]string, error) {
	all := map[string]string{}
	err := s.engine.View(ctx, func(kv Tx) error {
		return kv.Scan(nil, nil, false, func(k, value []byte) bool { all[string(k)] = string(value); return true })
	})
	return all, err
}

// Fill creates contents and applies changes, many in one transaction.
func (s *Store) Fill(ctx context.Context, created []content.Content, changes []rating.Change) error {
	err := s.write(ctx, "fill", func(t *tx) error {
		for _, c := range created {
			if err := t.create(c); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	_, err = s.ApplyRatings(ctx, rating.Batch{Changes: changes})
	return err
}
