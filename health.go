package khodnevis

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"

	"github.com/khodnevis/khodnevis/internal/requestid"
)

// Health returns a handler for a supervisor of the process: 200 while check returns nil, otherwise
// 503 with Retry-After and the text of the error. With nil it is always 200, which says that the
// process lives. Mount it at /livez with nil and at /readyz with App.Ready. It asks no dependency,
// checks no credentials and counts towards no limit.
func (a *App) Health(check func() error) http.Handler {
	return readOnly(func(w http.ResponseWriter, _ *http.Request) {
		status, text := http.StatusOK, "ok"
		if check != nil {
			if err := check(); err != nil {
				w.Header().Set("Retry-After", strconv.Itoa(1+rand.IntN(5)))
				status, text = http.StatusServiceUnavailable, err.Error()
			}
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		writeText(w, status, []byte(text+"\n"))
	})
}

// readOnly calls get for GET and HEAD. It is for handlers that are not part of the REST surface.
func readOnly(get http.HandlerFunc) http.Handler {
	const allowed = "GET, HEAD, OPTIONS"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := requestid.Of(r)
		h := w.Header()
		h.Set(requestid.Header, id)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		switch r.Method {
		case http.MethodGet, http.MethodHead:
			get(w, r)
		case http.MethodOptions:
			h.Set("Allow", allowed)
			w.WriteHeader(http.StatusNoContent)
		default:
			h.Set("Allow", allowed)
			h.Set("Content-Type", "application/problem+json")
			detail := fmt.Sprintf("%.100s is not allowed here, only %s.", r.Method, allowed)
			body, err := json.Marshal(map[string]any{"type": "urn:khodnevis:problem:method_not_allowed",
				"title":  "Method not allowed",
				"status": 405, "code": "method_not_allowed", "detail": detail, "instance": r.URL.EscapedPath(), "request_id": id})
			if err != nil {
				panic(err) // a map of strings and a number
			}
			writeText(w, http.StatusMethodNotAllowed, body)
		}
	})
}

func writeText(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // fails if the client has hung up
}
