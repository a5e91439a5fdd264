package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"hash/crc32"
	"strings"
)

// A token is its prefix, 32 random bytes in base64url, and the CRC-32 of both in hexadecimal: junk, typing errors and tokens
// of other services are refused without asking the store, and scanners can find a leaked one by its prefix.
const (
	accessPrefix  = "kha_"
	refreshPrefix = "khr_"
	tokenBytes    = 32
	tokenText     = 43 // tokenBytes in unpadded base64url
	tokenLen      = len(accessPrefix) + tokenText + 2*crc32.Size
)

// newToken returns a fresh token of a kind and its hash.
func newToken(kind Kind) (string, Hash) {
	var b [tokenBytes]byte
	rand.Read(b[:])
	s := prefixOf(kind) + base64.RawURLEncoding.EncodeToString(b[:])
	s += checksum(s)
	return s, sha256.Sum256([]byte(s))
}

// parseToken returns the hash of s if it is formed like a token of this kind.
func parseToken(s string, kind Kind) (Hash, bool) {
	if len(s) != tokenLen || !strings.HasPrefix(s, prefixOf(kind)) {
		return Hash{}, false
	}
	body, sum := s[:len(s)-2*crc32.Size], s[len(s)-2*crc32.Size:]
	if sum != checksum(body) {
		return Hash{}, false
	}
	var b [tokenBytes]byte
	if n, err := base64.RawURLEncoding.Strict().Decode(b[:], []byte(body[len(accessPrefix):])); err != nil || n != tokenBytes {
		return Hash{}, false
	}
	return sha256.Sum256([]byte(s)), true
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
