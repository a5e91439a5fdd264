package httpapi

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// tag is the entity tag of a content: one part for the content itself, one for its ratings.
type tag struct{ version, revision int64 }

func (t tag) String() string { return fmt.Sprintf(`"c%d.s%d"`, t.version, t.revision) }

// parseTag is the strict inverse of String.
func parseTag(whole string) (t tag, ok bool) {
	s, ok := strings.CutPrefix(whole, `"c`)
	if !ok {
		return tag{}, false
	}
	s, ok = strings.CutSuffix(s, `"`)
	if !ok {
		return tag{}, false
	}
	v, r, ok := strings.Cut(s, ".s")
	if !ok {
		return tag{}, false
	}
	var err1, err2 error
	t.version, err1 = strconv.ParseInt(v, 10, 64)
	t.revision, err2 = strconv.ParseInt(r, 10, 64)
	return t, err1 == nil && err2 == nil && t.String() == whole
}

// etags splits a list of entity tags (RFC 9110, section 8.8.3). It reports false if the header is
// not such a list.
func etags(h http.Header, name string) (tags []string, any, ok bool) {
	value := strings.TrimSpace(strings.Join(h.Values(name), ","))
	if value == "*" {
		return nil, true, true
	}
	for value != "" {
		weak := ""
		if rest, ok := strings.CutPrefix(value, "W/"); ok {
			weak, value = "W/", rest
		}
		if !strings.HasPrefix(value, `"`) {
			return nil, false, false
		}
		end := strings.IndexByte(value[1:], '"')
		if end < 0 {
			return nil, false, false
		}
		tags = append(tags, weak+value[:end+2])
		value = strings.TrimLeft(value[end+2:], " \t")
		if value == "" {
			break
		}
		if !strings.HasPrefix(value, ",") {
			return nil, false, false
		}
		value = strings.TrimLeft(value, ", \t")
	}
	return tags, false, len(tags) > 0
}

func badHeader(name, code, detail string) error {
	return problemInvalid([]fieldProblem{{Header: name, Code: fieldCode(code), Detail: detail}})
}

var (
	problemPrecondition = &problem{status: 412, code: "precondition_failed", title: "Precondition failed",
		detail: "The content was changed since you read it. Read it again and retry."}
	problemWeakTag = &problem{status: 412, code: "precondition_failed", title: "Precondition failed",
		detail: "If-Match has a weak entity tag, which never matches. Send the ETag without W/."}
	problemPreconditionRequired = &problem{status: 428, code: "precondition_required", title: "Precondition required",
		detail: "Send If-Match with the ETag of the content that you read."}
)

// precondition is an If-Match header: optimistic concurrency control. Nil is none.
type precondition struct {
	missing bool // although it is required
	any     bool
	weak    bool  // it has a weak tag, as proxies make of a strong one when they compress
	tags    []tag // that can match
}

// versions returns those at which a change may be made, empty if it may be at any. Only the part of
// a tag counts that stands for the content itself, so that ratings never get in the way of an edit.
func (p *precondition) versions() []int64 {
	if !p.names() {
		return nil
	}
	versions := []int64{0} // which no content has
	for _, t := range p.tags {
		versions = append(versions, t.version)
	}
	return versions
}

// names reports whether the precondition names versions.
func (p *precondition) names() bool { return p != nil && !p.any }

// check compares with a content's version.
func (p *precondition) check(version int64) error {
	if all := p.versions(); len(all) > 0 && !slices.Contains(all, version) {
		return p.failed()
	}
	return nil
}

// failed is the problem of a content at none of the versions.
func (p *precondition) failed() error {
	if p.missing {
		return problemPreconditionRequired
	}
	if p.weak {
		return problemWeakTag
	}
	return problemPrecondition
}

// before reports whether the client read the statistics that it sends back before ratings changed
// them, so that they cannot be compared with those at now.
func (p *precondition) before(now tag) bool {
	return p != nil && !p.any && !slices.Contains(p.tags, now)
}

// ifMatch reads the If-Match header.
func (c *call) ifMatch() (*precondition, error) {
	if c.r.Header.Get("If-Unmodified-Since") != "" {
		return nil, badHeader("If-Unmodified-Since", codeUnsupportedHeader, "Use If-Match with the ETag.")
	}
	if len(c.r.Header.Values("If-None-Match")) > 0 {
		return nil, badHeader("If-None-Match", codeUnsupportedHeader,
			"If-None-Match is for reading. Use If-Match with the ETag.")
	}
	if len(c.r.Header.Values("If-Match")) == 0 {
		if c.cfg.RequireIfMatch {
			return &precondition{missing: true}, nil
		}
		return nil, nil
	}
	tags, any, ok := etags(c.r.Header, "If-Match")
	if !ok {
		return nil, badHeader("If-Match", "invalid", "Give entity tags in double quotes, separated by commas, or *.")
	}
	p := &precondition{any: any}
	for _, s := range tags {
		p.weak = p.weak || strings.HasPrefix(s, "W/")
		if t, ok := parseTag(s); ok {
			p.tags = append(p.tags, t)
		}
	}
	return p, nil
}

// notModified reports whether the client has the representation with this tag (RFC 9110, section
// 13.1.2: a weak comparison).
func (c *call) notModified(tag string) bool {
	tags, any, ok := etags(c.r.Header, "If-None-Match")
	if !ok {
		return false
	}
	for _, s := range tags {
		if strings.TrimPrefix(s, "W/") == tag {
			return true
		}
	}
	return any
}

// refusePreconditions is for writes through the log, which has no versions to compare with.
func (c *call) refusePreconditions() error {
	for _, name := range []string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range"} {
		if len(c.r.Header.Values(name)) > 0 {
			return badHeader(name, codeUnsupportedHeader,
				"Ratings are written without preconditions: the last accepted write wins.")
		}
	}
	return nil
}
