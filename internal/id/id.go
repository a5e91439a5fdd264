// Package id makes and checks the opaque identifiers of contents, users, sessions and requests.
package id

import "github.com/google/uuid"

// MaxLen is the greatest length of an identifier, in bytes.
const MaxLen = 128

// New returns a fresh UUIDv7 in its canonical text form: 36 bytes, ordered by creation time within
// one process (RFC 9562, section 5.7).
func New() string {
	u, err := uuid.NewV7()
	if err != nil {
		panic(err) // only when the operating system's random source is gone: nothing can go on safely
	}
	return u.String()
}

// Valid reports whether s may serve as an identifier: 1 to MaxLen bytes of [A-Za-z0-9_.@|=+-], and
// not "." or "..", which path cleaning would swallow.
func Valid(s string) bool {
	if s == "" || len(s) > MaxLen || s == "." || s == ".." {
		return false
	}
	for i := range len(s) {
		if !letter(s[i]) {
			return false
		}
	}
	return true
}

func letter(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	switch c {
	case '_', '.', '@', '|', '=', '+', '-':
		return true
	}
	return false
}
