package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/rating"
)

// shelf is what lists of contents are compared with: contents and their numbers, searched in the
// plainest way.
type shelf struct {
	contents []content.Content
	stats    map[string]rating.Stats
}

// find returns the contents that match f, in order.
func (sh shelf) find(f content.Filter, o content.Order) []content.Content {
	var found []content.Content
	for _, c := range sh.contents {
		if sh.matches(c, f) {
			found = append(found, c)
		}
	}
	slices.SortFunc(found, func(a, b content.Content) int {
		c := cmp.Or(sh.compare(a, b, o.Field), strings.Compare(a.ID, b.ID))
		if o.Desc {
			return -c
		}
		return c
	})
	return found
}

func (sh shelf) matches(c content.Content, f content.Filter) bool {
	terms := c.Terms()
	for _, term := range f.Terms {
		if !slices.Contains(terms, term) {
			return false
		}
	}
	stats := sh.stats[c.ID]
	value, scored := stats.Score.Value, stats.Score.Counted > 0
	return (f.Author == "" || c.Author == f.Author) &&
		(f.CreatedFrom.IsZero() || !c.CreatedAt.Before(f.CreatedFrom)) &&
		(f.CreatedBefore.IsZero() || c.CreatedAt.Before(f.CreatedBefore)) &&
		(f.UpdatedFrom.IsZero() || !c.UpdatedAt.Before(f.UpdatedFrom)) &&
		(f.UpdatedBefore.IsZero() || c.UpdatedAt.Before(f.UpdatedBefore)) &&
		(f.ScoreMin == nil || scored && value >= *f.ScoreMin) &&
		(f.ScoreMax == nil || scored && value <= *f.ScoreMax) &&
		stats.Count >= f.RatingsMin
}

func (sh shelf) compare(a, b content.Content, field content.Field) int {
	x, y := sh.cursor(a, field), sh.cursor(b, field)
	return cmp.Or(x.Time.Compare(y.Time), strings.Compare(x.Text, y.Text), cmp.Compare(x.Number, y.Number))
}

// position returns the place of c; what the field does not use is zero.
func (sh shelf) cursor(c content.Content, field content.Field) content.Cursor {
	p := content.Cursor{ID: c.ID}
	switch field {
	case content.ByCreated:
		p.Time = c.CreatedAt
	case content.ByUpdated:
		p.Time = c.UpdatedAt
	case content.ByTitle:
		p.Text = c.SortTitle()
	case content.ByScore:
		p.Number = sh.stats[c.ID].Score.Rank
	case content.ByRatings:
		p.Number = float64(sh.stats[c.ID].Count)
	}
	return p
}

// orders returns every order that a list can have.
func orders() []content.Order {
	var all []content.Order
	for _, field := range content.Fields() {
		all = append(all, content.Order{Field: field}, content.Order{Field: field, Desc: true})
	}
	return all
}

// checkList pages through a list of the store and compares it, its positions and its count.
func (sh shelf) checkList(ctx context.Context, s content.Store, f content.Filter, o content.Order, limit int) error {
	wanted := sh.find(f, o)
	err := func() error {
		listed, err := allContents(ctx, s, content.Query{Filter: f, Order: o, Limit: limit})
		if err != nil {
			return err
		}
		for i := range min(len(listed), len(wanted)) {
			if listed[i].ID != wanted[i].ID {
				return fmt.Errorf("place %d is content %s, want %s", i, sh.describe(listed[i].ID, o.Field),
					sh.describe(wanted[i].ID, o.Field))
			}
			if listed[i].Content != wanted[i] {
				return fmt.Errorf("content %s is not what was stored", wanted[i].ID)
			}
			if got, p := listed[i].Cursor, sh.cursor(wanted[i], o.Field); got.ID != p.ID ||
				got.Time != p.Time && !p.Time.IsZero() || got.Text != p.Text || got.Number != p.Number {
				return fmt.Errorf("the position of content %s is %#v, want %#v", wanted[i].ID, got, p)
			}
		}
		n, err := s.CountContents(ctx, f, 0)
		return errors.Join(err, want("contents listed", len(listed), len(wanted)),
			want("contents counted", n, int64(len(wanted))))
	}()
	if err != nil {
		return fmt.Errorf("%s by %s, descending %t, in pages of %d: %w", show(f), o.Field, o.Desc, limit, err)
	}
	return nil
}

func (sh shelf) describe(id string, field content.Field) string {
	i := slices.IndexFunc(sh.contents, func(c content.Content) bool { return c.ID == id })
	if i < 0 {
		return id + " (unknown)"
	}
	return fmt.Sprintf("%#v", sh.cursor(sh.contents[i], field))
}
