package auth

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Bounds of what a stored hash may ask for. x/crypto panics on zero passes or lanes and bounds
// nothing from above.
const (
	maxHashMemory  = 256 << 10 // KiB
	maxHashTime    = 10
	maxHashThreads = 4
	minSalt        = 8
	maxSalt        = 64
	minKey         = 16
	maxKey         = 64
	newSalt        = 16
	newKey         = 32
)

var errPHC = errors.New("not an argon2id hash in PHC string form")

// phc is a password hash: $argon2id$v=19$m=…,t=…,p=…$salt$key, both in unpadded base64.
type phc struct {
	params    HashParams
	salt, key []byte
}

func (p HashParams) validate() error {
	var errs []error
	if p.Threads < 1 || p.Threads > maxHashThreads {
		errs = append(errs, fmt.Errorf("%d threads are not within 1 to %d", p.Threads, maxHashThreads))
	}
	if p.Memory < 8*uint32(p.Threads) || p.Memory > maxHashMemory {
		errs = append(errs, fmt.Errorf("memory of %d KiB is not within 8 a thread to %d", p.Memory, maxHashMemory))
	}
	if p.Time < 1 || p.Time > maxHashTime {
		errs = append(errs, fmt.Errorf("%d passes are not within 1 to %d", p.Time, maxHashTime))
	}
	return errors.Join(errs...)
}

// parsePHC is strict: what it accepts is exactly what String of the result writes.
func parsePHC(s string) (phc, error) {
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != "v=19" {
		return phc{}, errPHC
	}
	var h phc
	nums := strings.Split(parts[3], ",")
	if len(nums) != 3 {
		return phc{}, errPHC
	}
	m, okM := parseNumber(nums[0], "m=", 32)
	t, okT := parseNumber(nums[1], "t=", 32)
	p, okP := parseNumber(nums[2], "p=", 8)
	if !okM || !okT || !okP {
		return phc{}, errPHC
	}
	h.params = HashParams{Memory: uint32(m), Time: uint32(t), Threads: uint8(p)}
	if err := h.params.validate(); err != nil {
		return phc{}, fmt.Errorf("%w: %w", errPHC, err)
	}
	var okSalt, okKey bool
	h.salt, okSalt = parseBytes(parts[4], minSalt, maxSalt)
	h.key, okKey = parseBytes(parts[5], minKey, maxKey)
	if !okSalt || !okKey {
		return phc{}, errPHC
	}
	return h, nil
}

func parseNumber(s, name string, bits int) (uint64, bool) {
	digits, ok := strings.CutPrefix(s, name)
	if !ok || digits == "" || digits[0] == '0' || digits[0] == '+' {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, bits)
	return n, err == nil
}

func parseBytes(s string, least, most int) ([]byte, bool) {
	// The decoder skips line breaks.
	if strings.ContainsAny(s, "\r\n") || len(s) > base64.RawStdEncoding.EncodedLen(most) {
		return nil, false
	}
	b, err := base64.RawStdEncoding.Strict().DecodeString(s)
	return b, err == nil && len(b) >= least && len(b) <= most
}

func (h phc) String() string {
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", h.params.Memory, h.params.Time, h.params.Threads,
		base64.RawStdEncoding.EncodeToString(h.salt), base64.RawStdEncoding.EncodeToString(h.key))
}

// weaker reports whether a login over h should replace it by a hash with the given parameters.
func (h phc) weaker(than HashParams) bool {
	return h.params.Memory < than.Memory || h.params.Time < than.Time || len(h.salt) < newSalt || len(h.key) < newKey
}

// blankPHC has a fresh salt and a random key that no password is known to have: it costs as much to
// check as a real one.
func blankPHC(params HashParams) phc {
	h := phc{params: params, salt: make([]byte, newSalt), key: make([]byte, newKey)}
	rand.Read(h.salt)
	rand.Read(h.key)
	return h
}
