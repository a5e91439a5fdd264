package sqlitestore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/internal/sqlitefile"
	"github.com/khodnevis/khodnevis/store/internal/rows"
)

// conditions are parts of a WHERE clause and what is bound to them. The texts are constants of this
// package, never input.
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

// and adds the conditions of o.
func (c *conditions) and(o conditions) {
	c.texts, c.args = slices.Concat(c.texts, o.texts), slices.Concat(c.args, o.args)
}

// String returns the conditions as one expression.
func (c conditions) String() string {
	if len(c.texts) == 0 {
		return "TRUE"
	}
	return strings.Join(c.texts, " AND ")
}

// where returns the clause, or nothing when there are no conditions.
func (c conditions) where() string {
	if len(c.texts) == 0 {
		return ""
	}
	return " WHERE " + c.String()
}

// contentOrder is how a list of contents is ordered: two columns that an index holds, and the table
// that the index is on.
type contentOrder struct {
	key, id string
	stats   bool // the index is on rating_stats
	value   func(content.Cursor) any
}

var contentOrders = map[content.Field]contentOrder{
	content.ByCreated: {key: "c.created_at", id: "c.id",
		value: func(p content.Cursor) any { return p.Time.UnixMicro() }},
	content.ByUpdated: {key: "c.updated_at", id: "c.id",
		value: func(p content.Cursor) any { return p.Time.UnixMicro() }},
	content.ByTitle: {key: "c.title_key", id: "c.id",
		value: func(p content.Cursor) any { return []byte(p.Text) }},
	content.ByScore: {key: "s.rank", id: "s.content", stats: true,
		value: func(p content.Cursor) any { return p.Number }},
	content.ByRatings: {key: "s.n", id: "s.content", stats: true,
		value: func(p content.Cursor) any { return p.Number }},
}

