// Package auth keeps users and their sessions: registration, login, rotating refresh tokens,
// logout.
//
// A Service holds the rules above a Store, the port that adapters implement. A host with users of
// its own implements Authenticator instead and needs nothing else of this package.
//
// # Errors
//
// The exported errors are compared with errors.Is; input that breaks a rule is a *ValidationError.
// Everything else is a failure of the store.
//
// # Concurrency
//
// A Service may be used concurrently, and in any number of processes on the same store.
package auth

import (
	"errors"
	"time"
)

var (
	// ErrNotFound says that there is no such user or session.
	ErrNotFound = errors.New("auth: not found")
	// ErrConflict says that the user or session was changed since it was read.
	ErrConflict = errors.New("auth: conflict")
	// ErrUsernameTaken says that a user has this name, or had it and was deleted.
	ErrUsernameTaken = errors.New("auth: username taken")
)

// User is an account.
type User struct {
	// ID is a UUIDv7 in text form.
	ID string
	// Username is the name as shown; Canonical is the form in which names are compared and unique,
	// across deleted users too.
	Username, Canonical string
	// Email is unverified and may be empty. Several users may have the same.
	Email string
	// PasswordHash is an argon2id hash in PHC string form. It never leaves the process.
	PasswordHash string
	// Staff may moderate. Disabled users cannot log in, and their sessions are refused.
	Staff, Disabled bool
	// Version starts at 1 and grows by 1 with every change.
	Version int64
	// JoinedAt and UpdatedAt are UTC, cut to microseconds.
	JoinedAt, UpdatedAt time.Time
}
