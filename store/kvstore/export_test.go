package kvstore

import (
	"context"
	"fmt"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
)

// Damage counts a rating that does not exist.
func (s *Store) Damage(ctx context.Context, content string) error {
	return s.write(ctx, "damage", func(t *tx) error {
		t.putBucket(content, 7, nil, []score.Count{{Score: 5, N: 1}})
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
		for _, c := range contents.list(t, span{prefix: key(byte(contents))}, -1) {
			st, _ := numbers.get(t, c.ID)
			want(contentKeys(c))
			want(numberKeys(c.ID, st.Stats))
		}
		for _, r := range idempotency.list(t, span{prefix: key(byte(idempotency))}, -1) {
			want(recordKeys(r))
		}
		for _, tb := range []table[rating.Rating]{ratings, withdrawn} {
			for _, r := range tb.list(t, span{prefix: key(byte(tb))}, -1) {
				want(ratingKeys(r))
			}
		}
		for _, row := range numbers.list(t, span{prefix: key(byte(numbers))}, -1) {
			want(dirtyKeys(row))
		}
		for _, d := range erasures.list(t, span{prefix: key(byte(erasures))}, -1) {
			want(erasureKeys(d))
		}
		for _, r := range deadLetters.list(t, span{prefix: key(byte(deadLetters))}, -1) {
			want(deadLetterKeys(r))
		}
		for _, login := range sessions.list(t, span{prefix: key(byte(sessions))}, -1) {
			want(sessionKeys(login))
		}
		for _, tk := range tokens.list(t, span{prefix: key(byte(tokens))}, -1) {
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
