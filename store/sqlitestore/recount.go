package sqlitestore

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
	"github.com/khodnevis/khodnevis/store/internal/rows"
)

// RatedContents implements rating.Store. It leaps from content to content, however many ratings one
// has.
func (s *Store) RatedContents(ctx context.Context, after string, limit int) ([]string, error) {
	var ids []string
	err := s.file.Select(ctx, &ids, `WITH RECURSIVE rated (id) AS (SELECT `+nextRated("?1")+`
		UNION ALL SELECT `+nextRated("rated.id")+` FROM rated WHERE rated.id IS NOT NULL)
		SELECT id FROM rated WHERE id IS NOT NULL LIMIT ?2`, after, limit)
	if err != nil {
		return nil, fmt.Errorf("sqlitestore: rated contents: %w", err)
	}
	return ids, nil
}

// nextRated returns the expression of the first content after another that has ratings or numbers.
func nextRated(after string) string {
	return `(SELECT min(id) FROM (
		SELECT (SELECT content FROM ratings r WHERE content > ` + after + ` AND ` + notCleared + `
			ORDER BY content LIMIT 1) AS id
		UNION ALL SELECT (SELECT content FROM rating_stats WHERE content > ` + after + ` AND (revision > 0
			OR dirty_at IS NOT NULL) ORDER BY content LIMIT 1)))`
}

// cellsOfRatings are the buckets of a content that its ratings make.
const cellsOfRatings = `SELECT bucket, score, count(*) AS n FROM ratings r WHERE content = ?1
	AND result <> 'withdrawn' AND ` + notCleared + ` GROUP BY bucket, score`

// audit is what one statement, so at one moment, finds of a content: the cells that are stored and
// those of its ratings, as JSON.
type audit struct {
	Stored  string `db:"stored"`
	Counted string `db:"counted"`
	Waits   bool   `db:"waits"` // to be rebuilt
}

const auditContent = `SELECT
	(SELECT json_group_array(json_array(bucket, score, n)) FROM rating_buckets WHERE content = ?1) AS stored,
	(SELECT json_group_array(json_array(bucket, score, n)) FROM (` + cellsOfRatings + `)) AS counted,
	EXISTS (SELECT 1 FROM rebuilds WHERE content = ?1) AS waits`

// Recount implements rating.Store. It counts without a lock, and locks and counts again only what
// was wrong. With an error it returns what it has repaired before.
func (s *Store) Recount(ctx context.Context, ids []string) ([]rating.Drift, error) {
	var drifts []rating.Drift
	ids = slices.Clone(ids)
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		drift, err := s.recount(ctx, id)
		if err != nil {
			return drifts, fmt.Errorf("sqlitestore: recount %s: %w", id, err)
		}
		if drift != nil {
			drifts = append(drifts, *drift)
		}
	}
	return drifts, nil
}

func (s *Store) recount(ctx context.Context, id string) (*rating.Drift, error) {
	var a audit
	if _, err := s.file.Get(ctx, &a, auditContent, id); err != nil {
		return nil, err
	}
	if a.Waits {
		return nil, s.rebuild(ctx, id)
	}
	stored, err := tally(a.Stored)
	if err != nil {
		return nil, err
	}
	counted, err := tally(a.Counted)
	if err != nil || counted.Drift(id, stored) == nil {
		return nil, err
	}
	var drift *rating.Drift
	err = s.file.WriteLong(ctx, func(tx Tx) (err error) {
		drift, err = repair(tx, id)
		return err
	})
	return drift, err
}

// tally reads [[bucket, score, n], …].
func tally(text string) (rating.Tally, error) {
	var cells [][3]int64
	err := json.Unmarshal([]byte(text), &cells)
	t := rating.Tally{}
	for _, c := range cells {
		t.AddMany(score.Cell{Bucket: int(c[0]), Score: int(c[1])}, c[2])
	}
	return t, err
}

// repair counts the ratings of a content and puts the buckets right. It returns what was wrong, or
// nil.
func repair(tx Tx, id string) (*rating.Drift, error) {
	var stored, counted []rows.Cell
	if err := tx.Select(&stored, cellsOf, id); err != nil {
		return nil, err
	}
	if err := tx.Select(&counted, cellsOfRatings, id); err != nil {
		return nil, err
	}
	is := rows.Tally(counted)
	drift := is.Drift(id, rows.Tally(stored))
	if drift == nil {
		return nil, nil
	}
	if _, err := tx.Exec(`DELETE FROM rating_buckets WHERE content = ?`, id); err != nil {
		return nil, err
	}
	if err := count(tx, map[string]rating.Tally{id: is}); err != nil {
		return nil, err
	}
	return drift, setDirty(tx, []string{id}) // also without a rating
}
