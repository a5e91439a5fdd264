package pgstore

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strconv"

	"github.com/khodnevis/khodnevis/internal/errs"
	"github.com/khodnevis/khodnevis/internal/semaphore"
)

// statement is a text and what is bound to it.
type statement struct {
	text string
	args []any
}

// gathering finds the matches of a filter among all rows that one condition of the filter leaves.
type gathering struct {
	rows  statement // those rows, whose number the server estimates
	found statement // the matches, and a mark if there are too many rows
}

// bounded is a row of a list, or the mark that not all rows were read.
type bounded struct {
	Beyond bool `db:"beyond"`
}

func (b bounded) beyond() bool { return b.Beyond }

// scan finds a page of a list without reading many more than maxRows rows at a time: by the
// gatherings that promise few rows, and by window, which reads the next maxRows rows in the order
// of the list. Where few rows are left, gathering them is quickest; where many are, the first of
// them are soon found in the window.
func scan[R interface{ beyond() bool }](ctx context.Context, s *Store, maxRows int, all []gathering,
	window statement) ([]R, error) {
	end, err := s.scanning(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	estimates := make(map[int]int, len(all))
	var order []int
	for i, g := range all {
		if estimates[i], err = s.estimate(ctx, g.rows); err != nil {
			return nil, err
		}
		if estimates[i] <= doubt*maxRows {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(estimates[a], estimates[b]) })
	tries := []statement{window}
	for n, i := range order {
		if n == 0 && estimates[i] <= maxRows/10 {
			tries = []statement{all[i].found, window}
		} else {
			tries = append(tries, all[i].found)
		}
	}
	for _, try := range tries {
		var rows []R
		if err := s.list(ctx, &rows, try.text, try.args...); err != nil || !slices.ContainsFunc(rows, R.beyond) {
			return rows, err
		}
	}
	return nil, errs.ErrTooBroad
}

// count counts the rows of a FROM clause, up to maxRows+1; indexed says that an index has them. The
// others it gathers: the statements of all give a number, or -1 if there are too many rows.
func (s *Store) count(ctx context.Context, maxRows int, from statement, indexed bool, all []gathering) (int64,
	error) {
	end, err := s.scanning(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	switch {
	case maxRows == 0:
		return s.number(ctx, statement{`SELECT count(*) ` + from.text, from.args})
	case indexed:
		text := `SELECT count(*) FROM (SELECT ` + from.text + ` LIMIT ` + strconv.Itoa(maxRows+1) + `) x`
		return s.number(ctx, statement{text, from.args})
	}
	for _, g := range all {
		if n, err := s.estimate(ctx, g.rows); err != nil {
			return 0, err
		} else if n > doubt*maxRows {
			continue
		}
		if n, err := s.number(ctx, g.found); err != nil || n >= 0 {
			return n, err
		}
	}
	return 0, errs.ErrTooBroad
}

// list is search for lists and counts. It waits for one of the connections that lists may take.
func (s *Store) list(ctx context.Context, rows any, text string, args ...any) error {
	if err := acquire(ctx, s.lists); err != nil {
		return err
	}
	defer s.lists.Release()
	return s.search(ctx, rows, text, args...)
}

// scanning waits for one of the slots of lists and counts that read many rows, and returns the
// function that frees it.
func (s *Store) scanning(ctx context.Context) (end func(), err error) {
	if err := acquire(ctx, s.scans); err != nil {
		return nil, err
	}
	return s.scans.Release, nil
}

// acquire waits for a free slot.
func acquire(ctx context.Context, among semaphore.Semaphore) error {
	err := among.Acquire(ctx)
	if err != nil && ctx.Err() != nil {
		return over(ctx)
	}
	return err
}

// doubt is the factor by which the server may overestimate the number of rows.
const doubt = 2

// estimate returns how many rows the server expects a query to have.
func (s *Store) estimate(ctx context.Context, rows statement) (int, error) {
	var found []string
	if err := s.list(ctx, &found, `EXPLAIN (FORMAT JSON) `+rows.text, rows.args...); err != nil {
		return 0, err
	}
	var plans []struct {
		Plan struct {
			Rows float64 `json:"Plan Rows"`
		}
	}
	if err := json.Unmarshal([]byte(found[0]), &plans); err != nil {
		return 0, err
	}
	return int(plans[0].Plan.Rows), nil
}

// number returns the one number that a query has.
func (s *Store) number(ctx context.Context, st statement) (int64, error) {
	var n []int64
	if err := s.list(ctx, &n, st.text, st.args...); err != nil {
		return 0, err
	}
	return n[0], nil
}
