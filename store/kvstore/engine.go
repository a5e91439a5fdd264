package kvstore

import "context"

// Bounds of what a Store puts into an Engine.
const (
	// MaxKey is the greatest length of a key, in bytes; the least is 1.
	MaxKey = 2 << 10
	// MaxValue is the greatest length of a value, in bytes; the least is 0.
	MaxValue = 1 << 20
)

// An Engine keeps values under keys in the bytewise order of the keys. Keys and values are any
// bytes. Methods may be called concurrently. An Engine is right when it passes the suite in package
// kvtest.
//
// An Engine that does not answer or has no room returns an error that wraps store.ErrUnavailable.
type Engine interface {
	// View runs fn on a snapshot: it sees all of an Update or nothing of it, and always the same.
	// An error of fn is returned as it is.
	View(ctx context.Context, fn func(Tx) error) error
	// Update runs fn and keeps what fn did, all of it or, with an error, nothing. Updates are
	// serializable: the result is as if they had run one after the other. An Update that returned
	// nil is seen by every View and Update that begins later, and is as durable as the engine
	// promises. An error of fn is returned as it is, and so is a panic of fn, which keeps nothing.
	//
	// Update may run fn more than once; what counts is the last run. So fn has no effect but
	// through its Tx. A context that is done before fn runs ends View and Update with its error;
	// waiting for other Updates ends with it too.
	Update(ctx context.Context, fn func(Tx) error) error
}

// Tx is what the function of one View or Update works with, on its goroutine and until it returns.
// It sees its own changes.
type Tx interface {
	// Get returns the value of key, and false if there is none. The value may be empty. It stays as
	// it is until the function of the transaction returns, and the caller does not change it.
	Get(key []byte) (value []byte, ok bool, err error)
	// Put replaces the value of key. The engine may keep both slices: the caller never changes them
	// afterwards. In a View it returns an error.
	Put(key, value []byte) error
	// Delete removes key. A missing key is no error. In a View it returns an error.
	Delete(key []byte) error
	// Scan calls yield for the keys from low, included, to high, excluded, in ascending or
	// descending order, until yield returns false. Scan looks at those keys only. An empty high is
	// no bound. The slices are valid until yield returns. The caller may Get and Scan meanwhile,
	// but neither Put nor Delete.
	Scan(low, high []byte, descending bool, yield func(key, value []byte) bool) error
}
