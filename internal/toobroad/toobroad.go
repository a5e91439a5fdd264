// Package toobroad holds the error of a query that costs too much. The domain packages export it
// under their own names, all the same value.
package toobroad

import "errors"

// Err says that a store would have to look at too many rows to answer a query.
var Err = errors.New("the query is too broad")

// MaxRows is how many rows the services let a store look at for one query.
const MaxRows = 10_000
