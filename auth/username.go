package auth

import (
	"strings"
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

// lookalikes makes one of the spellings that differ only in the keyboard they were typed on: Arabic
// yeh and kaf become the Persian ones, and zero-width non-joiners vanish. The final sigma, which
// lower-casing does not make, becomes a plain one.
var lookalikes = strings.NewReplacer("\u064a", "\u06cc", "\u0643", "\u06a9", "\u200c", "", "\u03c2", "\u03c3")

// reserved are canonical names that could be taken for the service's own.
var reserved = wordSet(`
	abuse account accounts admin administrator admins anonymous api auth authenticator bot deleted
	everyone guest help hostmaster info khodnevis login logout mail me moderator moderators no-reply
	nobody noreply none null official operator owner postmaster register root security self service
	signin signup staff superuser support sys sysadmin system undefined unknown webmaster`)

// parseUsername returns a username as it is shown and the canonical form in which names are unique.
// It adds what is wrong with the name to bad, and returns empty names then.
// Shown names are RFC 8265's UsernameCasePreserved, canonical ones its UsernameCaseMapped with
// look-alikes folded. The profile refuses spaces, emoji, control and direction characters, and, by
// its rule for right-to-left text, names of Persian digits alone.
func parseUsername(bad *ValidationError, name string) (shown, canonical string) {
	const field = "username"
	shown, canonical, ok := canonicalName(name)
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
	case reserved[canonical]:
		bad.add(invalid.Field{Name: field, Code: CodeReserved, Detail: "This name is reserved."})
	default:
		return shown, canonical
	}
	return "", ""
}

// canonicalName returns both forms of what may be a username, without regard to its length.
func canonicalName(name string) (shown, canonical string, ok bool) {
	if len(name) > longestName {
		return "", "", false
	}
	shown, err := precis.UsernameCasePreserved.String(name)
	if err != nil {
		return "", "", false
	}
	mapped, err := precis.UsernameCaseMapped.String(name)
	if err != nil {
		return "", "", false
	}
	return shown, norm.NFC.String(lookalikes.Replace(mapped)), true
}

// accountKey is what failed logins of a name are counted under, whether or not there is such a
// user.
func accountKey(name string) string {
	if _, canonical, ok := canonicalName(name); ok {
		return "name:" + canonical
	}
	return "text:" + name
}

func wordSet(words string) map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(words) {
		set[w] = true
	}
	return set
}
