package auth_test

import (
	"crypto/sha256"
	"errors"
	"strings"
	"testing"

	"github.com/khodnevis/khodnevis/auth"
)

// A1, A2, A4: what may be a password.
func TestPasswordPolicy(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		password string
		min      int
		code     string // empty: allowed
	}{
		"empty":             {"", 8, "blank"},
		"7":                 {"hT5!k9q", 8, "min_length"},
		"8":                 {"hT5!k9qz", 8, ""},
		"8 emoji":           {"😀🦊🐙🌵🍋🎈🚲🧊", 8, ""},
		"7 emoji, 28 bytes": {"😀🦊🐙🌵🍋🎈🚲", 8, "min_length"},
		"8 marks are 4":     {"e\u0301o\u0301a\u0301i\u0301", 8, "min_length"},
		"128":               {strings.Repeat("x y!", 32), 8, ""},
		"129":               {strings.Repeat("x y!", 32) + "z", 8, "max_length"},
		"128 of 4 bytes":    {strings.Repeat("😀🦊🐙🌵", 32), 8, ""},
		// one code point of 3 bytes becomes two of 6
		"NFC makes it longer": {strings.Repeat("\u0958", 100), 8, "max_length"},
		"a mebibyte":          {strings.Repeat("a", 1<<20), 8, "max_length"},
		"14 where 15":         {"kvT49fjw x9qlf", 15, "min_length"},
		"15 where 15":         {"kvT49fjw x9qlfz", 15, ""},
		"no composition rule": {"aaaaa bbbbb", 8, ""},
		"NUL":                 {"abcdefgh\x00ijk", 8, "bad_character"},
		"bad UTF-8":           {"abcdefgh\xffijk", 8, "bad_character"},
		"common":              {"password1", 8, "password_blocked"},
		"common in capitals":  {"PassWord1", 8, "password_blocked"},
		"common and long":     {"123456789qwerty", 8, "password_blocked"},
		"common at 15":        {"123456789qwerty", 15, "password_blocked"},
		"username":            {"JoHanna.Smith", 8, "password_blocked"},
		"local part":          {"hanna_by_mail", 8, "password_blocked"},
		"address":             {"hanna_by_mail@example.org", 8, "password_blocked"},
		"service":             {"Khodnevis", 8, "password_blocked"},
		"host's word":         {"filmclub berlin", 8, "password_blocked"},
		"contains the name":   {"johanna.smith lives", 8, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, func(c *auth.Config) { c.PasswordMin = tt.min; c.ServiceWords = []string{"Filmclub Berlin"} })
			hashes, _ := e.CountHashes()
			_, err := e.Register(t.Context(),
				auth.Registration{Username: "johanna.smith", Password: tt.password, Email: "hanna_by_mail@example.org"}, from(0))
			if tt.code == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			wantField(t, err, "password", tt.code)
			if n := hashes.Load(); n != 0 {
				t.Errorf("%d hashes for a password that was refused", n)
			}
		})
	}
}

// A3: passwords are hashed in NFC and otherwise as they are.
func TestPasswordNormalization(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	for _, tt := range []struct {
		user, registered, typed string
		want                    error
	}{
		{"decomposed", "cafe\u0301 cafe\u0301", "caf\u00e9 caf\u00e9", nil},
		{"composed", "caf\u00e9 caf\u00e9", "cafe\u0301 cafe\u0301", nil},
		{"fullwidth", "harvest moon", "ｈarvest moon", auth.ErrInvalidLogin},
		{"capitals", "harvest moon", "Harvest moon", auth.ErrInvalidLogin},
		{"trailing", "harvest moon", "harvest moon ", auth.ErrInvalidLogin},
		{"truncated", strings.Repeat("x y!", 32), strings.Repeat("x y!", 32) + "z", auth.ErrInvalidLogin},
	} {
		if _, err := e.Register(t.Context(), auth.Registration{Username: tt.user, Password: tt.registered},
			from(len(tt.user))); err != nil {
			t.Fatalf("%s: %v", tt.user, err)
		}
		if _, err := e.Login(t.Context(), auth.Credentials{Username: tt.user, Password: tt.typed},
			from(1)); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.user, err, tt.want)
		}
	}
}

// A4: the lists cover both minimums, and are sorted so that they can be searched.
func TestCommonPasswords(t *testing.T) {
	t.Parallel()
	short, long := auth.CommonLists()
	for name, list := range map[string]string{"8 to 14": short, "15 and more": long} {
		n := len(list) / auth.BlockPrefix
		if n < 3000 || len(list)%auth.BlockPrefix != 0 {
			t.Errorf("%s: %d bytes, %d entries, want 3000 at least", name, len(list), n)
		}
		for i := auth.BlockPrefix; i < len(list); i += auth.BlockPrefix {
			if list[i-auth.BlockPrefix:i] >= list[i:i+auth.BlockPrefix] {
				t.Fatalf("%s: entry %d is not greater than the one before", name, i/auth.BlockPrefix)
			}
		}
	}
	if n := len(short) + len(long); n > 300_000 {
		t.Errorf("the lists add %d bytes to every program", n)
	}
	sum := sha256.Sum256([]byte("123456789qwerty"))
	if !strings.Contains(long, string(sum[:auth.BlockPrefix])) {
		t.Error("123456789qwerty is not on the list")
	}
}
