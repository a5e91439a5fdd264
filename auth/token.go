package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"hash/crc32"
	"strings"
)

// A token is its prefix, 32 random bytes in base64url, and the CRC-32 of both in hexadecimal: junk,
// typing errors and tokens of other services are refused without asking the store, and scanners can
// find a leaked one by its prefix.
const (
	accessPrefix  = "kha_"
	refreshPrefix = "khr_"
	tokenBytes    = 32
	tokenText     = 43 // tokenBytes in unpadded base64url
	tokenLen      = len(accessPrefix) + tokenText + 2*crc32.Size
)

// family is what all refresh tokens of a session begin with, and no other token. It is as secret as
// they are: who has it had one of them. So a former token is known for one without being kept.
type family [tokenBytes / 2]byte

func newFamily() (f family) {
	rand.Read(f[:])
	return f
}

// hash is under which a family is stored.
func (f family) hash() Hash { return sha256.Sum256(append([]byte("family "), f[:]...)) }

// newToken returns a fresh token of a kind and its hash.
func newToken(kind Kind) (string, Hash) {
	var b [tokenBytes]byte
	rand.Read(b[:])
	return writeToken(kind, b)
}

// newRefresh returns a fresh refresh token of a family and its hash. Half of its bytes are its own,
// which is enough.
func newRefresh(f family) (string, Hash) {
	var b [tokenBytes]byte
	rand.Read(b[copy(b[:], f[:]):])
	return writeToken(Refresh, b)
}

func writeToken(kind Kind, b [tokenBytes]byte) (string, Hash) {
	s := prefixOf(kind) + base64.RawURLEncoding.EncodeToString(b[:])
	s += checksum(s)
	return s, sha256.Sum256([]byte(s))
}

// parseToken returns the hash of s if it is formed like a token of this kind.
func parseToken(s string, kind Kind) (Hash, bool) {
	_, ok := readToken(s, kind)
	if !ok {
		return Hash{}, false
	}
	return sha256.Sum256([]byte(s)), true
}

// parseRefresh returns also the family of a refresh token.
func parseRefresh(s string) (Hash, family, bool) {
	b, ok := readToken(s, Refresh)
	if !ok {
		return Hash{}, family{}, false
	}
	return sha256.Sum256([]byte(s)), family(b[:tokenBytes/2]), true
}

// RefreshFamily returns a name of the session that a refresh token is of, which no other session
// has. It does not reveal the token. It reports false if refresh is not formed like a refresh
// token. Whether there is such a session, it does not say.
func RefreshFamily(refresh string) (string, bool) {
	_, f, ok := parseRefresh(refresh)
	if !ok {
		return "", false
	}
	hash := f.hash()
	return hex.EncodeToString(hash[:]), true
}

func readToken(s string, kind Kind) (b [tokenBytes]byte, ok bool) {
	if len(s) != tokenLen || !strings.HasPrefix(s, prefixOf(kind)) {
		return b, false
	}
	body, sum := s[:len(s)-2*crc32.Size], s[len(s)-2*crc32.Size:]
	if sum != checksum(body) {
		return b, false
	}
	n, err := base64.RawURLEncoding.Strict().Decode(b[:], []byte(body[len(accessPrefix):]))
	return b, err == nil && n == tokenBytes
}

func prefixOf(kind Kind) string {
	if kind == Refresh {
		return refreshPrefix
	}
	return accessPrefix
}

func checksum(s string) string {
	sum := crc32.ChecksumIEEE([]byte(s))
	return hex.EncodeToString([]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
}
