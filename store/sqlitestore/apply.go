package sqlitestore

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/khodnevis/khodnevis/internal/planted"
	"github.com/khodnevis/khodnevis/rating"
)

// ApplyRatings implements rating.Store. There is one writer, so rows can be read, compared and
// written in turn.
func (s *Store) ApplyRatings(ctx context.Context, batch rating.Batch) ([]rating.Outcome, error) {
	changes := slices.Clone(batch.Changes)
	rejected := slices.Clone(batch.DeadLetters)
	for i := range rejected {
		rejected[i].Body = bytes.Clone(rejected[i].Body)
	}
	var outcomes []rating.Outcome
	err := s.file.WriteLong(ctx, func(tx Tx) (err error) {
		if outcomes, err = apply(tx, changes); err != nil {
			return err
		}
		return reject(tx, rejected)
	})
	if err != nil {
		return nil, fmt.Errorf("sqlitestore: apply %d ratings: %w", len(changes), err)
	}
	return outcomes, nil
}

// apply returns the outcomes in the order of changes. It goes through them in the order of their
// keys, which is that of the rows.
func apply(tx Tx, changes []rating.Change) ([]rating.Outcome, error) {
	if len(changes) == 0 {
		return nil, nil
	}
	for _, c := range changes {
		if !utf8.ValidString(c.Content + c.Rater + c.ReassignTo) { // statements take keys as JSON, which cannot hold them
			return nil, fmt.Errorf("%w: the key %q is not UTF-8", rating.ErrUnstorable, c.Key)
		}
	}
	deleted, err := deletedContents(tx, changes)
	if err != nil {
		return nil, err
	}
	stored, err := storedRatings(tx, changes)
	if err != nil {
		return nil, err
	}
	order := make([]int, len(changes))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return changes[a].Compare(changes[b].Key) })
	outcomes := make([]rating.Outcome, len(changes))
	deltas := newDeltas()
	for _, i := range order {
		c := changes[i]
		if deleted[c.Content] {
			outcomes[i] = rating.Outcome{Refused: true}
			continue
		}
		old := stored[c.Key] // the zero Rating, whose version is before all others, if there is none
		if order := c.Version.Compare(old.Version); order <= 0 && old.Result != "" {
			outcomes[i] = rating.Outcome{Result: old.Result, Rating: old}
			if order < 0 {
				outcomes[i].Result = rating.Superseded
			} else if planted.CountTwice && live(old) {
				deltas.add(old, 1)
			}
			continue
		}
		next := successor(c, old)
		outcomes[i] = rating.Outcome{Result: next.Result, Rating: next}
		if err := putRating(tx, next); err != nil {
			return nil, err
		}
		stored[c.Key] = next
		successor, ok := reassign(c, old, stored)
		if !ok {
			deltas.replace(old, next)
			continue
		}
		if err := putRating(tx, successor); err != nil { // no number changes
			return nil, err
		}
		stored[successor.Key] = successor
	}
	return outcomes, deltas.write(tx)
}

// reassign returns what becomes of the rating that c withdraws when it is handed over, and false if
// it is not.
func reassign(c rating.Change, old rating.Rating, stored map[rating.Key]rating.Rating) (rating.Rating, bool) {
	successor := old
	successor.Rater, successor.Version, successor.Result = c.ReassignTo, c.Version, rating.Created
	_, known := stored[successor.Key]
	return successor, c.Withdraw && c.ReassignTo != "" && live(old) && !known
}

// live reports whether r is there and not withdrawn.
func live(r rating.Rating) bool { return r.Result != "" && !r.Withdrawn }

// successor returns what a change makes of a rating.
func successor(c rating.Change, old rating.Rating) rating.Rating {
	next := rating.Rating{Key: c.Key, Version: c.Version, Score: c.Score, Bucket: c.Bucket, CreatedAt: c.At, UpdatedAt: c.At, Result: rating.Created}
	if live(old) {
		next.CreatedAt, next.Result = old.CreatedAt, rating.Updated
	}
	switch {
	case c.Withdraw:
		next.Score, next.Bucket, next.Withdrawn, next.Result = 0, 0, true, rating.Withdrawn
	case live(old) && old.Score == c.Score:
		next.Bucket, next.UpdatedAt, next.Result = old.Bucket, old.UpdatedAt, rating.Unchanged
	}
	return next
}

func deletedContents(tx Tx, changes []rating.Change) (map[string]bool, error) {
	contents := make([]string, len(changes))
	for i, c := range changes {
		contents[i] = c.Content
	}
	slices.Sort(contents)
	var found []string
	err := tx.Select(&found, `SELECT id FROM deleted_contents WHERE id IN (SELECT value FROM json_each(?))`, array(slices.Compact(contents)))
	deleted := make(map[string]bool, len(found))
	for _, id := range found {
		deleted[id] = true
	}
	return deleted, err
}

