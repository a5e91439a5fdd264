// Package unstorable holds the error that says "never". The domain packages and store export it under their own names, all the
// same value, so that an adapter can wrap any of them and every caller recognises it.
package unstorable

import "errors"

// Err says that a database will never take what it was given, however often it is tried.
var Err = errors.New("unstorable")
