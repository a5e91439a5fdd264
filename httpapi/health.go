package httpapi

import (
	"net/http"
	"strconv"
)

// Health returns a handler for those who watch over the process: 200 while ok reports true, 503 with Retry-After while it does not.
// With nil it is always 200: whoever gets that answer knows that the process lives. It asks nobody else, needs no credentials and
// counts against no limit. Mount it where supervisors look, such as /livez and /readyz; it is not part of the API.
func (a *API) Health(ok func() bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := a.begin(w, r)
		switch {
		case c.onlyRead():
		case ok == nil || ok():
			c.write(http.StatusOK, "text/plain; charset=utf-8", []byte("ok\n"))
		default:
			w.Header().Set("Retry-After", strconv.Itoa(seconds(retryAfter())))
			c.write(http.StatusServiceUnavailable, "text/plain; charset=utf-8", []byte("starting or draining\n"))
		}
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
