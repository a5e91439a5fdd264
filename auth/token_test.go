package auth_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/khodnevis/khodnevis/auth"
)

// A16: a token is a prefix, 32 random bytes and a checksum, and stored as its SHA-256.
func TestToken(t *testing.T) {
	t.Parallel()
	for kind, prefix := range map[auth.Kind]string{auth.Access: "kha_", auth.Refresh: "khr_"} {
		seen := map[string]bool{}
		for range 100 {
			s, hash := auth.NewToken(kind)
			if seen[s] {
				t.Fatal("the same token twice")
			}
			seen[s] = true
			body, sum := s[:len(s)-8], s[len(s)-8:]
			raw, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimPrefix(body, prefix))
			if err != nil || len(raw) != 32 || !strings.HasPrefix(s, prefix) ||
				sum != fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(body))) {
				t.Fatalf("%s is not formed as documented", s)
			}
			if got, ok := auth.ParseToken(s, kind); !ok || got != hash || hash != auth.Hash(sha256.Sum256([]byte(s))) {
				t.Fatalf("%s is not taken, or has another hash", s)
			}
			for i := range len(s) {
				for _, c := range []byte{s[i] ^ 1, '=', '\n', 0} {
					junk := s[:i] + string(c) + s[i+1:]
					if _, ok := auth.ParseToken(junk, kind); ok && junk != s {
						t.Fatalf("%q is taken", junk)
					}
				}
			}
		}
	}
	access, _ := auth.NewToken(auth.Access)
	body := "kha_" + strings.Repeat("A", 42) + "B" // with bits beyond the 32 bytes, so that some token has two spellings
	if _, ok := auth.ParseToken(fmt.Sprintf("%s%08x", body, crc32.ChecksumIEEE([]byte(body))), auth.Access); ok {
		t.Error("bits that mean nothing are taken")
	}
	if _, ok := auth.ParseToken(access, auth.Refresh); ok {
		t.Error("an access token is taken for a refresh token")
	}
	if _, ok := auth.ParseToken("khr_"+access[4:], auth.Refresh); ok {
		t.Error("the checksum does not cover the prefix")
	}
}

// A16: refresh tokens of a session have half of their bytes in common, and the other half of their
// own.
func TestRefreshTokensOfASession(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	e.register("alice")
	one, other := e.login("alice"), e.login("alice")
	halves := func(token string) (family, own string) {
		raw, err := base64.RawURLEncoding.DecodeString(token[4 : len(token)-8])
		if err != nil || len(raw) != 32 {
			t.Fatalf("%q: %v", token, err)
		}
		return string(raw[:16]), string(raw[16:])
	}
	family, own := halves(one.Refresh)
	nextFamily, nextOwn := halves(e.mustRefresh(one.Refresh).Refresh)
	otherFamily, otherOwn := halves(other.Refresh)
	if nextFamily != family || otherFamily == family || own == nextOwn || own == otherOwn {
		t.Errorf("%x %x, then %x %x, of another session %x %x", family, own, nextFamily, nextOwn, otherFamily, otherOwn)
	}
}

// FuzzBearer (A16): no header panics, and what is accepted is a scheme, spaces and one well-formed
// token.
func FuzzBearer(f *testing.F) {
	token, _ := auth.NewToken(auth.Access)
	refresh, _ := auth.NewToken(auth.Refresh)
	for _, s := range []string{
		"", "Bearer", "Bearer ", "Bearer  " + token, "bearer " + token, "BEARER " + token, "Bearer " + token + " ",
		"Bearer\t" + token,
		"Bearer " + refresh, "Basic dXNlcjpwYXNz", token, "Bearer " + token + "," + token, "Bearer " + token[:54] + "\n",
		"Bearer kha_" + strings.Repeat("=", 51),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		hash, ok := auth.ParseBearer(value)
		if !ok {
			return
		}
		scheme, rest, _ := strings.Cut(value, " ")
		token := strings.TrimLeft(rest, " ")
		if !strings.EqualFold(scheme, "bearer") || len(token) != 55 || hash != auth.Hash(sha256.Sum256([]byte(token))) {
			t.Errorf("%q is accepted", value)
		}
	})
}
