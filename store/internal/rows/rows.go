// Package rows has the rows that the stores in SQL read, and what they stand for.
package rows

import (
	"fmt"
	"time"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
)

// Time is in UTC. It is stored as a time, or as microseconds since 1970.
type Time struct{ time.Time }

// Scan implements sql.Scanner.
func (t *Time) Scan(v any) error {
	switch v := v.(type) {
	case time.Time:
		t.Time = v.UTC()
	case int64:
		t.Time = time.UnixMicro(v).UTC()
	default:
		return fmt.Errorf("a time is a %T", v)
	}
	return nil
}

// All returns what each of rows stands for.
func All[R, T any](rows []R, of func(R) T) []T {
	all := make([]T, len(rows))
	for i, r := range rows {
		all[i] = of(r)
	}
	return all
}

// Content is a row of contents.
type Content struct {
	ID          string `db:"id"`
	Title       string `db:"title"`
	Description string `db:"description"`
	Author      string `db:"author"`
	Version     int64  `db:"version"`
	CreatedAt   Time   `db:"created_at"`
	UpdatedAt   Time   `db:"updated_at"`
}

// Content returns what r stands for.
func (r Content) Content() content.Content {
	return content.Content{
		ID: r.ID, Title: r.Title, Description: r.Description, Author: r.Author, Version: r.Version,
		CreatedAt: r.CreatedAt.Time, UpdatedAt: r.UpdatedAt.Time,
	}
}

// IdempotencyRecord is a row of creations without its key.
type IdempotencyRecord struct {
	Request []byte `db:"request"`
	Content string `db:"content_id"`
	At      Time   `db:"at"`
}

// Of returns what r stands for, under its key.
func (r IdempotencyRecord) Of(author string, key content.Hash) content.IdempotencyRecord {
	c := content.IdempotencyRecord{Author: author, Key: key, Content: r.Content, At: r.At.Time}
	copy(c.Request[:], r.Request)
	return c
}

// Rating is a row of ratings.
type Rating struct {
	Content   string        `db:"content_id"`
	Rater     string        `db:"rater"`
	Epoch     int64         `db:"epoch"`
	Position  int64         `db:"position"`
	Score     int           `db:"score"`
	Bucket    int           `db:"bucket"`
	Result    rating.Result `db:"result"`
	CreatedAt Time          `db:"created_at"`
	UpdatedAt Time          `db:"updated_at"`
}

// Rating returns what r stands for.
func (r Rating) Rating() rating.Rating {
	return rating.Rating{
		Key:     rating.Key{Content: r.Content, Rater: r.Rater},
		Version: rating.Version{Epoch: r.Epoch, Offset: r.Position},
		Score:   r.Score, Bucket: r.Bucket, Result: r.Result, Withdrawn: r.Result == rating.Withdrawn,
		CreatedAt: r.CreatedAt.Time, UpdatedAt: r.UpdatedAt.Time,
	}
}

// Cell is how many ratings of a content have one score and count in one bucket.
type Cell struct {
	Bucket int   `db:"bucket"`
	Score  int   `db:"score"`
	N      int64 `db:"n"`
}

// Tally returns what rows stand for.
func Tally(rows []Cell) rating.Tally {
	t := rating.Tally{}
	for _, r := range rows {
		t.AddMany(score.Cell{Bucket: r.Bucket, Score: r.Score}, r.N)
	}
	return t
}

// Window is a row of windows.
type Window struct {
	Content   string       `db:"content_id"`
	ID        string       `db:"id"`
	Ruling    score.Ruling `db:"ruling"`
	From      Time         `db:"from_at"`
	Until     Time         `db:"until_at"`
	First     int          `db:"first_bucket"`
	Last      int          `db:"last_bucket"`
	Note      string       `db:"note"`
	By        string       `db:"made_by"`
	CreatedAt Time         `db:"created_at"`
}

// Window returns what r stands for.
func (r Window) Window() rating.Window {
	return rating.Window{
		ID: r.ID, Content: r.Content, Ruling: r.Ruling, From: r.From.Time, Until: r.Until.Time,
		First: r.First, Last: r.Last, Note: r.Note, By: r.By, CreatedAt: r.CreatedAt.Time,
	}
}

// HistoryStart is when the history of a content starts.
type HistoryStart struct {
	Content string `db:"content_id"`
	At      Time   `db:"opened_at"`
}

// Erasure is a row of departures.
type Erasure struct {
	Rater string             `db:"rater"`
	Mode  rating.ErasureMode `db:"fate"`
	At    Time               `db:"at"`
}