// filterContents returns the conditions of f but for its terms, and whether they need rating_stats.
func filterContents(f content.Filter) (cond conditions, stats bool) {
	if f.Author != "" {
		cond.add("c.author = ?", f.Author)
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

// match returns the query for contents that have all terms. Quoted, a term means nothing but
// itself. What is no term matches nothing.
func match(terms []string) string {
	quoted := make([]string, len(terms))
	for i, term := range terms {
		if !slices.Equal(content.Terms(term), []string{term}) {
			return `"` + private + `"`
		}
		quoted[i] = `"` + token(term) + `"`
	}
	return strings.Join(quoted, " AND ")
}

// contentTables returns the FROM clause of a list. Where the order comes from an index on
// rating_stats, that stands first.
func contentTables(order contentOrder, stats bool) string {
	switch {
	case order.stats:
		return "rating_stats s JOIN contents c ON c.id = s.content"
	case stats:
		return "contents c JOIN rating_stats s ON s.content = c.id"
	}
	return "contents c"
}

// contentPart is a part of a filter, and how its index finds the contents.
type contentPart struct {
	content.FilterPart
	from  string
	where conditions
	stats bool // from has rating_stats
}

// contentParts returns the parts of f, and last all contents.
func contentParts(f content.Filter) []contentPart {
	var all []contentPart
	for _, part := range f.Parts() {
		p := contentPart{FilterPart: part, from: "contents c"}
		p.where, p.stats = filterContents(part.Indexed)
		switch in := part.Indexed; {
		case len(in.Terms) > 0:
			p.from = `(SELECT rowid AS num FROM content_terms WHERE content_terms MATCH ?) m
				CROSS JOIN contents c ON c.num = m.num`
			p.where.args = []any{match(in.Terms)}
		case in.Author != "":
			p.from += " INDEXED BY contents_author"
		case !in.CreatedFrom.IsZero() || !in.CreatedBefore.IsZero():
			p.from += " INDEXED BY contents_created"
		case !in.UpdatedFrom.IsZero() || !in.UpdatedBefore.IsZero():
			p.from += " INDEXED BY contents_updated"
		case in.RatingsMin > 0:
			p.from = "rating_stats s INDEXED BY rating_stats_n CROSS JOIN contents c ON c.id = s.content"
		}
		all = append(all, p)
	}
	return all
}

// count returns how many contents p has, or limit if there are as many or more.
func (p contentPart) count(ctx context.Context, tx *sqlx.Tx, limit int) (n int64, err error) {
	text, args := `SELECT count(*) FROM (SELECT 1 FROM `+p.from+p.where.where()+` LIMIT ?)`, p.where.args
	if len(p.Indexed.Terms) > 0 { // without a look at the contents
		text = `SELECT count(*) FROM (SELECT 1 FROM content_terms WHERE content_terms MATCH ? LIMIT ?)`
	}
	err = tx.GetContext(ctx, &n, text, append(slices.Clone(args), limit)...)
	return n, err
}

// few reports whether p can be found by looking at no more than maxRows rows.
func (p contentPart) few(ctx context.Context, tx *sqlx.Tx, maxRows int) (bool, error) {
	if len(p.Indexed.Terms) < 2 {
		n, err := p.count(ctx, tx, maxRows+1)
		return n <= int64(maxRows), err
	}
	for _, word := range p.Indexed.Terms { // what has all words is found by looking at what has the rarest
		one := contentParts(content.Filter{Terms: []string{word}})[0]
		if ok, err := one.few(ctx, tx, maxRows); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// narrow returns the first part of f that is few.
func narrow(ctx context.Context, tx *sqlx.Tx, f content.Filter, maxRows int) (contentPart, bool, error) {
	for _, p := range contentParts(f) {
		if ok, err := p.few(ctx, tx, maxRows); ok || err != nil {
			return p, ok, err
		}
	}
	return contentPart{}, false, nil
}

// among is the condition on rows w that their contents have all terms. It reads the index of the
// terms from the first to the last of the rows, which are those of a span of time if they were made
// one after the other.
const among = `w.num IN (SELECT rowid FROM content_terms WHERE content_terms MATCH ?
	AND rowid BETWEEN (SELECT min(num) FROM w) AND (SELECT max(num) FROM w)
	AND +rowid IN (SELECT num FROM w))`

// ListContents implements content.Store.
//
// A list that an index serves, filter and order alike, costs its page. Any other one is looked for
// among the next contents in its order, some of them first; then in the part of its filter that has
// few contents, if there is one; then among as many contents as it may look at.
func (s *Store) ListContents(ctx context.Context, q content.Query) ([]content.Listed, error) {
	l, err := newContentList(q)
	if err != nil {
		return nil, err
	}
	var found []listedRow
	if text, args, ok := l.served(); ok {
		err = sqlitefile.Error(s.file.Lists().SelectContext(ctx, &found, text, args...))
	} else {
		err = s.file.Scan(ctx, func(tx *sqlx.Tx) error {
			found, err = l.scan(ctx, tx)
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("sqlitestore: list contents: %w", err)
	}
	return rows.All(found, func(r listedRow) content.Listed {
		return r.Content.Content().Listed(q.Order.Field, r.Number)
	}), nil
}

// listedRow is a row of a list of contents; Number is the value of an order by numbers.
type listedRow struct {
	rows.Content
	Number float64 `db:"number"`
}

// contentList puts the statements of a list together.
type contentList struct {
	content.Query
	order  contentOrder
	way    string     // ASC or DESC
	follow conditions // where the piece starts
	seek   conditions // what the index of the order finds by itself
	rest   content.Filter
}

func newContentList(q content.Query) (contentList, error) {
	order, ok := contentOrders[q.Order.Field]
	if !ok {
		return contentList{}, fmt.Errorf("sqlitestore: list contents: no order by %q", q.Order.Field)
	}
	l := contentList{Query: q, order: order, way: "ASC"}
	after := ">"
	if q.Order.Desc {
		l.way, after = "DESC", "<"
	}
	if q.After != nil {
		l.follow.add("("+order.key+", "+order.id+") "+after+" (?, ?)", order.value(*q.After), q.After.ID)
	}
	part := q.Filter.Ordered(q.Order.Field)
	l.seek, _ = filterContents(part.Indexed)
	l.rest = part.Rest
	return l, nil
}

// number is the column of the value of an order by numbers.
func (l contentList) number() string {
	if l.order.stats {
		return l.order.key
	}
	return "0.0"
}

// served returns the statement of a list that an index serves, or that may look at any number of
// rows. It finds the piece first and reads the texts of that only, in case it has to sort.
func (l contentList) served() (text string, args []any, ok bool) {
	cond, stats := filterContents(l.Filter)
	if len(l.Filter.Terms) > 0 {
		cond.add("c.num IN (SELECT rowid FROM content_terms WHERE content_terms MATCH ?)", match(l.Filter.Terms))
	}
	cond.and(l.follow)
	text = l.page(`SELECT c.num, ` + l.order.key + ` AS key, ` + l.order.id + ` AS id, ` + l.number() +
		` AS number FROM ` +
		contentTables(l.order, stats) + cond.where() + ` ORDER BY ` + l.order.key + ` ` + l.way + `, ` + l.order.id +
		` ` + l.way + ` LIMIT ?`)
	return text, append(cond.args, l.Limit), l.MaxRows == 0 || l.rest.IsZero()
}

// page returns the statement that reads the contents of a piece.
func (l contentList) page(piece string) string {
	return `SELECT ` + contentColumns + `, p.number FROM (` + piece +
		`) p CROSS JOIN contents c ON c.num = p.num ORDER BY p.key ` + l.way + `, p.id ` + l.way
}

// firstRows is how many rows a list is looked for among at first: as many as it takes where every
// 20th matches.
const firstRows = 500

// scan looks at about MaxRows rows.
func (l contentList) scan(ctx context.Context, tx *sqlx.Tx) ([]listedRow, error) {
	// terms of contents that were made one after the other lie together
	if len(l.rest.Terms) == 0 || l.Order.Field == content.ByCreated {
		if rows, ok, err := l.next(ctx, tx, min(firstRows, l.MaxRows)+l.Limit); ok || err != nil {
			return rows, err
		}
	}
	part, ok, err := narrow(ctx, tx, l.Filter, l.MaxRows)
	if err != nil {
		return nil, err
	}
	if ok {
		return l.gather(ctx, tx, part)
	}
	rows, ok, err := l.next(ctx, tx, l.MaxRows+l.Limit)
	if err == nil && !ok {
		err = content.ErrTooBroad
	}
	return rows, err
}

// next looks for the piece among the next rows in the order of the list, and reports whether it
// found all of it.
func (l contentList) next(ctx context.Context, tx *sqlx.Tx, rows int) ([]listedRow, bool, error) {
	text, args := l.window(rows)
	var found []listedRow
	if err := tx.SelectContext(ctx, &found, text, args...); err != nil {
		return nil, false, err
	}
	if len(found) == l.Limit {
		return found, true, nil
	}
	cond := l.seek
	cond.and(l.follow)
	var more int
	err := tx.GetContext(ctx, &more, `SELECT count(*) FROM (SELECT 1 FROM `+contentTables(l.order,
		false)+cond.where()+
		` ORDER BY `+l.order.key+` `+l.way+`, `+l.order.id+` `+l.way+` LIMIT 1 OFFSET ?)`,
		append(slices.Clone(cond.args), rows)...)
	return found, more == 0, err
}

// window returns the statement of next.
func (l contentList) window(rows int) (text string, args []any) {
	hit, stats := filterContents(l.rest)
	cond := l.seek
	cond.and(l.follow)
	args = append(slices.Concat(hit.args, cond.args), rows)
	return l.hits(`SELECT c.num, `+l.order.key+` AS key, `+l.order.id+` AS id, `+l.number()+` AS number,
		`+hit.String()+` AS hit FROM `+
		contentTables(l.order,
			stats)+cond.where()+` ORDER BY `+l.order.key+` `+l.way+`, `+l.order.id+` `+l.way+` LIMIT ?`, args,
		l.rest.Terms)
}

// hits returns the statement of the piece among rows, which are put in order unless they are.
func (l contentList) hits(rows string, args []any, terms []string) (string, []any) {
	with, have := `WITH w AS (`, ""
	if len(terms) > 0 {
		with, have = `WITH w AS MATERIALIZED (`, ` AND `+among
		args = append(args, match(terms))
	}
	return with + rows + `) ` +
			l.page(`SELECT w.num, w.key, w.id, w.number FROM w WHERE w.hit`+have+
				` ORDER BY w.key `+l.way+`, w.id `+l.way+` LIMIT ?`),
		append(args, l.Limit)
}

// gather looks for the piece in all of a part.
func (l contentList) gather(ctx context.Context, tx *sqlx.Tx, p contentPart) (found []listedRow, err error) {
	text, args := l.gathered(p)
	err = tx.SelectContext(ctx, &found, text, args...)
	return found, err
}

// gathered returns the statement of gather.
func (l contentList) gathered(p contentPart) (text string, args []any) {
	hit, stats := filterContents(p.Rest)
	hit.and(l.follow)
	return l.hits(`SELECT c.num, `+l.order.key+` AS key, `+l.order.id+` AS id, `+l.number()+` AS number,
		`+hit.String()+` AS hit FROM `+
		p.tables(stats || l.order.stats)+p.where.where(), slices.Concat(hit.args, p.where.args), p.Rest.Terms)
}

// tables returns the FROM clause of a part, with rating_stats if need be.
func (p contentPart) tables(stats bool) string {
	if stats && !p.stats {
		return p.from + " CROSS JOIN rating_stats s ON s.content = c.id"
	}
	return p.from
}

// CountContents implements content.Store.
func (s *Store) CountContents(ctx context.Context, f content.Filter, maxRows int) (n int64, err error) {
	if maxRows == 0 {
		cond, stats := filterContents(f)
		if len(f.Terms) > 0 {
			cond.add("c.num IN (SELECT rowid FROM content_terms WHERE content_terms MATCH ?)", match(f.Terms))
		}
		err = sqlitefile.Error(s.file.Lists().GetContext(ctx, &n,
			`SELECT count(*) FROM `+contentTables(contentOrder{}, stats)+cond.where(), cond.args...))
	} else {
		err = s.file.Scan(ctx, func(tx *sqlx.Tx) error {
			n, err = countContents(ctx, tx, f, maxRows)
			return err
		})
	}
	if err != nil {
		return 0, fmt.Errorf("sqlitestore: count contents: %w", err)
	}
	return n, nil
}

func countContents(ctx context.Context, tx *sqlx.Tx, f content.Filter, maxRows int) (n int64, err error) {
	for _, p := range contentParts(f) {
		if p.Rest.IsZero() {
			return p.count(ctx, tx, maxRows+1)
		}
	}
	p, ok, err := narrow(ctx, tx, f, maxRows)
	if err != nil {
		return 0, err
	}
	if !ok {
		return 0, content.ErrTooBroad
	}
	hit, stats := filterContents(p.Rest)
	text, args := `WITH w AS MATERIALIZED (SELECT c.num, `+hit.String()+` AS hit FROM `+p.tables(
		stats)+p.where.where()+`) SELECT count(*) FROM w WHERE w.hit`,
		slices.Concat(hit.args, p.where.args)
	if len(p.Rest.Terms) > 0 {
		text, args = text+` AND `+among, append(args, match(p.Rest.Terms))
	}
	err = tx.GetContext(ctx, &n, text, args...)
	return n, err
}
