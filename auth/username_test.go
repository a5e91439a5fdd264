package auth_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/khodnevis/khodnevis/auth"
)

// A11: what may be a username.
func TestUsername(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ in, shown, canonical, code string }{
		"plain":                 {"alice", "alice", "alice", ""},
		"capitals are kept":     {"Alice", "Alice", "alice", ""},
		"Kelvin sign":           {"\u212aelvin", "Kelvin", "kelvin", ""},
		"full-width":            {"Ａlice", "Alice", "alice", ""},
		"decomposed":            {"rene\u0301", "ren\u00e9", "ren\u00e9", ""},
		"final sigma":           {"σας", "σας", "σασ", ""},
		"Arabic yeh":            {"علي", "علي", "علی", ""},
		"Arabic kaf":            {"كريم", "كريم", "کریم", ""},
		"ZWNJ":                  {"می\u200cخواهم", "می\u200cخواهم", "میخواهم", ""},
		"32":                    {strings.Repeat("x", 32), strings.Repeat("x", 32), strings.Repeat("x", 32), ""},
		"33":                    {strings.Repeat("x", 33), "", "", "max_length"},
		"a mebibyte":            {strings.Repeat("x", 1<<20), "", "", "max_length"},
		"3":                     {"bob", "bob", "bob", ""},
		"2":                     {"bo", "", "", "min_length"},
		"joiners do not count":  {"می\u200c", "", "", "invalid"},
		"empty":                 {"", "", "", "blank"},
		"blank":                 {" \t ", "", "", "blank"},
		"space":                 {"al ice", "", "", "invalid"},
		"NUL":                   {"al\x00ice", "", "", "invalid"},
		"bad UTF-8":             {"al\xffice", "", "", "invalid"},
		"bidi override":         {"ali\u202ece", "", "", "invalid"},
		"emoji":                 {"al😀ice", "", "", "invalid"},
		"ligature":              {"ﬁsh", "", "", "invalid"},
		"stray ZWNJ":            {"ali\u200cce", "", "", "invalid"},
		"all Persian digits":    {"۱۲۳۴", "", "", "invalid"},
		"reserved":              {"admin", "", "", "reserved"},
		"reserved in capitals":  {"ROOT", "", "", "reserved"},
		"reserved, full-width":  {"ｓｔａｆｆ", "", "", "reserved"},
		"reserved, Kelvin sign": {"\u212ahodnevis", "", "", "reserved"},
		"alef maksura":          {"موسى", "موسى", "موسی", ""},
		"Persian digits":        {"موسی۱۲۳", "موسی۱۲۳", "موسی123", ""},
		"Arabic-Indic digits":   {"موسى١٢٣", "موسى١٢٣", "موسی123", ""},
		"like a flag":           {"-ana", "", "", "invalid"},
		"like a long flag":      {"--data", "", "", "invalid"},
		"like a full-width one": {"－ana", "", "", "invalid"},
		"hyphen within":         {"ana-b", "ana-b", "ana-b", ""},
		"Latin and Cyrillic":    {"аnna", "", "", "invalid"},
		"Latin and Greek":       {"annα", "", "", "invalid"},
		"Cyrillic and Greek":    {"αнна", "", "", "invalid"},
		"Cyrillic":              {"анна", "анна", "анна", ""},
		"Latin and digits":      {"ana۱۲", "ana۱۲", "ana12", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shown, canonical, err := auth.ParseUsername(tt.in)
			if tt.code != "" {
				wantField(t, err, "username", tt.code)
				return
			}
			if err != nil || shown != tt.shown || canonical != tt.canonical {
				t.Errorf("got %q, %q, %v, want %q, %q", shown, canonical, err, tt.shown, tt.canonical)
			}
		})
	}
}

