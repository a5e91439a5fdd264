package pgstore

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"

	"github.com/khodnevis/khodnevis/internal/errs"
	"github.com/khodnevis/khodnevis/internal/semaphore"
)

// way is one of looking for a piece of a list: among rows that one condition leaves, about as many
// as the server expects.
type way[R any] struct {
	rows int
	look func() ([]R, error)
}

// scan looks for a piece of a list without looking at many more than maxRows rows at a time: in the
// ways that promise few rows, and by walk, which looks at the next maxRows rows in the order of the
// list. Where few rows are left, gathering them is quickest; where many are, the first of them are
// soon found on the walk. What a look returns is the piece unless beyond reports of its last or
// only row that the look ended before it had it.
func scan[R any](ways []way[R], maxRows int, walk func() ([]R, error), beyond func(R) bool) ([]R, error) {
	slices.SortStableFunc(ways, func(a, b way[R]) int { return cmp.Compare(a.rows, b.rows) })
	looks := []func() ([]R, error){walk}
	for _, w := range ways {
		switch {
		case w.rows <= maxRows/10 && len(looks) == 1:
			looks = append([]func() ([]R, error){w.look}, looks...)
		case w.rows <= doubt*maxRows:
			looks = append(looks, w.look)
		}
	}
	for _, look := range looks {
		rows, err := look()
		if err != nil || !slices.ContainsFunc(rows, beyond) {
			return rows, err
		}
	}
	return nil, errs.TooBroad
}

// list is search for lists and counts: it waits for one of the connections that they may take.
func (s *Store) list(ctx context.Context, rows any, text string, args ...any) error {
	if err := place(ctx, s.lists); err != nil {
		return err
	}
	defer s.lists.Release()
	return s.search(ctx, rows, text, args...)
}

// scanning waits for the turn of a list or a count that looks at many rows, and returns what ends
// it.
func (s *Store) scanning(ctx context.Context) (end func(), err error) {
	if err := place(ctx, s.scans); err != nil {
		return nil, err
	}
	return s.scans.Release, nil
}

// place waits for one.
func place(ctx context.Context, among semaphore.Semaphore) error {
	err := among.Acquire(ctx)
	if err != nil && ctx.Err() != nil {
		return over(ctx)
	}
	return err
}

// doubt is by which factor fewer rows there may be than the server expects.
const doubt = 2

// estimate returns how many rows the server expects a query to have.
func (s *Store) estimate(ctx context.Context, text string, args ...any) (int, error) {
	var found []string
	if err := s.list(ctx, &found, `EXPLAIN (FORMAT JSON) `+text, args...); err != nil {
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
func (s *Store) number(ctx context.Context, text string, args ...any) (int64, error) {
	var n []int64
	if err := s.list(ctx, &n, text, args...); err != nil {
		return 0, err
	}
	return n[0], nil
}
