package auth

import (
	"net/mail"
	"strings"

	"github.com/khodnevis/khodnevis/internal/invalid"
	"github.com/khodnevis/khodnevis/internal/text"
)

// MaxEmail is the greatest length of an address in bytes (RFC 5321, 4.5.3.1.3, without the angle
// brackets).
const MaxEmail = 254

// checkEmail takes an empty address, or one that could be written to. Whether somebody reads it
// there is not known.
func checkEmail(bad *ValidationError, email string) {
	if email != "" && !validEmail(email) {
		bad.add(invalid.Field{Name: "email", Code: invalid.Type, Detail: "Enter a valid e-mail address."})
	}
}

func validEmail(email string) bool {
	if len(email) > MaxEmail {
		return false
	}
	if _, why := text.Check(email, text.Line); why != "" {
		return false
	}
	addr, err := mail.ParseAddress(email)
	return err == nil && addr.Name == "" && addr.Address == email
}

// localPart is what stands before the @.
func localPart(email string) string {
	if i := strings.LastIndexByte(email, '@'); i >= 0 {
		return email[:i]
	}
	return ""
}