// A11: names that look like those of the service are reserved as well.
func TestReservedLookalikes(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"аdmin", "rοοt", "admin.", ".admin", "ad-min", "_root_", "ADM\u0130N", "adm\u0131n", "\u00e1dm\u00edn",
		"a\u0323dmin", "adm1n", "adrnin", "r00t", "R0OT", "ѕуѕ", "ЅУЅ", "ВОТ", "maiI", "ꮪуѕ", "noreply",
		"no_reply", "r۵۵t", "me.", "ⅿｅ.",
		"wеbmaster", "vvebmaster",
	} {
		_, _, err := auth.ParseUsername(name)
		var bad *auth.ValidationError
		if !errors.As(err, &bad) || len(bad.Fields) != 1 ||
			bad.Fields[0].Code != "reserved" && bad.Fields[0].Code != "invalid" {
			t.Errorf("%+q: %v", name, err)
		}
	}
	for _, name := range []string{"вот", "administratrix", "rooter", "adam", "melanie", "botany", "نام", "adminadmin"} {
		if _, _, err := auth.ParseUsername(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// Users whose canonical name was stored when alef maksura and digits made a difference log in, each
// with the own name, and whoever has the present form as well.
func TestFormerNames(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	like := e.register("ana")
	for i, name := range []string{"موسى", "علی۱", "علی١", "-log", "аnna"} {
		u := like
		u.ID, u.Username, u.Canonical = fmt.Sprintf("former%d", i), name, name
		if err := e.store.CreateUser(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	present := e.register("موسی")
	for name, want := range map[string]string{
		"موسى": "former0", "موسی": present.ID, "علی۱": "former1", "علی١": "former2", "-log": "former3", "аnna": "former4",
	} {
		tokens, err := e.Login(t.Context(), auth.Credentials{Username: name, Password: password}, from(0))
		if err != nil || tokens.User.ID != want {
			t.Errorf("%q: %s, %v, want %s", name, tokens.User.ID, err, want)
		}
	}
	if err := e.SetStaff(t.Context(), "علی١", true); err != nil {
		t.Error(err)
	}
	if u, err := e.store.UserByName(t.Context(), "علی١"); err != nil || !u.Staff {
		t.Errorf("%+v, %v", u, err)
	}
	for _, name := range []string{"علی١", "کسی١"} { // whether there is a user does not show
		before := e.store.calls("UserByName")
		_ = e.wrong(name, from(1))
		if n := e.store.calls("UserByName") - before; n != 2 {
			t.Errorf("%d look-ups of %q, want 2", n, name)
		}
	}
}

// A11, A12: names are unique whatever their case, width or keyboard, and a deleted account's name
// is gone for good.
func TestUsernameUnique(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	n := 0
	for first, others := range map[string][]string{
		"kelvin":        {"Kelvin", "KELVIN", "\u212aelvin", "ｋelvin"},
		"علی_رضا":       {"علي_رضا"},
		"کریم":          {"كريم", "كریم"},
		"می\u200cخواهم": {"میخواهم", "ميخواهم"},
		"ren\u00e9":     {"rene\u0301", "RENE\u0301"},
		"οδυσσευς":      {"ΟΔΥΣΣΕΥΣ"},
		"موسى۱۲":        {"موسی۱۲", "موسي12", "موسى١٢"},
	} {
		n++
		if _, err := e.Register(t.Context(), auth.Registration{Username: first, Password: password}, from(n)); err != nil {
			t.Fatalf("%s: %v", first, err)
		}
		for _, other := range others {
			n++
			_, err := e.Register(t.Context(), auth.Registration{Username: other, Password: password}, from(n))
			wantField(t, err, "username", "unique")
			if _, err := e.Login(t.Context(), auth.Credentials{Username: other, Password: password}, from(n)); err != nil {
				t.Errorf("log in as %q, registered as %q: %v", other, first, err)
			}
		}
	}
	tokens := e.login("kelvin")
	if err := e.DeleteAccount(t.Context(), e.mustBe(tokens.Access), password, "", from(0)); err != nil {
		t.Fatal(err)
	}
	_, err := e.Register(t.Context(), auth.Registration{Username: "Kelvin", Password: password}, from(500))
	wantField(t, err, "username", "unique")
}

// FuzzUsername: what is accepted keeps within the bounds, shows nothing that hides, and has one
// canonical form.
func FuzzUsername(f *testing.F) {
	for _, s := range []string{"alice", "Kelvin", "\u212aelvin", "Ａlice", "علي", "می\u200cخواهم", "۱۲۳۴",
		"rene\u0301", "al\x00ice", "\xff\xfe", "ali\u202ece", "ﬁsh", "ǅabc", "İstanbul", "ΣΑΣ",
		"a\u0300\u0301\u0302bc", strings.Repeat("é", 40)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		shown, canonical, err := auth.ParseUsername(name)
		if err != nil {
			var bad *auth.ValidationError
			if !errors.As(err, &bad) || len(bad.Fields) != 1 {
				t.Fatalf("%q: %v", name, err)
			}
			return
		}
		if n := utf8.RuneCountInString(shown); !utf8.ValidString(shown) || n < 3 || n > 32 {
			t.Errorf("%q is shown as %q", name, shown)
		}
		for _, r := range shown + canonical {
			if unicode.IsControl(r) || unicode.IsSpace(r) || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
				t.Errorf("%q is shown as %q, with %U", name, shown, r)
			}
		}
		for _, again := range []string{shown, canonical} {
			if _, c, err := auth.ParseUsername(again); err != nil || c != canonical {
				t.Errorf("%q is %q, but %q is %q (%v)", name, canonical, again, c, err)
			}
		}
	})
}
