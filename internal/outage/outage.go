// Package outage holds the error that says "not now". The domain packages and store export it under their own names, all the
// same value, so that an adapter can wrap any of them and every caller recognises it.
package outage

import "errors"

// Err says that a dependency does not answer, or has no room: trying again later may succeed.
var Err = errors.New("unavailable")
