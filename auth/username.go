package auth

import (
	"context"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/norm"

	"github.com/khodnevis/khodnevis/internal/invalid"
)

// Bounds of a username, in code points after normalization. Joiners do not count towards the least.
const (
	MinUsername = 3
	MaxUsername = 32
)

// longestName is how many bytes of a name are looked at: more cannot be a username.
const longestName = MaxUsername * utf8.UTFMax * 4

// keyboards makes one of the spellings that differ only in the keyboard they were typed on: Arabic
// yeh, alef maksura and kaf become the Persian letters, Persian and Arabic-Indic digits become those
// of ASCII, and zero-width non-joiners vanish. The final sigma, which lower-casing does not make,
// becomes a plain one.
var keyboards = strings.NewReplacer("\u064a", "\u06cc", "\u0649", "\u06cc", "\u0643", "\u06a9", "\u200c", "",
	"\u03c2", "\u03c3",
	"۰", "0", "۱", "1", "۲", "2", "۳", "3", "۴", "4", "۵", "5", "۶", "6", "۷", "7", "۸", "8", "۹", "9",
	"٠", "0", "١", "1", "٢", "2", "٣", "3", "٤", "4", "٥", "5", "٦", "6", "٧", "7", "٨", "8", "٩", "9")

// formerKeyboards is what keyboards was when names with alef maksura or digits that are not ASCII
// were registered first. The canonical names of those users are stored.
var formerKeyboards = strings.NewReplacer("\u064a", "\u06cc", "\u0643", "\u06a9", "\u200c", "", "\u03c2", "\u03c3")

// reserved has the skeletons of names that could be taken for the service's own.
var reserved = skeletonSet(`
	abuse account accounts admin administrator admins anonymous api auth authenticator bot deleted
	everyone guest help hostmaster info khodnevis login logout mail me moderator moderators no-reply
	nobody noreply none null official operator owner postmaster register root security self service
	signin signup staff superuser support sys sysadmin system undefined unknown webmaster`)

// parseUsername returns a username as it is shown and the canonical form in which names are unique.
// It adds what is wrong with the name to bad, and returns empty names then.
// Shown names are RFC 8265's UsernameCasePreserved, canonical ones its UsernameCaseMapped with the
// spellings of keyboards folded. The profile refuses spaces, emoji, control and direction characters,
// and, by its rule for right-to-left text, names of Persian digits alone.
func parseUsername(bad *ValidationError, name string) (shown, canonical string) {
	const field = "username"
	shown, mapped, ok := preparedName(name)
	canonical = canonicalOf(mapped)
	n, m := utf8.RuneCountInString(shown), utf8.RuneCountInString(canonical) // some letters are two in lower case
	switch {
	case strings.TrimSpace(name) == "":
		bad.add(invalid.IsBlank(field))
	case len(name) > longestName, max(n, m) > MaxUsername:
		bad.add(invalid.TooLong(field, MaxUsername))
	case !ok:
		bad.add(invalid.Field{Name: field, Code: invalid.Type,
			Detail: "Use letters, digits and signs of one writing direction, without spaces."})
	case min(n, m) < MinUsername:
		bad.add(invalid.TooShort(field, MinUsername))
	case strings.HasPrefix(canonical, "-"):
		bad.add(invalid.Field{Name: field, Code: invalid.Type, Detail: "A name may not begin with a hyphen."})
	case mixesAlphabets(canonical):
		bad.add(invalid.Field{Name: field, Code: invalid.Type,
			Detail: "Use letters of one alphabet: Latin, Cyrillic and Greek ones look alike."})
	case reserved[skeleton(shown)], reserved[skeleton(canonical)]:
		bad.add(invalid.Field{Name: field, Code: CodeReserved, Detail: "This name is reserved."})
	default:
		return shown, canonical
	}
	return "", ""
}

// preparedName returns what may be a username as RFC 8265 prepares it: as it is shown, and in lower
// case. It does not check the length.
func preparedName(name string) (shown, mapped string, ok bool) {
	if len(name) > longestName {
		return "", "", false
	}
	shown, err := precis.UsernameCasePreserved.String(name)
	if err != nil {
		return "", "", false
	}
	mapped, err = precis.UsernameCaseMapped.String(name)
	return shown, mapped, err == nil
}

func canonicalOf(mapped string) string { return norm.NFC.String(keyboards.Replace(mapped)) }

// mixesAlphabets reports whether a name has letters of more than one of the alphabets whose letters
// are drawn alike.
func mixesAlphabets(name string) bool {
	n := 0
	for _, alphabet := range []*unicode.RangeTable{unicode.Latin, unicode.Cyrillic, unicode.Greek} {
		if strings.ContainsFunc(name, func(r rune) bool { return unicode.Is(alphabet, r) }) {
			n++
		}
	}
	return n > 1
}

// findName returns the user with a name, in any spelling of it. ErrNotFound: there is none.
//
// A user who was registered under a canonical name of a former form may still have it stored. It
// wins: a user with the present form has another name in the former one. Both are always looked for,
// so that the time of the answer does not depend on whether there is a user.
func (s *Service) findName(ctx context.Context, name string) (User, error) {
	_, mapped, ok := preparedName(name)
	if !ok {
		return User{}, ErrNotFound
	}
	canonical, former := canonicalOf(mapped), norm.NFC.String(formerKeyboards.Replace(mapped))
	u, err := s.store.UserByName(ctx, canonical)
	if former == canonical || err != nil && !errors.Is(err, ErrNotFound) {
		return u, err
	}
	if older, olderErr := s.store.UserByName(ctx, former); !errors.Is(olderErr, ErrNotFound) {
		return older, olderErr
	}
	return u, err
}

// accountKey is what failed logins of a name are counted under, whether or not there is such a
// user.
func accountKey(name string) string {
	if _, mapped, ok := preparedName(name); ok {
		return "name:" + canonicalOf(mapped)
	}
	return "text:" + name
}

func skeletonSet(words string) map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(words) {
		set[skeleton(w)] = true
	}
	return set
}
