package auth

import (
	"context"
	"time"
)

// A Store is what a Service needs of a database: UserStore and SessionStore. Methods may be called
// concurrently and share no memory with the caller. Times come and go as UTC with microseconds.
// What a database never takes, such as texts with NUL, it refuses with ErrUnstorable and keeps
// nothing of it; a store that does take it returns it unchanged.
type Store interface {
	UserStore
	SessionStore
}

// UserStore keeps accounts, each with a version for optimistic concurrency control. A name that was
// ever taken stays taken.
type UserStore interface {
	// CreateUser keeps u. ErrUsernameTaken: a user has or had this Canonical name. ErrConflict: the
	// identifier is taken.
	CreateUser(ctx context.Context, u User) error
	// UsersByID returns those of ids that exist, each once, in any order.
	UsersByID(ctx context.Context, ids []string) ([]User, error)
	// UserByName returns the user with this canonical name. ErrNotFound: there is none, or no longer.
	UserByName(ctx context.Context, canonical string) (User, error)
	// ListUsers returns at most limit users with identifiers after the given one, bytewise ascending.
	ListUsers(ctx context.Context, after string, limit int) ([]User, error)
	// UpdateUser replaces e-mail, password hash, flags and time of change of the user with u's
	// identifier if it still has the version u.Version-1, and leaves it with u.Version; names stay.
	// ErrNotFound: there is none. ErrConflict: it has another version. The sessions that end
	// matches are deleted in the same transaction, with their tokens; none if end.User is empty.
	UpdateUser(ctx context.Context, u User, end SessionFilter) error
	// DeleteUser removes the user and all its sessions; the name stays taken. ErrNotFound: there is
	// none.
	DeleteUser(ctx context.Context, d Deletion) error
}

// SessionStore keeps logins and the hashes of their tokens. A session is rotated by its version, so
// that of two callers with one refresh token a single one rotates it.
type SessionStore interface {
	// CreateSession keeps a session and its first tokens. ErrNotFound: the user does not exist.
	CreateSession(ctx context.Context, s Session, tokens []Token) error
	// GrantByToken returns the token with this hash, its session and its user, expired and disabled
	// ones included. ErrNotFound: there is none, or its session or user is gone.
	GrantByToken(ctx context.Context, hash Hash) (Grant, error)
	// RotateSession replaces everything but identifier, user and creation time of the session with
	// s's identifier if it still has the version s.Version-1, leaves it with s.Version, and adds
	// tokens. It removes the access and refresh tokens of the session whose generation is below
	// s.Generation-KeptGenerations. ErrNotFound: there is none. ErrConflict: it has another
	// version.
	RotateSession(ctx context.Context, s Session, tokens []Token) error
	// SessionsByUser returns the sessions of a user, newest first.
	SessionsByUser(ctx context.Context, user string) ([]Session, error)
	// DeleteSessions removes the sessions meant together with their tokens, and returns how many
	// there were.
	DeleteSessions(ctx context.Context, f SessionFilter) (int, error)
	// SweepSessions removes at most limit sessions whose ExpiresAt or IdleAt is before the given
	// time, and all access tokens that expired before it, and returns how many sessions it removed.
	SweepSessions(ctx context.Context, before time.Time, limit int) (int, error)
}

// Deletion is the end of an account.
type Deletion struct {
	// User is the identifier of who leaves.
	User string
	// Ratings is what shall become of the user's ratings, a rating.ErasureMode. Package store says
	// what a Store does with it. Empty: they stay as they are.
	Ratings string
	// At is UTC, cut to microseconds.
	At time.Time
}

// Hash is the SHA-256 of a token. Tokens themselves are never stored.
type Hash [32]byte

// KeptGenerations is of how many generations before the present one the tokens of a session are
// kept.
const KeptGenerations = 16

// Kind is what a token is good for.
type Kind string

// The kinds of tokens.
const (
	Access  Kind = "access"  // authenticates requests
	Refresh Kind = "refresh" // buys the next pair of tokens, once
	Family  Kind = "family"  // is no token, but what all refresh tokens of its session begin with, also deleted ones
)

// Token is a secret that a client has, by its hash.
type Token struct {
	Hash    Hash
	Session string // identifier of its session
	Kind    Kind
	// Generation is the session's when the token was made. A Family has none.
	Generation int64
	// ExpiresAt is UTC, cut to microseconds.
	ExpiresAt time.Time
}

// Session is one login of a user.
type Session struct {
	// ID is a UUIDv7 in text form.
	ID   string
	User string // identifier of the user
	// Label says where the login came from, as the client named itself; at most 200 code points.
	Label string
	// Generation counts the rotations. The refresh token of the present generation is the one to be
	// used next.
	Generation int64
	// Siblings is how many refresh tokens of the present generation there are beyond the first.
	Siblings int
	// Version starts at 1 and grows by 1 with every change.
	Version int64
	// CreatedAt is when the user logged in, RotatedAt when the present generation began, IdleAt
	// when the session ends unless it is refreshed, ExpiresAt when it ends in any case. All are
	// UTC, cut to microseconds.
	CreatedAt, RotatedAt, IdleAt, ExpiresAt time.Time
}

// Grant is a token with what it stands for.
type Grant struct {
	Token   Token
	Session Session
	User    User
}

// SessionFilter says which sessions of a user are meant.
type SessionFilter struct {
	// User is whose sessions are meant. UpdateUser alone takes an empty one, which means none.
	User string
	// Only, if set, is the one session that is meant; Except, if set, is one that is not.
	Only, Except string
}