// Erasure returns what r stands for.
func (r Erasure) Erasure() rating.Erasure {
	return rating.Erasure{Rater: r.Rater, Mode: r.Mode, At: r.At.Time}
}

// DeadLetter is a row of rejected.
type DeadLetter struct {
	ID       int64  `db:"id"`
	Stream   string `db:"stream"`
	Position int64  `db:"position"`
	Key      []byte `db:"key"`
	Body     []byte `db:"body"`
	Reason   string `db:"reason"`
	Detail   []byte `db:"detail"`
	At       Time   `db:"at"`
}

// DeadLetter returns what r stands for.
func (r DeadLetter) DeadLetter() rating.DeadLetter {
	return rating.DeadLetter{
		ID: r.ID, Position: queue.Position{Stream: r.Stream, Offset: r.Position}, Key: string(r.Key), Body: r.Body,
		Reason: r.Reason, Detail: string(r.Detail), At: r.At.Time,
	}
}

// User is a row of users.
type User struct {
	ID           string `db:"id"`
	Username     string `db:"username"`
	Canonical    string `db:"canonical"`
	Email        string `db:"email"`
	PasswordHash string `db:"password_hash"`
	Staff        bool   `db:"staff"`
	Disabled     bool   `db:"disabled"`
	Version      int64  `db:"version"`
	JoinedAt     Time   `db:"joined_at"`
	UpdatedAt    Time   `db:"updated_at"`
}

// UserColumns are those of User.
const UserColumns = `id, username, canonical, email, password_hash, staff, disabled, version, joined_at, updated_at`

// User returns what r stands for.
func (r User) User() auth.User {
	return auth.User{
		ID: r.ID, Username: r.Username, Canonical: r.Canonical, Email: r.Email, PasswordHash: r.PasswordHash,
		Staff: r.Staff, Disabled: r.Disabled, Version: r.Version, JoinedAt: r.JoinedAt.Time,
		UpdatedAt: r.UpdatedAt.Time,
	}
}

// Session is a row of sessions.
type Session struct {
	ID         string `db:"id"`
	User       string `db:"user_id"`
	Label      string `db:"label"`
	Generation int64  `db:"generation"`
	Siblings   int    `db:"siblings"`
	Version    int64  `db:"version"`
	CreatedAt  Time   `db:"created_at"`
	RotatedAt  Time   `db:"rotated_at"`
	IdleAt     Time   `db:"idle_at"`
	ExpiresAt  Time   `db:"expires_at"`
}

// Session returns what r stands for.
func (r Session) Session() auth.Session {
	return auth.Session{
		ID: r.ID, User: r.User, Label: r.Label, Generation: r.Generation, Siblings: r.Siblings, Version: r.Version,
		CreatedAt: r.CreatedAt.Time, RotatedAt: r.RotatedAt.Time, IdleAt: r.IdleAt.Time, ExpiresAt: r.ExpiresAt.Time,
	}
}

// Grant is a token with its session and its user.
type Grant struct {
	Kind       auth.Kind `db:"kind"`
	Generation int64     `db:"token_generation"`
	ExpiresAt  Time      `db:"token_expires_at"`
	Session    Session   `db:"session"`
	User       User      `db:"owner"`
}

// GrantColumns are those of Grant, but for the user of the session: of tokens t, sessions n and
// users u.
const GrantColumns = `t.kind, t.generation AS token_generation, t.expires_at AS token_expires_at,
	n.id AS "session.id", n.label AS "session.label", n.generation AS "session.generation", n.siblings
		AS "session.siblings",
	n.version AS "session.version", n.created_at AS "session.created_at", n.rotated_at AS "session.rotated_at",
	n.idle_at AS "session.idle_at", n.expires_at AS "session.expires_at",
	u.id AS "session.user_id", u.id AS "owner.id", u.username AS "owner.username", u.canonical AS "owner.canonical",
	u.email AS "owner.email", u.password_hash AS "owner.password_hash", u.staff AS "owner.staff",
	u.disabled AS "owner.disabled", u.version AS "owner.version", u.joined_at AS "owner.joined_at", u.updated_at
		AS "owner.updated_at"`

// Of returns what r stands for, under the hash of its token.
func (r Grant) Of(hash auth.Hash) auth.Grant {
	return auth.Grant{
		Token: auth.Token{Hash: hash, Session: r.Session.ID, Kind: r.Kind, Generation: r.Generation,
			ExpiresAt: r.ExpiresAt.Time},
		Session: r.Session.Session(), User: r.User.User(),
	}
}
