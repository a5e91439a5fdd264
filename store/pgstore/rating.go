package pgstore

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/lib/pq"

	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store/internal/rows"
)

const ratingColumns = `r.content_id, r.rater, r.epoch, r.position, r.created_at, r.updated_at, r.score,
	r.bucket, r.result`

// there leaves out the rows r of contents with a tombstone.
const there = `NOT EXISTS (SELECT FROM khodnevis.deleted_contents d WHERE d.id = r.content_id)`

const ratingsByKey = `SELECT ` + ratingColumns + ` FROM (SELECT DISTINCT k.content_id, k.rater
	FROM unnest($1::text[], $2::text[]) AS k (content_id, rater)) k
	JOIN khodnevis.ratings r ON r.content_id = k.content_id AND r.rater = k.rater WHERE ` + there

// RatingsByKey implements rating.Store.
func (s *Store) RatingsByKey(ctx context.Context, keys []rating.Key) ([]rating.Rating, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	contents, raters := make(pq.StringArray, len(keys)), make(pq.StringArray, len(keys))
	for i, k := range keys {
		contents[i], raters[i] = k.Content, k.Rater
	}
	var found []rows.Rating
	if err := s.query(ctx, &found, ratingsByKey, contents, raters); err != nil {
		return nil, fmt.Errorf("pgstore: %d ratings by key: %w", len(keys), err)
	}
	return rows.All(found, rows.Rating.Rating), nil
}

// ratings adds the conditions of f on ratings r that are there.
func (where *conditions) ratings(f rating.Filter) {
	where.texts = append(where.texts, `NOT r.withdrawn`)
	if f.Content == "" {
		where.add(there)
	} else { // once, not for every row
		where.add(`NOT EXISTS (SELECT FROM khodnevis.deleted_contents d WHERE d.id = ?)`, f.Content)
	}
	where.part(f)
	if f.ScoreMin != nil {
		where.add(`r.score >= ?`, *f.ScoreMin)
	}
	if f.ScoreMax != nil {
		where.add(`r.score <= ?`, *f.ScoreMax)
	}
}

// part adds the conditions of f that indexes find ratings by.
func (where *conditions) part(f rating.Filter) {
	if f.Content != "" {
		where.add(`r.content_id = ?`, f.Content)
	}
	if f.Rater != "" {
		where.add(`r.rater = ?`, f.Rater)
	}
	if !f.UpdatedFrom.IsZero() {
		where.add(`r.updated_at >= ?`, f.UpdatedFrom)
	}
	if !f.UpdatedBefore.IsZero() {
		where.add(`r.updated_at < ?`, f.UpdatedBefore)
	}
}

// ratingOrders are the ORDER BY clauses.
var ratingOrders = map[rating.Order]string{
	rating.ByKey:       `r.content_id, r.rater`,
	rating.NewestFirst: `r.updated_at DESC, r.content_id DESC, r.rater DESC`,
	rating.OldestFirst: `r.updated_at, r.content_id, r.rater`,
}

// after adds where a list starts.
func (where *conditions) after(q rating.Query) {
	switch at := q.After; {
	case at == nil:
	case q.Order == rating.NewestFirst:
		where.add(`(r.updated_at, r.content_id, r.rater) < (?, ?, ?)`, at.At, at.Content, at.Rater)
	case q.Order == rating.OldestFirst:
		where.add(`(r.updated_at, r.content_id, r.rater) > (?, ?, ?)`, at.At, at.Content, at.Rater)
	default:
		where.add(`(r.content_id, r.rater) > (?, ?)`, at.Content, at.Rater)
	}
}

// listedRating is a row of a list of ratings.
type listedRating struct {
	rows.Rating
	bounded
}

// ListRatings implements rating.Store. What ListContents says holds here too. All ratings, and
// those of a content, come out of the primary key in the order ByKey; all of them, and those of a
// rater, out of other indexes in the orders by time.
func (s *Store) ListRatings(ctx context.Context, q rating.Query) ([]rating.Rating, error) {
	if _, ok := ratingOrders[q.Order]; !ok {
		return nil, fmt.Errorf("pgstore: list ratings: no order %d", q.Order)
	}
	var found []listedRating
	text, args, ok := ratingQuery(q)
	var err error
	if ok {
		err = s.list(ctx, &found, text, args...)
	} else {
		found, err = s.scanRatings(ctx, q)
	}
	if err != nil {
		return nil, fmt.Errorf("pgstore: list ratings: %w", err)
	}
	return rows.All(found, func(r listedRating) rating.Rating { return r.Rating.Rating() }), nil
}

