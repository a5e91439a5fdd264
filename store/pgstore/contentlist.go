package pgstore

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/store/internal/rows"
)

// conditions are parts of a WHERE clause and what is bound to them. The texts are constants of this
// package, never input.
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

// contents adds the conditions of f on contents c, and returns whether they need the published
// numbers f.
func (where *conditions) contents(f content.Filter) (numbers bool) {
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
	}
	if f.ScoreMax != nil {
		where.add(`f.weight > 0 AND f.value <= ?`, *f.ScoreMax)
	}
	if f.RatingsMin > 0 {
		where.add(`f.n >= ?`, f.RatingsMin)
	}
	return f.ScoreMin != nil || f.ScoreMax != nil || f.RatingsMin > 0
}

// joined returns what joins the published numbers f to contents c, if they are needed. Every content
// has some.
func joined(needed bool) string {
	if !needed {
		return ""
	}
	return ` JOIN khodnevis.rating_scores f ON f.content_id = c.id`
}

// contentOrder is how a list of contents is ordered: by a column (or what is computed), then by the
// identifier of the same table, so that an index on both gives the order.
type contentOrder struct {
	from    string // what gives the order, contents c among it
	key, id string // its columns
	number  bool   // the key is one of the published numbers f
	value   func(content.Cursor) any
}

var contentOrders = map[content.Field]contentOrder{
	content.ByCreated: {from: `khodnevis.contents c`, key: `c.created_at`, id: `c.id`,
		value: func(p content.Cursor) any { return p.Time }},
	content.ByUpdated: {from: `khodnevis.contents c`, key: `c.updated_at`, id: `c.id`,
		value: func(p content.Cursor) any { return p.Time }},
	content.ByTitle: {from: `khodnevis.contents c`, key: `c.title_key`, id: `c.id`,
		value: func(p content.Cursor) any { return []byte(p.Text) }},
	content.ByScore: {from: byNumbers, key: `f.rank`, id: `f.content_id`, number: true,
		value: func(p content.Cursor) any { return p.Number }},
	content.ByRatings: {from: byNumbers, key: `f.n`, id: `f.content_id`, number: true,
		value: func(p content.Cursor) any { return int64(p.Number) }},
}

const byNumbers = `khodnevis.rating_scores f JOIN khodnevis.contents c ON c.id = f.content_id`

// listedRow is a row of a list of contents; Number is the value that it is ordered by, where the
// content does not have it.
type listedRow struct {
	rows.Content
	bounded
	Number float64 `db:"number"`
}

// contentList puts the statements of a list together.
type contentList struct {
	content.Query
	order   contentOrder
	follows string         // > or <
	way     string         // ASC or DESC
	seek    content.Filter // what the index of the order finds by itself, because it lies together there
	rest    content.Filter
}

func newContentList(q content.Query) (contentList, error) {
	order, ok := contentOrders[q.Order.Field]
	if !ok {
		return contentList{}, fmt.Errorf("pgstore: list contents by %q", q.Order.Field)
	}
	l := contentList{Query: q, order: order, follows: ">", way: "ASC"}
	if q.Order.Desc {
		l.follows, l.way = "<", "DESC"
	}
	part := q.Filter.Ordered(q.Order.Field)
	l.seek, l.rest = part.Indexed, part.Rest
	return l, nil
}

// number is the column of a key that is a number.
func (l contentList) number(key string) string {
	if l.order.number {
		return key + `::double precision`
	}
	return `0::double precision`
}

// source returns the FROM and WHERE clauses of a list, whose conditions are those given, where it
// starts, and what else the index of its order finds. numbers says that the conditions need the
// published numbers.
func (l contentList) source(where *conditions, numbers bool) string {
	where.contents(l.seek)
	l.after(where, l.order.key, l.order.id)
	return l.order.from + joined(numbers && !l.order.number) + ` WHERE ` + where.String()
}

func (l contentList) after(where *conditions, key, id string) {
	if l.After != nil {
		where.add(`(`+key+`, `+id+`) `+l.follows+` (?, ?)`, l.order.value(*l.After), l.After.ID)
	}
}

func (l contentList) by(key, id string) string {
	return ` ORDER BY ` + key + ` ` + l.way + `, ` + id + ` ` + l.way
}

// served returns the statement of a list that an index serves, or that may read any number of
// rows.
func (l contentList) served() (text string, args []any, ok bool) {
	var where conditions
	numbers := where.contents(l.rest)
	text = `SELECT ` + contentColumns + `, ` + l.number(l.order.key) + ` AS number, false AS beyond FROM ` +
		l.source(&where, numbers) + l.by(l.order.key, l.order.id)
	return text + where.bind(` LIMIT ?`, l.Limit), where.args, l.rest.IsZero() || l.MaxRows == 0
}

// window returns the statement that finds the page among the next rows in the order of the
// list, and returns the row after them too if it gets there.
func (l contentList) window(rows int) statement {
	var where, hit conditions
	numbers := hit.contents(l.rest)
	hits := hit.String()
	where.args = hit.args
	by, last := l.by(l.order.key, l.order.id), strconv.Itoa(rows)
	text := `SELECT id, title, description, author, version, created_at, updated_at, number,
		row > ` + last + ` AS beyond FROM (SELECT ` + contentColumns + `, ` + l.order.key + ` AS key, ` +
		l.number(l.order.key) + ` AS number, ` + hits + ` AS hit, row_number() OVER (` + by + `) AS row FROM ` +
		l.source(&where, numbers) + by + ` LIMIT ` + strconv.Itoa(rows+1) + `) w
		WHERE hit OR row > ` + last + l.by(`key`, `id`) + where.bind(` LIMIT ?`, l.Limit)
	return statement{text, where.args}
}

