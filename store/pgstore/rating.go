package pgstore

import (
	"context"
	"fmt"
	"time"

	"github.com/lib/pq"

	"github.com/khodnevis/khodnevis/rating"
)

// ratingRow is a row of ratings.
type ratingRow struct {
	Content   string    `db:"content_id"`
	Rater     string    `db:"rater"`
	Epoch     int64     `db:"epoch"`
	Position  int64     `db:"position"`
	CreatedAt time.Time `db:"created_at"`
	UpdatedAt time.Time `db:"updated_at"`
	Score     int       `db:"score"`
	Bucket    int       `db:"bucket"`
	Result    string    `db:"result"`
	Withdrawn bool      `db:"withdrawn"`
}

const ratingColumns = `r.content_id, r.rater, r.epoch, r.position, r.created_at, r.updated_at, r.score, r.bucket, r.result, r.withdrawn`

func (r ratingRow) rating() rating.Rating {
	return rating.Rating{
		Key: rating.Key{Content: r.Content, Rater: r.Rater}, Version: rating.Version{Epoch: r.Epoch, Offset: r.Position}, Score: r.Score, Bucket: r.Bucket,
		Result: rating.Result(r.Result), Withdrawn: r.Withdrawn, CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(),
	}
}

func ratings(rows []ratingRow) []rating.Rating {
	found := make([]rating.Rating, len(rows))
	for i, r := range rows {
		found[i] = r.rating()
	}
	return found
}

// there leaves out what is left of the ratings r of deleted contents.
const there = `NOT EXISTS (SELECT FROM khodnevis.deleted_contents d WHERE d.id = r.content_id)`

const ratingsByKey = `SELECT ` + ratingColumns + ` FROM (SELECT DISTINCT k.content_id, k.rater FROM unnest($1::text[], $2::text[]) AS k (content_id, rater)) k
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
	var rows []ratingRow
	if err := s.query(ctx, &rows, ratingsByKey, contents, raters); err != nil {
		return nil, fmt.Errorf("pgstore: %d ratings by key: %w", len(keys), err)
	}
	return ratings(rows), nil
}

// ratingFilter returns the conditions of f on ratings r. Those of one content lie together in the primary key, those of one
// rater in an index; score and time are looked at row by row.
func ratingFilter(f rating.Filter) conditions {
	where := conditions{texts: []string{`NOT r.withdrawn`}}
	if f.Content == "" {
		where.add(there)
	} else { // once, not for every row
		where.add(`r.content_id = ?`, f.Content)
		where.add(`NOT EXISTS (SELECT FROM khodnevis.deleted_contents d WHERE d.id = ?)`, f.Content)
	}
	if f.Rater != "" {
		where.add(`r.rater = ?`, f.Rater)
	}
	if f.ScoreMin != nil {
		where.add(`r.score >= ?`, *f.ScoreMin)
	}
	if f.ScoreMax != nil {
		where.add(`r.score <= ?`, *f.ScoreMax)
	}
	if !f.UpdatedFrom.IsZero() {
		where.add(`r.updated_at >= ?`, f.UpdatedFrom)
	}
	if !f.UpdatedBefore.IsZero() {
		where.add(`r.updated_at < ?`, f.UpdatedBefore)
	}
	return where
}

// ListRatings implements rating.Store.
//
// A page in the order ByKey costs its own length, wherever it stands: all ratings and those of a content come out of the primary key in
// that order, those of a rater out of the other index. The orders by time have no index, because it would have to be
// written with every change of a score, which otherwise stays on its page. They look at every rating that matches and keep
// the first ones: a rater's are few; a content's, or everybody's, take some 0.4 seconds a million, and end at the statement's timeout.
func (s *Store) ListRatings(ctx context.Context, q rating.Query) ([]rating.Rating, error) {
	text, args := ratingQuery(q)
	var rows []ratingRow
	if err := s.search(ctx, &rows, text, args...); err != nil {
		return nil, fmt.Errorf("pgstore: list ratings: %w", err)
	}
	return ratings(rows), nil
}

func ratingQuery(q rating.Query) (string, []any) {
	where := ratingFilter(q.Filter)
	var order string
	switch q.Order {
	case rating.NewestFirst:
		order = `r.updated_at DESC, r.content_id DESC, r.rater DESC`
		if q.After != nil {
			where.add(`(r.updated_at, r.content_id, r.rater) < (?, ?, ?)`, q.After.At, q.After.Content, q.After.Rater)
		}
	case rating.OldestFirst:
		order = `r.updated_at, r.content_id, r.rater`
		if q.After != nil {
			where.add(`(r.updated_at, r.content_id, r.rater) > (?, ?, ?)`, q.After.At, q.After.Content, q.After.Rater)
		}
	default:
		order = `r.content_id, r.rater`
		switch {
		case q.After == nil:
		case q.Filter.Rater == "":
			where.add(`(r.content_id, r.rater) > (?, ?)`, q.After.Content, q.After.Rater)
		case q.Filter.Rater > q.After.Rater: // in the index of raters, the content alone says where to begin
			where.add(`r.content_id >= ?`, q.After.Content)
		default:
			where.add(`r.content_id > ?`, q.After.Content)
		}
	}
	text := `SELECT ` + ratingColumns + ` FROM khodnevis.ratings r WHERE ` + where.String() + ` ORDER BY ` + order
	return text + where.bind(` LIMIT ?`, q.Limit), where.args
}

// CountRatings implements rating.Store. It looks at every rating of the content or rater that is meant.
func (s *Store) CountRatings(ctx context.Context, f rating.Filter) (int64, error) {
	where := ratingFilter(f)
	var n []int64
	if err := s.search(ctx, &n, `SELECT count(*) FROM khodnevis.ratings r WHERE `+where.String(), where.args...); err != nil {
		return 0, fmt.Errorf("pgstore: count ratings: %w", err)
	}
	return n[0], nil
}
