package httpapi

import (
	"net/http"
	"strconv"
)

// Health returns a handler for those who watch over the process: 200 while check returns nil,
// otherwise 503 with Retry-After and the text of the error. With nil it is always 200: whoever gets
// that answer knows that the process lives. It asks nobody else, needs no credentials and counts
// against no limit. Mount it where supervisors look, such as /livez and /readyz; it is not part of
// the API.
func (a *API) Health(check func() error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := a.begin(w, r)
		if c.onlyRead() {
			return
		}
		status, text := http.StatusOK, "ok"
		if check != nil {
			if err := check(); err != nil {
				w.Header().Set("Retry-After", strconv.Itoa(seconds(retryAfter())))
				status, text = http.StatusServiceUnavailable, err.Error()
			}
		}
		c.write(status, "text/plain; charset=utf-8", []byte(text+"\n"))
	})
}

// onlyRead answers requests that do not read, and reports whether it did.
func (c *call) onlyRead() bool {
	const allowed = "GET, HEAD, OPTIONS"
	switch c.r.Method {
	case http.MethodGet, http.MethodHead:
		return false
	case http.MethodOptions:
		c.w.Header().Set("Allow", allowed)
		c.w.WriteHeader(http.StatusNoContent)
	default:
		c.w.Header().Set("Allow", allowed)
		c.fail(problemMethod(c.r.Method, allowed))
	}
	return true
}
