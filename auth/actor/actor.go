// Package actor says who acts, to all packages that decide what a user may do. It imports the
// standard library alone.
package actor

// Actor is the user who acts.
type Actor struct {
	// User is the identifier of the acting user.
	User string
	// Staff may change and delete every content, withdraw every rating and read every task.
	Staff bool
}