// contentParts returns the parts of f that an index of contents finds them by.
func contentParts(f content.Filter) []content.FilterPart {
	return slices.DeleteFunc(f.Parts(), func(p content.FilterPart) bool { return p.Indexed.RatingsMin > 0 })
}

// gathered returns the statement that finds the page in all of a part. It returns a row more
// if the part has too many contents.
func (l contentList) gathered(p content.FilterPart) statement {
	with, where := gatherContents(p.Indexed, l.MaxRows)
	numbers := where.contents(p.Rest)
	l.after(&where, l.order.key, `c.id`)
	text := with + ` SELECT id, title, description, author, version, created_at, updated_at, number, beyond FROM (
		SELECT ` + contentColumns + `, p.key, p.number, false AS beyond FROM (
			SELECT c.id, ` + l.order.key + ` AS key, ` + l.number(l.order.key) + ` AS number FROM m c` +
		joined(numbers || l.order.number) + ` WHERE ` + where.String() + l.by(l.order.key, `c.id`)
	text += where.bind(` LIMIT ?`, l.Limit) + `) p JOIN khodnevis.contents c ON c.id = p.id
		UNION ALL SELECT '', '', '', '', 0, now(), now(), NULL, 0, true WHERE (SELECT count(*)
			FROM m) > ` + strconv.Itoa(l.MaxRows) + `) x` + l.by(`key`, `id`)
	return statement{text, where.args}
}

// gatherContents returns the beginning of a statement that has the contents of a part as m, or one
// more than maxRows of them, and the arguments so far. The bound stands apart from the condition,
// lest the server go through the table in the hope of reaching it soon.
func gatherContents(part content.Filter, maxRows int) (with string, where conditions) {
	where.contents(part)
	with = `WITH part AS MATERIALIZED (SELECT c.id, c.title_key, c.terms, c.author, c.created_at, c.updated_at
		FROM khodnevis.contents c WHERE ` +
		where.String() + `), m AS MATERIALIZED (SELECT * FROM part LIMIT ` + strconv.Itoa(maxRows+1) + `)`
	return with, conditions{args: where.args}
}

// ListContents implements content.Store.
//
// A list that an index serves, filter and order alike, costs its page. Any other one is looked for
// in two ways: among the next MaxRows contents in its order, until the page is full, and among the
// contents that one of its conditions leaves, if they are no more than that. The server's
// statistics say which way is tried first.
func (s *Store) ListContents(ctx context.Context, q content.Query) ([]content.Listed, error) {
	l, err := newContentList(q)
	if err != nil {
		return nil, err
	}
	var found []listedRow
	if text, args, ok := l.served(); ok {
		err = s.list(ctx, &found, text, args...)
	} else {
		found, err = s.scanContents(ctx, l)
	}
	if err != nil {
		return nil, fmt.Errorf("pgstore: list contents by %s: %w", q.Order.Field, err)
	}
	return rows.All(found, func(r listedRow) content.Listed {
		return r.Content.Content().Listed(q.Order.Field, r.Number)
	}), nil
}

func (s *Store) scanContents(ctx context.Context, l contentList) ([]listedRow, error) {
	var all []gathering
	for _, p := range contentParts(l.Filter) {
		if !p.Indexed.IsZero() { // the window has all contents if they are few
			all = append(all, gathering{contentRows(p.Indexed), l.gathered(p)})
		}
	}
	return scan[listedRow](ctx, s, l.MaxRows, all, l.window(l.MaxRows+l.Limit))
}

// contentRows are the contents of a part, for an estimate.
func contentRows(part content.Filter) statement {
	var where conditions
	where.contents(part)
	return statement{`SELECT FROM khodnevis.contents c WHERE ` + where.String(), where.args}
}

// CountContents implements content.Store.
func (s *Store) CountContents(ctx context.Context, f content.Filter, maxRows int) (int64, error) {
	var where conditions
	numbers := where.contents(f)
	from := statement{`FROM khodnevis.contents c` + joined(numbers) + ` WHERE ` + where.String(), where.args}
	indexed := false
	var all []gathering
	for _, p := range contentParts(f) {
		indexed = indexed || p.Rest.IsZero()
		with, where := gatherContents(p.Indexed, maxRows)
		numbers := where.contents(p.Rest)
		all = append(all, gathering{contentRows(p.Indexed),
			statement{with + ` SELECT CASE WHEN (SELECT count(*) FROM m) > ` +
				strconv.Itoa(maxRows) + ` THEN -1 ELSE (SELECT count(*) FROM m c` + joined(numbers) + ` WHERE ` +
				where.String() + `) END`, where.args}})
	}
	n, err := s.count(ctx, maxRows, from, indexed, all)
	if err != nil {
		return 0, fmt.Errorf("pgstore: count contents: %w", err)
	}
	return n, nil
}
