package kvstore

import (
	"iter"
	"math"
)

// budget is how many rows a query may still look at, beside the rows that it returns.
type budget struct {
	rows     int
	exceeded bool // the query needed more rows and has stopped
}

// newBudget returns a budget of rows; 0 is no bound.
func newBudget(rows int) *budget {
	if rows == 0 {
		rows = math.MaxInt
	}
	return &budget{rows: rows}
}

// spend reports whether the query may look at one more row.
func (b *budget) spend() bool {
	if b.rows == 0 {
		b.exceeded = true
		return false
	}
	b.rows--
	return true
}

// refund gives back the cost of a row that the query returns.
func (b *budget) refund() { b.rows++ }

// budgets ranges over the budgets that several plans of one query are tried with, in turns: four
// times as much each time, and maxRows at last. So the query costs a small multiple of its cheapest
// plan, whichever that is. A maxRows of 0 is no bound.
func budgets(maxRows int) iter.Seq[int] {
	return func(yield func(int) bool) {
		if maxRows == 0 {
			maxRows = math.MaxInt
		}
		for rows := 64; rows < maxRows; rows *= 4 {
			if !yield(rows) || rows > math.MaxInt/4 {
				return
			}
		}
		yield(maxRows)
	}
}

// oneMore returns where a count stops: one past maxRows, or never if maxRows is 0.
func oneMore(maxRows int) int {
	if maxRows == 0 {
		return 0
	}
	return maxRows + 1
}

// count returns how many items there are, and stops at most, unless most is 0.
func count[T any](items iter.Seq[T], most int) (n int) {
	for range items {
		if n++; n == most {
			break
		}
	}
	return n
}
