package auth_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/khodnevis/khodnevis/auth"
)

func encoded(m, t, p string, salt, key int) string {
	text := func(n int) string { return base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("s", n))) }
	return fmt.Sprintf("$argon2id$v=19$m=%s,t=%s,p=%s$%s$%s", m, t, p, text(salt), text(key))
}

// A5: the codec takes what it writes and nothing else, within its bounds.
func TestParsePHC(t *testing.T) {
	t.Parallel()
	good := encoded("19456", "2", "1", 16, 32)
	for _, s := range []string{
		good, encoded("8", "1", "1", 8, 16), encoded("262144", "10", "4", 64, 64), encoded("32", "1", "4", 16, 32),
	} {
		if _, again, err := auth.ParsePHC(s); err != nil || again != s {
			t.Errorf("%s: %s, %v", s, again, err)
		}
	}
	for name, s := range map[string]string{
		"empty":           "",
		"bcrypt":          "$2b$12$abcdefghijklmnopqrstuuJ8Yzb0p0Hq5Jd0p0Hq5Jd0p0Hq5Jd0p",
		"argon2i":         strings.Replace(good, "argon2id", "argon2i", 1),
		"version 16":      strings.Replace(good, "v=19", "v=16", 1),
		"no version":      strings.Replace(good, "$v=19", "", 1),
		"text before":     "x" + good,
		"line after":      good + "\n",
		"more fields":     good + "$",
		"no key":          encoded("19456", "2", "1", 16, 0),
		"key of 15":       encoded("19456", "2", "1", 16, 15),
		"key of 65":       encoded("19456", "2", "1", 16, 65),
		"salt of 7":       encoded("19456", "2", "1", 7, 32),
		"salt of 65":      encoded("19456", "2", "1", 65, 32),
		"t=0":             encoded("19456", "0", "1", 16, 32),
		"t=11":            encoded("19456", "11", "1", 16, 32),
		"p=0":             encoded("19456", "2", "0", 16, 32),
		"p=5":             encoded("19456", "2", "5", 16, 32),
		"p=257":           encoded("19456", "2", "257", 16, 32),
		"m over 256 MiB":  encoded("262145", "2", "1", 16, 32),
		"m over 32 bits":  encoded("4294967304", "2", "1", 16, 32),
		"m below 8 p":     encoded("31", "2", "4", 16, 32),
		"leading zero":    encoded("019456", "2", "1", 16, 32),
		"plus":            encoded("+19456", "2", "1", 16, 32),
		"negative":        encoded("-1", "2", "1", 16, 32),
		"other order":     strings.Replace(good, "m=19456,t=2", "t=2,m=19456", 1),
		"keyid":           strings.Replace(good, "p=1", "p=1,keyid=x", 1),
		"padded":          good + "=",
		"trailing bits":   good[:len(good)-1] + "t",
		"line in the key": good[:len(good)-4] + "\n" + good[len(good)-4:],
		"url alphabet":    strings.Replace(good, "c3", "_-", 1),
	} {
		if _, again, err := auth.ParsePHC(s); err == nil {
			t.Errorf("%s: %q is taken as %s", name, s, again)
		}
	}
}

// FuzzParsePHC (A5): no text panics, and what is accepted is what would be written.
func FuzzParsePHC(f *testing.F) {
	for _, s := range []string{
		"", "$", "$argon2id$v=19$$$", encoded("19456", "2", "1", 16, 32), encoded("8", "1", "1", 8, 16),
		encoded("0", "0", "0", 0, 0),
		encoded("4294967304", "2", "257", 16, 32), encoded("19456", "2", "1", 65, 65), encoded("19456", "2", "1", 16, 32) +
			"\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		params, again, err := auth.ParsePHC(s)
		if err != nil {
			return
		}
		if again != s {
			t.Errorf("%q is written as %q", s, again)
		}
		if params.Memory > 256<<10 || params.Time < 1 || params.Time > 10 || params.Threads < 1 || params.Threads > 4 {
			t.Errorf("%q: %+v", s, params)
		}
	})
}

// A5: a stored hash that cannot be read is logged, costs a hash like any other, and answers like a
// wrong password.
func TestLoginOverBadHash(t *testing.T) {
	t.Parallel()
	for name, hash := range map[string]string{
		"empty": "", "no key": encoded("19456", "2", "1", 16, 0), "t=0": encoded("19456", "0", "1", 16, 32),
		"p=0":        encoded("19456", "2", "0", 16, 32),
		"a gibibyte": encoded("1048576", "2", "1", 16, 32),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, nil)
			e.setHash(e.register("alice"), hash)
			hashes, _ := e.CountHashes()
			_, err := e.Login(t.Context(), auth.Credentials{Username: "alice", Password: password}, from(1))
			wantErr(t, err, auth.ErrInvalidLogin)
			if n := hashes.Load(); n != 1 {
				t.Errorf("%d hashes, want 1", n)
			}
			if log := e.log.String(); !strings.Contains(log, "auth.bad_hash") {
				t.Errorf("not logged: %s", log)
			}
		})
	}
}

// A6: a login raises a hash that is weaker than configured, and works even if that fails.
func TestRehash(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	alice := e.register("alice")
	strong := e.another(func(c *auth.Config) { c.Hash = auth.HashParams{Memory: 64, Time: 2, Threads: 1} })
	memory := func() uint32 {
		t.Helper()
		u, err := e.User(t.Context(), alice.ID)
		if err != nil {
			t.Fatal(err)
		}
		params, _, err := auth.ParsePHC(u.PasswordHash)
		if err != nil {
			t.Fatal(err)
		}
		return params.Memory
	}
	login := func(s *auth.Service, secret string) error {
		_, err := s.Login(t.Context(), auth.Credentials{Username: "alice", Password: secret}, from(0))
		return err
	}
	wantErr(t, login(strong, "not the password"), auth.ErrInvalidLogin)
	if m := memory(); m != 8 {
		t.Fatalf("a wrong password changed the hash to m=%d", m)
	}
	e.store.on(down("UpdateUser"))
	if err := login(strong, password); err != nil {
		t.Fatalf("the hash could not be raised, and neither log in: %v", err)
	}
	e.store.on(nil)
	if err := login(strong, password); err != nil {
		t.Fatal(err)
	}
	if m := memory(); m != 64 {
		t.Fatalf("m=%d after a login, want 64", m)
	}
	for _, s := range []*auth.Service{strong, e.Service} { // stronger than configured stays
		if err := login(s, password); err != nil {
			t.Fatal(err)
		}
	}
	if m := memory(); m != 64 {
		t.Fatalf("m=%d, want 64", m)
	}
}

func (e *env) setHash(u auth.User, hash string) {
	e.t.Helper()
	u.PasswordHash = hash
	u.Version++
	if err := e.store.UpdateUser(context.Background(), u, auth.SessionFilter{}); err != nil {
		e.t.Fatal(err)
	}
}
