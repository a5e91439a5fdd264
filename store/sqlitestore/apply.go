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
	batch.Changes = slices.Clone(batch.Changes)
	deadLetters := slices.Clone(batch.DeadLetters)
	for i := range deadLetters {
		deadLetters[i].Body = bytes.Clone(deadLetters[i].Body)
	}
	var outcomes []rating.Outcome
	err := s.file.WriteLong(ctx, func(tx Tx) (err error) {
		if outcomes, err = apply(tx, batch); err != nil {
			return err
		}
		return recordDeadLetters(tx, deadLetters)
	})
	if err != nil {
		return nil, fmt.Errorf("sqlitestore: apply %d ratings: %w", len(batch.Changes), err)
	}
	return outcomes, nil
}

// apply returns the outcomes in the order of changes. It goes through them in the order of their
// keys, which is that of the rows.
func apply(tx Tx, batch rating.Batch) ([]rating.Outcome, error) {
	changes := batch.Changes
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
	starts, err := startHistories(tx, batch, deleted)
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
	counted := map[string]rating.Tally{} // by how much the buckets of each content change
	for _, i := range order {
		c := changes[i]
		if deleted[c.Content] {
			outcomes[i] = rating.Outcome{Refused: true}
			continue
		}
		if counted[c.Content] == nil {
			counted[c.Content] = rating.Tally{}
		}
		old := stored[c.Key] // the zero Rating if there is none
		outcome, applied := c.Apply(old, starts[c.Content])
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

// count adds to the buckets and marks the contents that have changed. The statements take rows as
// JSON: a content, a bucket, a score and a number of ratings.
func count(tx Tx, changed map[string]rating.Tally) error {
	var contents []string
	var cells, fewer [][4]any
	for _, id := range slices.Sorted(maps.Keys(changed)) {
		d := changed[id]
		if len(d) == 0 {
			continue
		}
		contents = append(contents, id)
		for _, c := range d.Cells() {
			row := [4]any{id, c.Bucket, c.Score, d[c]}
			if cells = append(cells, row); d[c] < 0 { // there may be none now
				fewer = append(fewer, row)
			}
		}
	}
	if len(contents) == 0 {
		return nil
	}
	if err := setDirty(tx, contents); err != nil {
		return err
	}
	if _, err := tx.Exec(`INSERT INTO rating_buckets (content, bucket, score, n)
		SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?) WHERE TRUE
		ON CONFLICT DO UPDATE SET n = n + excluded.n`, array(cells)); err != nil || len(fewer) == 0 {
		return err
	}
	_, err := tx.Exec(`DELETE FROM rating_buckets WHERE n = 0 AND (content, bucket, score) IN
		(SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?))`, array(fewer))
	return err
}

// setDirty has the numbers of contents published by the next RefreshScores.
func setDirty(tx Tx, contents []string) error {
	_, err := tx.Exec(`INSERT INTO rating_stats (content, dirty_at) SELECT value, ?2 FROM json_each(?1) WHERE TRUE
		ON CONFLICT DO UPDATE SET dirty_at = excluded.dirty_at WHERE dirty_at IS NULL`, array(contents), now())
	return err
}
