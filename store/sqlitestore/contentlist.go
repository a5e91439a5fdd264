package sqlitestore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/internal/sqlitefile"
)

// conditions are parts of a WHERE clause and what is bound to them. The texts are constants of this package, never input.
type conditions struct {
	texts []string
	args  []any
}

func (c *conditions) add(text string, args ...any) {
	c.texts = append(c.texts, text)
	c.args = append(c.args, args...)
}

// since and before add a bound of time unless it is not set.
func (c *conditions) since(column string, t time.Time) {
	if !t.IsZero() {
		c.add(column+" >= ?", t.UnixMicro())
	}
}

func (c *conditions) before(column string, t time.Time) {
	if !t.IsZero() {
		c.add(column+" < ?", t.UnixMicro())
	}
}

// where returns the clause, or nothing when there are no conditions.
func (c *conditions) where() string {
	if len(c.texts) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(c.texts, " AND ")
}

// contentOrder is how a list of contents is ordered: two columns that an index holds, and the table that the index is on.
type contentOrder struct {
	key, id string
	stats   bool // the index is on rating_stats
	value   func(content.Position) any
}

var contentOrders = map[content.Field]contentOrder{
	content.ByCreated: {key: "c.created_at", id: "c.id", value: func(p content.Position) any { return p.Time.UnixMicro() }},
	content.ByUpdated: {key: "c.updated_at", id: "c.id", value: func(p content.Position) any { return p.Time.UnixMicro() }},
	content.ByTitle:   {key: "c.title_key", id: "c.id", value: func(p content.Position) any { return []byte(p.Text) }},
	content.ByScore:   {key: "s.rank", id: "s.content", stats: true, value: func(p content.Position) any { return p.Number }},
	content.ByRatings: {key: "s.n", id: "s.content", stats: true, value: func(p content.Position) any { return p.Number }},
}

// position returns where r stands; number is the value of an order by numbers.
func position(field content.Field, r contentRow, number float64) content.Position {
	p := content.Position{ID: r.ID}
	switch field {
	case content.ByCreated:
		p.Time = instant(r.CreatedAt)
	case content.ByUpdated:
		p.Time = instant(r.UpdatedAt)
	case content.ByTitle:
		p.Text = string(titleKey(r.Title))
	default:
		p.Number = number
	}
	return p
}

// filterContents returns the conditions of f and whether they need rating_stats.
func filterContents(f content.Filter) (cond conditions, stats bool) {
	if f.Author != "" {
		cond.add("c.author = ?", f.Author)
	}
	if len(f.Terms) > 0 {
		cond.add("c.num IN (SELECT rowid FROM content_terms WHERE content_terms MATCH ?)", match(f.Terms))
	}
	cond.since("c.created_at", f.CreatedFrom)
	cond.before("c.created_at", f.CreatedBefore)
	cond.since("c.updated_at", f.UpdatedFrom)
	cond.before("c.updated_at", f.UpdatedBefore)
	if f.ScoreMin != nil {
		cond.add("s.weight > 0 AND s.value >= ?", *f.ScoreMin)
	}
	if f.ScoreMax != nil {
		cond.add("s.weight > 0 AND s.value <= ?", *f.ScoreMax)
	}
	if f.RatingsMin > 0 {
		cond.add("s.n >= ?", f.RatingsMin)
	}
	return cond, f.ScoreMin != nil || f.ScoreMax != nil || f.RatingsMin > 0
}

// match returns the query for contents that have all terms. Quoted, a term means nothing but itself. What is no term matches nothing.
func match(terms []string) string {
	quoted := make([]string, len(terms))
	for i, term := range terms {
		if !slices.Equal(content.Terms(term), []string{term}) {
			return `"` + "\ufffd" + `"`
		}
		quoted[i] = `"` + token(term) + `"`
	}
	return strings.Join(quoted, " AND ")
}

// contentTables returns the FROM clause. Where the order comes from an index on rating_stats, that stands first.
func contentTables(order contentOrder, stats bool) string {
	switch {
	case order.stats:
		return " FROM rating_stats s JOIN contents c ON c.id = s.content"
	case stats:
		return " FROM contents c JOIN rating_stats s ON s.content = c.id"
	}
	return " FROM contents c"
}

// ListContents implements content.Store.
func (s *Store) ListContents(ctx context.Context, q content.Query) ([]content.Listed, error) {
	text, args, err := contentList(q)
	if err != nil {
		return nil, err
	}
	var rows []struct {
		contentRow
		Number float64 `db:"number"`
	}
	if err := s.file.Reader().SelectContext(ctx, &rows, text, args...); err != nil {
		return nil, fmt.Errorf("sqlitestore: list contents: %w", sqlitefile.Error(err))
	}
	found := make([]content.Listed, len(rows))
	for i, r := range rows {
		found[i] = content.Listed{Content: r.content(), Position: position(q.Order.Field, r.contentRow, r.Number)}
	}
	return found, nil
}

// contentList returns the statement of a list. It finds the piece first and reads the texts of that only, in case it has to sort.
func contentList(q content.Query) (text string, args []any, err error) {
	order, ok := contentOrders[q.Order.Field]
	if !ok {
		return "", nil, fmt.Errorf("sqlitestore: list contents: no order by %q", q.Order.Field)
	}
	way, after := "ASC", ">"
	if q.Order.Desc {
		way, after = "DESC", "<"
	}
	cond, stats := filterContents(q.Filter)
	if q.After != nil {
		cond.add("("+order.key+", "+order.id+") "+after+" (?, ?)", order.value(*q.After), q.After.ID)
	}
	number := "0.0"
	if order.stats {
		number = order.key
	}
	text = `SELECT ` + contentColumns + `, p.number FROM (SELECT c.num, ` + order.key + ` AS key, ` + order.id + ` AS id, ` + number + ` AS number` +
		contentTables(order, stats) + cond.where() + ` ORDER BY ` + order.key + ` ` + way + `, ` + order.id + ` ` + way + ` LIMIT ?) p
		CROSS JOIN contents c ON c.num = p.num ORDER BY p.key ` + way + `, p.id ` + way
	return text, append(cond.args, q.Limit), nil
}

// CountContents implements content.Store.
func (s *Store) CountContents(ctx context.Context, f content.Filter) (int64, error) {
	cond, stats := filterContents(f)
	var n int64
	if err := s.file.Reader().GetContext(ctx, &n, `SELECT count(*)`+contentTables(contentOrder{}, stats)+cond.where(), cond.args...); err != nil {
		return 0, fmt.Errorf("sqlitestore: count contents: %w", sqlitefile.Error(err))
	}
	return n, nil
}