// ratingQuery returns the statement of a list, and whether an index serves it, or it may read
// any number of rows.
func ratingQuery(q rating.Query) (text string, args []any, served bool) {
	var where conditions
	where.ratings(q.Filter)
	where.after(q)
	text = `SELECT ` + ratingColumns + `, false AS beyond FROM khodnevis.ratings r WHERE ` + where.String() +
		` ORDER BY ` + ratingOrders[q.Order]
	return text + where.bind(` LIMIT ?`, q.Limit), where.args, q.Served()
}

// ratingWindow returns the statement that finds a page among the next rows in the order of the
// list, and returns the row after them too if it gets there.
func ratingWindow(q rating.Query, rows int) statement {
	var where, hit conditions
	hit.ratings(q.Filter)
	hits := hit.String()
	where.args = hit.args
	if q.Order != rating.ByKey { // whose index has withdrawn ratings, too
		where.add(`NOT r.withdrawn`)
	}
	where.after(q)
	by := ` ORDER BY ` + ratingOrders[q.Order]
	text := `SELECT ` + ratingColumns + `, r.row > ` + strconv.Itoa(rows) + ` AS beyond FROM (
		SELECT r.*, ` + hits + ` AS hit, row_number() OVER (` + by + `) AS row FROM khodnevis.ratings r
		WHERE ` + where.String() + by + ` LIMIT ` + strconv.Itoa(rows+1) + `) r
		WHERE r.hit OR r.row > ` + strconv.Itoa(rows) + by
	return statement{text + where.bind(` LIMIT ?`, q.Limit), where.args}
}

// gatherRatings returns the beginning of a statement that has the ratings of a part as m, or one
// more than maxRows of them, and the arguments so far.
func gatherRatings(part rating.Filter, maxRows int) (with string, where conditions) {
	where.add(`NOT r.withdrawn`)
	where.part(part)
	with = `WITH part AS MATERIALIZED (SELECT r.* FROM khodnevis.ratings r WHERE ` + where.String() +
		`), m AS MATERIALIZED (SELECT * FROM part LIMIT ` + strconv.Itoa(maxRows+1) + `)`
	return with, conditions{args: where.args}
}

// gatheredRatings returns the statement that finds a page in all of a part. It returns a row
// more if the part has too many ratings.
func gatheredRatings(q rating.Query, part rating.Filter) statement {
	with, where := gatherRatings(part, q.MaxRows)
	where.ratings(q.Filter)
	where.after(q)
	by := ` ORDER BY ` + ratingOrders[q.Order]
	text := with + ` SELECT * FROM ((SELECT ` + ratingColumns + `, false AS beyond FROM m r WHERE ` +
		where.String() + by
	return statement{text + where.bind(` LIMIT ?`, q.Limit) + `) UNION ALL SELECT '', '', 0, 0, now(), now(),
		0, 0, 'created', true WHERE (SELECT count(*) FROM m) > ` +
		strconv.Itoa(q.MaxRows) + `) r` + by, where.args}
}

// ratingRows are the ratings of a part, for an estimate.
func ratingRows(part rating.Filter) statement {
	where := conditions{texts: []string{`NOT r.withdrawn`}}
	where.part(part)
	return statement{`SELECT FROM khodnevis.ratings r WHERE ` + where.String(), where.args}
}

func (s *Store) scanRatings(ctx context.Context, q rating.Query) ([]listedRating, error) {
	var all []gathering
	for _, part := range q.Filter.Parts() {
		if part != (rating.Filter{}) { // the window has all ratings if they are few
			all = append(all, gathering{ratingRows(part), gatheredRatings(q, part)})
		}
	}
	return scan[listedRating](ctx, s, q.MaxRows, all, ratingWindow(q, q.MaxRows+q.Limit))
}

// CountRatings implements rating.Store.
func (s *Store) CountRatings(ctx context.Context, f rating.Filter, maxRows int) (int64, error) {
	var where conditions
	where.ratings(f)
	from := statement{`FROM khodnevis.ratings r WHERE ` + where.String(), where.args}
	parts := f.Parts()
	var all []gathering
	for _, part := range parts {
		with, where := gatherRatings(part, maxRows)
		where.ratings(f)
		all = append(all, gathering{ratingRows(part),
			statement{with + ` SELECT CASE WHEN (SELECT count(*) FROM m) > ` +
				strconv.Itoa(maxRows) + ` THEN -1 ELSE (SELECT count(*) FROM m r WHERE ` + where.String() + `) END`,
				where.args}})
	}
	n, err := s.count(ctx, maxRows, from, slices.Contains(parts, f), all)
	if err != nil {
		return 0, fmt.Errorf("pgstore: count ratings: %w", err)
	}
	return n, nil
}
