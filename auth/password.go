package auth

import (
	"crypto/sha256"
	_ "embed" // the lists of common passwords
	"sort"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/khodnevis/khodnevis/internal/invalid"
)

// MaxPassword is the greatest length of a password in code points after normalization. The least is
// Config.PasswordMin.
const MaxPassword = 128

const (
	minPassword      = 8
	maxPasswordBytes = 512 // so that marks without end cost nothing
)

//go:generate go run github.com/khodnevis/khodnevis/internal/blocklist/gen -out blocklist

// The common passwords, folded: those of 8 to 14 code points, and those of 15 and more. Each is the
// first blockPrefix bytes of its SHA-256, sorted. A password that is on neither is taken for common
// with a chance of one in seven billion.
var (
	//go:embed blocklist/short.bin
	commonShort string
	//go:embed blocklist/long.bin
	commonLong string
)

const (
	blockPrefix = 6
	blockLong   = 15 // code points from which on a password is looked up in the second list
)

// checkPassword returns a password as it is hashed, and what is wrong with it under the name of the
// given field. It may be none of the texts in own (names and addresses of its account).
func (s *Service) checkPassword(bad *ValidationError, field, password string, own ...string) string {
	if password == "" {
		bad.add(invalid.IsBlank(field))
		return ""
	}
	if !utf8.ValidString(password) || strings.ContainsRune(password, 0) {
		bad.add(invalid.Field{
			Name: field, Code: invalid.BadCharacter, Detail: "The password has a character that is not allowed.",
		})
		return ""
	}
	normal, ok := normalPassword(password)
	n := utf8.RuneCountInString(normal)
	switch {
	case !ok || n > MaxPassword:
		bad.add(invalid.TooLong(field, MaxPassword))
	case n < s.cfg.PasswordMin:
		bad.add(invalid.TooShort(field, s.cfg.PasswordMin))
	default:
		if why := s.blocked(foldPassword(normal), own); why != "" {
			bad.add(invalid.Field{Name: field, Code: CodePasswordBlocked, Detail: why})
		}
	}
	return normal
}

// normalPassword returns a password as it is hashed, in NFC and otherwise unaltered, unless it is
// too long to be one.
func normalPassword(password string) (string, bool) {
	if len(password) > 4*maxPasswordBytes {
		return "", false
	}
	normal := norm.NFC.String(password)
	return normal, len(normal) <= maxPasswordBytes
}

func (s *Service) blocked(folded string, own []string) string {
	for _, o := range own {
		if o != "" && folded == foldPassword(o) {
			return "The password is the name or the address of its account."
		}
	}
	if s.words[folded] {
		return "The password is the name of this service."
	}
	if common(folded) {
		return "The password is among the most common ones."
	}
	return ""
}

// common reports whether a folded password is on the lists.
func common(folded string) bool {
	list := commonShort
	if utf8.RuneCountInString(folded) >= blockLong {
		list = commonLong
	}
	sum := sha256.Sum256([]byte(folded))
	want := string(sum[:blockPrefix])
	n := len(list) / blockPrefix
	at := func(i int) string { return list[i*blockPrefix : (i+1)*blockPrefix] }
	i := sort.Search(n, func(i int) bool { return at(i) >= want })
	return i < n && at(i) == want
}

// foldPassword makes passwords equal that differ in the case of letters only.
func foldPassword(s string) string {
	return norm.NFC.String(cases.Fold().String(norm.NFC.String(s)))
}
