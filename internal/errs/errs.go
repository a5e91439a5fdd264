// Package errs holds the errors that all ports share. The domain packages and store export each
// under a name of their own, all the same value, so that an adapter can wrap any of them and every
// caller recognizes it.
package errs

import (
	"errors"
	"fmt"
)

var (
	// ErrUnavailable says that a dependency does not respond or has no capacity. It is transient: a
	// retry may succeed.
	ErrUnavailable = errors.New("unavailable")
	// ErrFull is an ErrUnavailable that lasts until somebody makes room on a disk.
	ErrFull = fmt.Errorf("no space is left: %w", ErrUnavailable)
	// ErrUnstorable says that a database rejects the value. It is permanent: a retry fails as well.
	ErrUnstorable = errors.New("unstorable")
	// ErrTooBroad says that a store would read too many rows to answer a query.
	ErrTooBroad = errors.New("the query is too broad")
)

// MaxRows is how many rows the services allow a store to read for one query.
const MaxRows = 10_000
