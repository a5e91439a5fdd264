package pgstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/khodnevis/khodnevis/content"
)

// conditions are parts of a WHERE clause and what is bound to them. The texts are constants of this package, never input.
type conditions struct {
	texts []string
	args  []any
}

// add appends a condition; each ? of its text stands for one of args.
func (c *conditions) add(text string, args ...any) {
	c.texts = append(c.texts, c.bind(text, args...))
}

// bind returns text with numbers in place of its question marks.
func (c *conditions) bind(text string, args ...any) string {
	var b strings.Builder
	for before, after, ok := strings.Cut(text, "?"); ; before, after, ok = strings.Cut(after, "?") {
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		c.args = append(c.args, args[0])
		args = args[1:]
		b.WriteString("$" + strconv.Itoa(len(c.args)))
	}
}

func (c *conditions) String() string {
	if len(c.texts) == 0 {
		return "true"
	}
	return strings.Join(c.texts, " AND ")
}

// contentFilter returns the conditions of f on contents c, and whether they need the scores f and the numbers s.
func contentFilter(f content.Filter) (where conditions, scores, stats bool) {
	if f.Author != "" {
		where.add(`c.author = ?`, f.Author)
	}
	if len(f.Terms) > 0 {
		where.add(`c.terms @> ?`, indexed(f.Terms))
	}
	if !f.CreatedFrom.IsZero() {
		where.add(`c.created_at >= ?`, f.CreatedFrom)
	}
	if !f.CreatedBefore.IsZero() {
		where.add(`c.created_at < ?`, f.CreatedBefore)
	}
	if !f.UpdatedFrom.IsZero() {
		where.add(`c.updated_at >= ?`, f.UpdatedFrom)
	}
	if !f.UpdatedBefore.IsZero() {
		where.add(`c.updated_at < ?`, f.UpdatedBefore)
	}
	if f.ScoreMin != nil {
		where.add(`f.weight > 0 AND f.value >= ?`, *f.ScoreMin)
		scores = true
	}
	if f.ScoreMax != nil {
		where.add(`f.weight > 0 AND f.value <= ?`, *f.ScoreMax)
		scores = true
	}
	if f.RatingsMin > 0 {
		where.add(`s.n >= ?`, f.RatingsMin) // a content without a row has no ratings
		stats = true
	}
	return where, scores, stats
}

func contentTables(scores, stats bool) string {
	from := `khodnevis.contents c`
	if scores {
		from += ` JOIN khodnevis.rating_scores f ON f.content_id = c.id`
	}
	if stats {
		from += ` LEFT JOIN khodnevis.rating_stats s ON s.content_id = c.id`
	}
	return from
}

// contentOrder is how a list of contents is ordered: by a column (or what is computed), then by the identifier of the same
// table, so that an index on both gives the order.
type contentOrder struct {
	key, id       string
	scores, stats bool
	value         func(content.Position) any
}

// contentOrders has an index for every order but ByRatings: the number of ratings changes with every one of them, and an
// index on it would make each of them dearer. That list sorts all contents that match.
var contentOrders = map[content.Field]contentOrder{
	content.ByCreated: {key: `c.created_at`, id: `c.id`, value: func(p content.Position) any { return p.Time }},
	content.ByUpdated: {key: `c.updated_at`, id: `c.id`, value: func(p content.Position) any { return p.Time }},
	content.ByTitle:   {key: `c.title_key`, id: `c.id`, value: func(p content.Position) any { return []byte(p.Text) }},
	content.ByScore:   {key: `f.rank`, id: `f.content_id`, scores: true, value: func(p content.Position) any { return p.Number }},
	content.ByRatings: {key: `coalesce(s.n, 0)::double precision`, id: `c.id`, stats: true, value: func(p content.Position) any { return p.Number }},
}

// listedRow is a row of a list of contents; Number is the value that it is ordered by, where the content does not have it.
type listedRow struct {
	contentRow
	Number float64 `db:"number"`
}

func (r listedRow) listed(field content.Field) content.Listed {
	l := content.Listed{Content: r.content(), Position: content.Position{ID: r.ID}}
	switch field {
	case content.ByCreated:
		l.Position.Time = l.CreatedAt
	case content.ByUpdated:
		l.Position.Time = l.UpdatedAt
	case content.ByTitle:
		l.Position.Text = string(titleKey(l.Title))
	case content.ByScore, content.ByRatings:
		l.Position.Number = r.Number
	}
	return l
}

// ListContents implements content.Store.
func (s *Store) ListContents(ctx context.Context, q content.Query) ([]content.Listed, error) {
	order, ok := contentOrders[q.Order.Field]
	if !ok {
		return nil, fmt.Errorf("pgstore: list contents by %q", q.Order.Field)
	}
	text, args := contentQuery(q, order)
	var rows []listedRow
	if err := s.search(ctx, &rows, text, args...); err != nil {
		return nil, fmt.Errorf("pgstore: list contents by %s: %w", q.Order.Field, err)
	}
	found := make([]content.Listed, len(rows))
	for i, r := range rows {
		found[i] = r.listed(q.Order.Field)
	}
	return found, nil
}

func contentQuery(q content.Query, order contentOrder) (string, []any) {
	where, scores, stats := contentFilter(q.Filter)
	follows, direction := ">", "ASC"
	if q.Order.Desc {
		follows, direction = "<", "DESC"
	}
	if q.After != nil {
		where.add(`(`+order.key+`, `+order.id+`) `+follows+` (?, ?)`, order.value(*q.After), q.After.ID)
	}
	number := `0`
	if order.scores || order.stats {
		number = order.key
	}
	text := `SELECT ` + contentColumns + `, ` + number + ` AS number FROM ` + contentTables(scores || order.scores, stats || order.stats) +
		` WHERE ` + where.String() + ` ORDER BY ` + order.key + ` ` + direction + `, ` + order.id + ` ` + direction
	return text + where.bind(` LIMIT ?`, q.Limit), where.args
}

// CountContents implements content.Store.
func (s *Store) CountContents(ctx context.Context, f content.Filter) (int64, error) {
	where, scores, stats := contentFilter(f)
	var n []int64
	if err := s.search(ctx, &n, `SELECT count(*) FROM `+contentTables(scores, stats)+` WHERE `+where.String(), where.args...); err != nil {
		return 0, fmt.Errorf("pgstore: count contents: %w", err)
	}
	return n[0], nil
}
