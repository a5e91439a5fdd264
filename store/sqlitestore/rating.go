package sqlitestore

import (
	"context"
	"fmt"
	"slices"

	"github.com/jmoiron/sqlx"

	"github.com/khodnevis/khodnevis/internal/sqlitefile"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store/internal/rows"
)

const ratingColumns = `r.content AS content_id, r.rater, r.score, r.bucket, r.epoch, r."offset" AS position,
	r.result, r.created_at, r.updated_at`

// byKeys finds the rows of the keys in a JSON array of pairs.
const byKeys = `SELECT ` + ratingColumns + ` FROM json_each(?) k
	CROSS JOIN ratings r ON r.content = k.value ->> 0 AND r.rater = k.value ->> 1 WHERE ` + notCleared

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
	var found []rows.Rating
	if err := s.file.Select(ctx, &found, byKeys, pairs(keys)); err != nil {
		return nil, fmt.Errorf("sqlitestore: ratings by key: %w", err)
	}
	return rows.All(found, rows.Rating.Rating), nil
}

// filterRatings returns the conditions of f.
func filterRatings(f rating.Filter) conditions {
	var cond conditions
	cond.add("r.result <> 'withdrawn'")
	cond.add(notCleared)
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

// follow adds where a list starts. An index with a column that the filter fixes is entered at its
// other columns only, so that column is compared here instead of there.
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

// ListRatings implements rating.Store. What ListContents says holds here too.
func (s *Store) ListRatings(ctx context.Context, q rating.Query) ([]rating.Rating, error) {
	text, args, served, err := ratingList(q)
	if err != nil {
		return nil, err
	}
	var found []rows.Rating
	if served {
		err = sqlitefile.Error(s.file.Lists().SelectContext(ctx, &found, text, args...))
	} else {
		err = s.file.Scan(ctx, func(tx *sqlx.Tx) error {
			found, err = scanRatings(ctx, tx, q)
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("sqlitestore: list ratings: %w", err)
	}
	return rows.All(found, rows.Rating.Rating), nil
}

// ratingList returns the statement of a list, and whether an index serves it, or it may look at any
// number of rows.
func ratingList(q rating.Query) (text string, args []any, served bool, err error) {
	order, ok := ratingOrders[q.Order]
	if !ok {
		return "", nil, false, fmt.Errorf("sqlitestore: list ratings: no order %d", q.Order)
	}
	cond := filterRatings(q.Filter)
	if q.After != nil {
		cond.follow(q)
	}
	return `SELECT ` + ratingColumns + ` FROM ratings r` + cond.where() + ` ORDER BY ` + order + ` LIMIT ?`,
		append(cond.args, q.Limit), q.Served(), nil
}

// countPart counts the ratings of a part, at most limit.
func countPart(ctx context.Context, tx *sqlx.Tx, part rating.Filter, limit int) (n int64, err error) {
	cond := filterRatings(part)
	err = tx.GetContext(ctx, &n, `SELECT count(*) FROM (SELECT 1 FROM ratings r`+cond.where()+` LIMIT ?)`,
		append(cond.args, limit)...)
	return n, err
}

// narrowRatings returns the first part of f that has no more than maxRows ratings.
func narrowRatings(ctx context.Context, tx *sqlx.Tx, f rating.Filter, maxRows int) (rating.Filter, bool, error) {
	for _, part := range f.Parts() {
		if n, err := countPart(ctx, tx, part, maxRows+1); err != nil || n <= int64(maxRows) {
			return part, err == nil, err
		}
	}
	return rating.Filter{}, false, nil
}

// scanRatings looks at about q.MaxRows rows, as contentList.scan does.
func scanRatings(ctx context.Context, tx *sqlx.Tx, q rating.Query) ([]rows.Rating, error) {
	if found, ok, err := nextRatings(ctx, tx, q, min(firstRows, q.MaxRows)+q.Limit); ok || err != nil {
		return found, err
	}
	part, ok, err := narrowRatings(ctx, tx, q.Filter, q.MaxRows)
	if err != nil {
		return nil, err
	}
	if ok {
		text, args := gatheredRatings(q, part)
		var found []rows.Rating
		err = tx.SelectContext(ctx, &found, text, args...)
		return found, err
	}
	found, ok, err := nextRatings(ctx, tx, q, q.MaxRows+q.Limit)
	if err == nil && !ok {
		err = rating.ErrTooBroad
	}
	return found, err
}

// nextRatings looks for a piece among the next rows in the order of the list, and reports whether
// it found all of it.
func nextRatings(ctx context.Context, tx *sqlx.Tx, q rating.Query, n int) ([]rows.Rating, bool, error) {
	text, args := ratingWindow(q, n)
	var found []rows.Rating
	if err := tx.SelectContext(ctx, &found, text, args...); err != nil {
		return nil, false, err
	}
	if len(found) == q.Limit {
		return found, true, nil
	}
	next := ratingRows(q)
	var more int
	err := tx.GetContext(ctx, &more,
		`SELECT count(*) FROM (SELECT 1 FROM ratings r`+next.where()+
			` ORDER BY `+ratingOrders[q.Order]+` LIMIT 1 OFFSET ?)`,
		append(next.args, n)...)
	return found, more == 0, err
}

// ratingRows are the conditions on what nextRatings looks at, withdrawn ratings among it where the
// index has them.
func ratingRows(q rating.Query) (next conditions) {
	if q.Order != rating.ByKey {
		next.add("r.result <> 'withdrawn'")
	}
	next.after(q)
	return next
}

// ratingWindow returns the statement of nextRatings.
func ratingWindow(q rating.Query, rows int) (text string, args []any) {
	next, hit := ratingRows(q), filterRatings(q.Filter)
	return `SELECT ` + ratingColumns + ` FROM (SELECT * FROM ratings r` + next.where() + ` ORDER BY ` +
			ratingOrders[q.Order] + ` LIMIT ?) r` + hit.where() +
			` ORDER BY ` + ratingOrders[q.Order] + ` LIMIT ?`, slices.Concat(next.args, []any{rows}, hit.args,
			[]any{q.Limit})
}

// gatheredRatings returns the statement of a piece among all ratings of a part.
func gatheredRatings(q rating.Query, part rating.Filter) (text string, args []any) {
	in, hit := filterRatings(part), filterRatings(q.Filter)
	hit.after(q)
	return `WITH r AS MATERIALIZED (SELECT * FROM ratings r` + in.where() + `) SELECT ` + ratingColumns + ` FROM r` +
		hit.where() +
		` ORDER BY ` + ratingOrders[q.Order] + ` LIMIT ?`, slices.Concat(in.args, hit.args, []any{q.Limit})
}

// after adds where a list starts that enters the index of its order.
func (c *conditions) after(q rating.Query) {
	if q.After != nil {
		q.Filter = rating.Filter{}
		c.follow(q)
	}
}

// CountRatings implements rating.Store.
func (s *Store) CountRatings(ctx context.Context, f rating.Filter, maxRows int) (n int64, err error) {
	if maxRows == 0 {
		cond := filterRatings(f)
		err = sqlitefile.Error(s.file.Lists().GetContext(ctx, &n, `SELECT count(*) FROM ratings r`+cond.where(),
			cond.args...))
	} else {
		err = s.file.Scan(ctx, func(tx *sqlx.Tx) error {
			n, err = countRatings(ctx, tx, f, maxRows)
			return err
		})
	}
	if err != nil {
		return 0, fmt.Errorf("sqlitestore: count ratings: %w", err)
	}
	return n, nil
}

func countRatings(ctx context.Context, tx *sqlx.Tx, f rating.Filter, maxRows int) (n int64, err error) {
	for _, part := range f.Parts() {
		if part == f {
			return countPart(ctx, tx, f, maxRows+1)
		}
	}
	part, ok, err := narrowRatings(ctx, tx, f, maxRows)
	if err != nil {
		return 0, err
	}
	if !ok {
		return 0, rating.ErrTooBroad
	}
	in, hit := filterRatings(part), filterRatings(f)
	err = tx.GetContext(ctx, &n, `WITH r AS MATERIALIZED (SELECT * FROM ratings r`+in.where()+`)
		SELECT count(*) FROM r`+hit.where(),
		slices.Concat(in.args, hit.args)...)
	return n, err
}
