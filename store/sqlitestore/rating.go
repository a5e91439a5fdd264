package sqlitestore

import (
	"context"
	"fmt"

	"github.com/khodnevis/khodnevis/internal/sqlitefile"
	"github.com/khodnevis/khodnevis/rating"
)

// ratingRow is a row of ratings.
type ratingRow struct {
	Content   string `db:"content"`
	Rater     string `db:"rater"`
	Score     int    `db:"score"`
	Bucket    int    `db:"bucket"`
	Epoch     int64  `db:"epoch"`
	Offset    int64  `db:"offset"`
	Result    string `db:"result"`
	CreatedAt int64  `db:"created_at"`
	UpdatedAt int64  `db:"updated_at"`
}

const ratingColumns = `r.content, r.rater, r.score, r.bucket, r.epoch, r."offset", r.result, r.created_at, r.updated_at`

func (r ratingRow) rating() rating.Rating {
	return rating.Rating{
		Key:       rating.Key{Content: r.Content, Rater: r.Rater},
		Score:     r.Score,
		Version:   rating.Version{Epoch: r.Epoch, Offset: r.Offset},
		Result:    rating.Result(r.Result),
		Withdrawn: rating.Result(r.Result) == rating.Withdrawn,
		Bucket:    r.Bucket,
		CreatedAt: instant(r.CreatedAt),
		UpdatedAt: instant(r.UpdatedAt),
	}
}

func ratings(rows []ratingRow) []rating.Rating {
	found := make([]rating.Rating, len(rows))
	for i, r := range rows {
		found[i] = r.rating()
	}
	return found
}

// byKeys finds the rows of the keys in a JSON array of pairs.
const byKeys = `SELECT ` + ratingColumns + ` FROM json_each(?) k CROSS JOIN ratings r ON r.content = k.value ->> 0 AND r.rater = k.value ->> 1`

// pairs returns the keys as byKeys takes them, each once.
func pairs(keys []rating.Key) string {
	values := make([][2]string, 0, len(keys))
	seen := make(map[rating.Key]bool, len(keys))
	for _, k := range keys {
		if !seen[k] {
			seen[k] = true
			values = append(values, [2]string{k.Content, k.Rater})
		}
	}
	return array(values)
}

// RatingsByKey implements rating.Store.
func (s *Store) RatingsByKey(ctx context.Context, keys []rating.Key) ([]rating.Rating, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	var rows []ratingRow
	if err := s.file.Select(ctx, &rows, byKeys, pairs(keys)); err != nil {
		return nil, fmt.Errorf("sqlitestore: ratings by key: %w", err)
	}
	return ratings(rows), nil
}

// filterRatings returns the conditions of f.
func filterRatings(f rating.Filter) conditions {
	var cond conditions
	cond.add("r.result <> 'withdrawn'")
	if f.Content != "" {
		cond.add("r.content = ?", f.Content)
	}
	if f.Rater != "" {
		cond.add("r.rater = ?", f.Rater)
	}
	if f.ScoreMin != nil {
		cond.add("r.score >= ?", *f.ScoreMin)
	}
	if f.ScoreMax != nil {
		cond.add("r.score <= ?", *f.ScoreMax)
	}
	cond.since("r.updated_at", f.UpdatedFrom)
	cond.before("r.updated_at", f.UpdatedBefore)
	return cond
}

// ratingOrders are the ORDER BY clauses.
var ratingOrders = map[rating.Order]string{
	rating.ByKey:       "r.content, r.rater",
	rating.NewestFirst: "r.updated_at DESC, r.content DESC, r.rater DESC",
	rating.OldestFirst: "r.updated_at, r.content, r.rater",
}

// follow adds where a list starts. An index with a column that the filter fixes is entered at its other columns only, so
// that column is compared here instead of there.
func (c *conditions) follow(q rating.Query) {
	at := q.After
	desc := q.Order == rating.NewestFirst
	after, from := ">", ">="
	if desc {
		after, from = "<", "<="
	}
	switch {
	case q.Order == rating.ByKey && q.Filter.Content == "":
		c.add("(r.content, r.rater) > (?, ?)", at.Content, at.Rater)
	case q.Order == rating.ByKey && q.Filter.Content < at.Content:
		c.add("FALSE")
	case q.Order == rating.ByKey && q.Filter.Content == at.Content:
		c.add("r.rater > ?", at.Rater)
	case q.Order == rating.ByKey: // everything of the content follows
	case q.Filter.Rater == "":
		c.add("(r.updated_at, r.content, r.rater) "+after+" (?, ?, ?)", at.At.UnixMicro(), at.Content, at.Rater)
	case q.Filter.Rater != at.Rater && q.Filter.Rater > at.Rater != desc:
		c.add("(r.updated_at, r.content) "+from+" (?, ?)", at.At.UnixMicro(), at.Content)
	default:
		c.add("(r.updated_at, r.content) "+after+" (?, ?)", at.At.UnixMicro(), at.Content)
	}
}

// ListRatings implements rating.Store.
func (s *Store) ListRatings(ctx context.Context, q rating.Query) ([]rating.Rating, error) {
	text, args, err := ratingList(q)
	if err != nil {
		return nil, err
	}
	var rows []ratingRow
	if err := s.file.Reader().SelectContext(ctx, &rows, text, args...); err != nil {
		return nil, fmt.Errorf("sqlitestore: list ratings: %w", sqlitefile.Error(err))
	}
	return ratings(rows), nil
}

// ratingList returns the statement of a list.
func ratingList(q rating.Query) (text string, args []any, err error) {
	order, ok := ratingOrders[q.Order]
	if !ok {
		return "", nil, fmt.Errorf("sqlitestore: list ratings: no order %d", q.Order)
	}
	cond := filterRatings(q.Filter)
	if q.After != nil {
		cond.follow(q)
	}
	return `SELECT ` + ratingColumns + ` FROM ratings r` + cond.where() + ` ORDER BY ` + order + ` LIMIT ?`, append(cond.args, q.Limit), nil
}

// CountRatings implements rating.Store.
func (s *Store) CountRatings(ctx context.Context, f rating.Filter) (int64, error) {
	cond := filterRatings(f)
	var n int64
	if err := s.file.Reader().GetContext(ctx, &n, `SELECT count(*) FROM ratings r`+cond.where(), cond.args...); err != nil {
		return 0, fmt.Errorf("sqlitestore: count ratings: %w", sqlitefile.Error(err))
	}
	return n, nil
}