func storedRatings(tx Tx, changes []rating.Change) (map[rating.Key]rating.Rating, error) {
	keys := make([]rating.Key, 0, len(changes))
	for _, c := range changes {
		keys = append(keys, c.Key)
		if c.ReassignTo != "" {
			keys = append(keys, rating.Key{Content: c.Content, Rater: c.ReassignTo})
		}
	}
	var rows []ratingRow
	err := tx.Select(&rows, byKeys, pairs(keys))
	stored := make(map[rating.Key]rating.Rating, len(rows))
	for _, r := range rows {
		stored[rating.Key{Content: r.Content, Rater: r.Rater}] = r.rating()
	}
	return stored, err
}

func putRating(tx Tx, r rating.Rating) error {
	_, err := tx.Exec(`INSERT INTO ratings (content, rater, score, bucket, epoch, "offset", result, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET score = excluded.score, bucket = excluded.bucket, epoch = excluded.epoch, "offset" = excluded."offset",
		result = excluded.result, created_at = excluded.created_at, updated_at = excluded.updated_at`,
		r.Content, r.Rater, r.Score, r.Bucket, r.Version.Epoch, r.Version.Offset, string(r.Result), r.CreatedAt.UnixMicro(), r.UpdatedAt.UnixMicro())
	return err
}

// part names a row of rating_bins or rating_buckets: a score or a bucket of a content.
type part struct {
	content string
	index   int
}

func (p part) compare(o part) int {
	return cmp.Or(strings.Compare(p.content, o.content), cmp.Compare(p.index, o.index))
}

// count is how many ratings there are more, and how much greater their sum is.
type count struct{ n, sum int64 }

// deltas is what a batch changes in the numbers of its contents.
type deltas struct {
	stats   map[string]count
	bins    map[part]count
	buckets map[part]count
}

func newDeltas() deltas {
	return deltas{stats: map[string]count{}, bins: map[part]count{}, buckets: map[part]count{}}
}

// replace counts next in place of old, if that changes any number.
func (d deltas) replace(old, next rating.Rating) {
	if next.Result == rating.Unchanged || !live(old) && !live(next) {
		return
	}
	if live(old) {
		d.add(old, -1)
	}
	if live(next) {
		d.add(next, 1)
	}
}

func (d deltas) add(r rating.Rating, n int64) {
	bump(d.stats, r.Content, n, r.Score)
	bump(d.bins, part{r.Content, r.Score}, n, r.Score)
	bump(d.buckets, part{r.Content, r.Bucket}, n, r.Score)
}

func bump[K comparable](m map[K]count, k K, n int64, score int) {
	c := m[k]
	c.n += n
	c.sum += n * int64(score)
	m[k] = c
}

// write adds the deltas to what is stored.
func (d deltas) write(tx Tx) error {
	if len(d.stats) == 0 {
		return nil
	}
	stats := make([][3]any, 0, len(d.stats))
	for _, id := range slices.Sorted(maps.Keys(d.stats)) {
		c := d.stats[id]
		stats = append(stats, [3]any{id, c.n, c.sum})
	}
	at := now()
	if _, err := tx.Exec(`INSERT INTO rating_stats (content, n, sum, revision, as_of, dirty_at)
		SELECT value ->> 0, value ->> 1, value ->> 2, 1, ?2, ?2 FROM json_each(?1) WHERE TRUE
		ON CONFLICT DO UPDATE SET n = n + excluded.n, sum = sum + excluded.sum, revision = revision + 1, as_of = excluded.as_of,
		dirty_at = coalesce(dirty_at, excluded.dirty_at)`, array(stats), at); err != nil {
		return err
	}
	if _, err := tx.Exec(`INSERT INTO rating_bins (content, score, n) SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?) WHERE TRUE
		ON CONFLICT DO UPDATE SET n = n + excluded.n`, parts(d.bins)); err != nil {
		return err
	}
	if _, err := tx.Exec(`INSERT INTO rating_buckets (content, bucket, n, sum) SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?) WHERE TRUE
		ON CONFLICT DO UPDATE SET n = n + excluded.n, sum = sum + excluded.sum`, parts(d.buckets)); err != nil {
		return err
	}
	if _, err := tx.Exec(`DELETE FROM rating_bins WHERE n = 0 AND (content, score) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?))`, fewer(d.bins)); err != nil {
		return err
	}
	_, err := tx.Exec(`DELETE FROM rating_buckets WHERE n = 0 AND (content, bucket) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?))`, fewer(d.buckets))
	return err
}

// parts returns what changes, and fewer what has fewer ratings than before and may be empty now.
func parts(m map[part]count) string {
	rows := make([][4]any, 0, len(m))
	for _, p := range slices.SortedFunc(maps.Keys(m), part.compare) {
		if c := m[p]; c != (count{}) {
			rows = append(rows, [4]any{p.content, p.index, c.n, c.sum})
		}
	}
	return array(rows)
}

func fewer(m map[part]count) string {
	rows := [][2]any{}
	for p, c := range m {
		if c.n < 0 {
			rows = append(rows, [2]any{p.content, p.index})
		}
	}
	return array(rows)
}
