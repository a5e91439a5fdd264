package sqlitestore

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/khodnevis/khodnevis/internal/errs"
	"github.com/khodnevis/khodnevis/internal/planted"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store/internal/rows"
)

// ApplyRatings implements rating.Store. SQLite has one writer, so the rows are read, changed and
// written one after the other.
func (s *Store) ApplyRatings(ctx context.Context, batch rating.Batch) ([]rating.Outcome, error) {
	changes := slices.Clone(batch.Changes)
	deadLetters := slices.Clone(batch.DeadLetters)
	for i := range deadLetters {
		deadLetters[i].Body = bytes.Clone(deadLetters[i].Body)
	}
	var outcomes []rating.Outcome
	err := s.file.WriteLong(ctx, func(tx Tx) (err error) {
		if outcomes, err = apply(tx, changes); err != nil {
			return err
		}
		return recordDeadLetters(tx, deadLetters)
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
		// statements take keys as JSON, which cannot hold them
		if !utf8.ValidString(c.Content + c.Rater + c.ReassignTo) {
			return nil, fmt.Errorf("%w: the key %q is not UTF-8", errs.ErrUnstorable, c.Key)
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
	counted := map[string]*rating.Tally{} // by how much the numbers of each content change
	for _, i := range order {
		c := changes[i]
		if deleted[c.Content] {
			outcomes[i] = rating.Outcome{Refused: true}
			continue
		}
		if counted[c.Content] == nil {
			counted[c.Content] = &rating.Tally{}
		}
		old := stored[c.Key] // the zero Rating if there is none
		outcome, applied := c.Apply(old)
		if outcomes[i] = outcome; !applied {
			if planted.CountTwice && outcome.Result != rating.Superseded {
				counted[c.Content].Add(old, 1)
			}
			continue
		}
		next := outcome.Rating
		if err := putRating(tx, next); err != nil {
			return nil, err
		}
		stored[c.Key] = next
		successor, ok := c.Reassign(old)
		if _, known := stored[successor.Key]; !ok || known {
			counted[c.Content].Add(old, -1)
			counted[c.Content].Add(next, 1)
			continue
		}
		if err := putRating(tx, successor); err != nil { // no number changes
			return nil, err
		}
		stored[successor.Key] = successor
	}
	return outcomes, count(tx, counted)
}

func deletedContents(tx Tx, changes []rating.Change) (map[string]bool, error) {
	contents := make([]string, len(changes))
	for i, c := range changes {
		contents[i] = c.Content
	}
	slices.Sort(contents)
	var found []string
	err := tx.Select(&found, `SELECT id FROM deleted_contents WHERE id IN (SELECT value FROM json_each(?))`,
		array(slices.Compact(contents)))
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
	var found []rows.Rating
	err := tx.Select(&found, byKeys, pairs(keys))
	stored := make(map[rating.Key]rating.Rating, len(found))
	for _, r := range found {
		stored[rating.Key{Content: r.Content, Rater: r.Rater}] = r.Rating()
	}
	return stored, err
}

func putRating(tx Tx, r rating.Rating) error {
	_, err := tx.Exec(`INSERT INTO ratings (content, rater, score, bucket, epoch, "offset", result, created_at,
		updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET score = excluded.score, bucket = excluded.bucket, epoch = excluded.epoch,
			"offset" = excluded."offset",
		result = excluded.result, created_at = excluded.created_at, updated_at = excluded.updated_at`,
		r.Content, r.Rater, r.Score, r.Bucket, r.Version.Epoch, r.Version.Offset, string(r.Result),
		r.CreatedAt.UnixMicro(), r.UpdatedAt.UnixMicro())
	return err
}

// count adds the changes of numbers to what is stored, in the order of the rows. The statements
// take rows as JSON: a content, a score or a bucket, a number of ratings and their sum.
func count(tx Tx, changed map[string]*rating.Tally) error {
	var stats, bins, buckets [][4]any
	for _, id := range slices.Sorted(maps.Keys(changed)) {
		d := changed[id]
		if len(d.Histogram)+len(d.Buckets) == 0 {
			continue
		}
		stats = append(stats, [4]any{id, nil, d.Count, d.Sum})
		for _, value := range slices.Sorted(maps.Keys(d.Histogram)) {
			bins = append(bins, [4]any{id, value, d.Histogram[value]})
		}
		for _, b := range d.Sorted() {
			buckets = append(buckets, [4]any{id, b.Index, b.N, b.Sum})
		}
	}
	if len(stats) == 0 {
		return nil
	}
	for _, step := range []struct {
		text string
		rows [][4]any
		args []any
	}{
		{`INSERT INTO rating_stats (content, n, sum, revision, as_of, dirty_at)
			SELECT value ->> 0, value ->> 2, value ->> 3, 1, ?2, ?2 FROM json_each(?1) WHERE TRUE
			ON CONFLICT DO UPDATE SET n = n + excluded.n, sum = sum + excluded.sum, revision = revision + 1,
			as_of = excluded.as_of, dirty_at = coalesce(dirty_at, excluded.dirty_at)`, stats, []any{now()}},
		{`INSERT INTO rating_bins (content, score, n)
			SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?) WHERE TRUE
			ON CONFLICT DO UPDATE SET n = n + excluded.n`, bins, nil},
		{`INSERT INTO rating_buckets (content, bucket, n, sum)
			SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?) WHERE TRUE
			ON CONFLICT DO UPDATE SET n = n + excluded.n, sum = sum + excluded.sum`, buckets, nil},
		{`DELETE FROM rating_bins WHERE n = 0 AND (content, score) IN
			(SELECT value ->> 0, value ->> 1 FROM json_each(?))`, fewer(bins), nil},
		{`DELETE FROM rating_buckets WHERE n = 0 AND (content, bucket) IN
			(SELECT value ->> 0, value ->> 1 FROM json_each(?))`, fewer(buckets), nil},
	} {
		if len(step.rows) == 0 {
			continue
		}
		if _, err := tx.Exec(step.text, append([]any{array(step.rows)}, step.args...)...); err != nil {
			return err
		}
	}
	return nil
}

// fewer returns the rows with fewer ratings than before, which may have none now.
func fewer(rows [][4]any) [][4]any {
	return slices.DeleteFunc(slices.Clone(rows), func(r [4]any) bool { return r[2].(int64) > 0 })
}
