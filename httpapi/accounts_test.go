package httpapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/internal/testutil"
)

// say is a JSON body of texts, a name and a value in turn.
func say(pairs ...string) string {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	body, _ := json.Marshal(m)
	return string(body)
}

// A1, A2, A3: what may be a password, at both of the minimums that are recommended, and that it
// then logs in.
func TestPasswords(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		for _, least := range []int{8, 15} {
			s := serve(t, setup{open: open, config: func(c *khodnevis.Config) { c.Auth.PasswordMin = least }})
			emoji := []rune(strings.Repeat("😀🦊🐙🌵🍋🎈🚲🧊", 16))
			letters := strings.Repeat("x y!", 32)
			for i, x := range []struct {
				password string
				status   int
				problem  string
			}{
				{letters[:least-1], 400, "validation_failed #/password=min_length"},
				{letters[:least], 201, ""},
				{string(emoji[:least-1]), 400, "validation_failed #/password=min_length"},
				{string(emoji[:least]), 201, ""},
				{letters, 201, ""},
				{string(emoji), 201, ""},
				{letters + "z", 400, "validation_failed #/password=max_length"},
				{string(emoji) + "z", 400, "validation_failed #/password=max_length"},
				{strings.Repeat("a", 1<<20), 413, "too_large"},
				{"aaaaa bbbbb ccccc", 201, ""},
				{"123456789qwerty", 400, "validation_failed #/password=password_blocked"},
				{"cafe\u0301 cafe\u0301 cafe\u0301!", 201, ""},
			} {
				name := fmt.Sprintf("user%d", i)
				s.runAll(t, []exchange{{fmt.Sprintf("at %d, %.20q", least, x.password), request{method: "POST", path: "users/",
					body: say("username", name, "password", x.password)}, x.status, x.problem}})
				want := 401
				if x.status == 201 {
					want = 200
				}
				if len(x.password) <= 1<<10 {
					typed := strings.ReplaceAll(x.password, "e\u0301", "\u00e9")
					if a := s.do(t, request{method: "POST", path: "users/login/", body: say("username", name, "password",
						typed)}); a.status != want {
						t.Errorf("at %d, log in with %.20q: %s", least, typed, a)
					}
				}
			}
			s.runAll(t, []exchange{
				{"full-width", request{method: "POST", path: "users/login/", body: say("username", "user9", "password",
					"ａaaaa bbbbb ccccc")}, 401, "invalid_login"},
				{"in another case", request{method: "POST", path: "users/login/", body: say("username", "user9", "password",
					"Aaaaa bbbbb ccccc")}, 401, "invalid_login"},
				{"decomposed, as the current one", request{method: "POST", path: "users/me/password/", as: ada,
					body: say("current_password", password, "new_password", "re\u0301sume\u0301 re\u0301sume\u0301 ...")}, 204, ""},
				{"composed, as the current one", request{method: "POST", path: "users/me/password/", as: ada,
					body: say("current_password", "r\u00e9sum\u00e9 r\u00e9sum\u00e9 ...", "new_password", password)}, 204, ""},
			})
		}
	})
}

// A10, A11, A12: one form of a name is one name, on every store, also after its account is gone; an
// address is nobody's.
func TestNames(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s := serve(t, setup{open: open})
		register := func(name, status string) exchange {
			x := exchange{fmt.Sprintf("%+q", name), request{method: "POST", path: "users/", body: say("username", name,
				"password", password, "email", "one@example.org")}, 400, "validation_failed #/username=" + status}
			if status == "" {
				x.status, x.problem = 201, ""
			}
			return x
		}
		s.runAll(t, []exchange{
			register("kelvin", ""), register("\u212aelvin", "unique"), register("KELVIN", "unique"), register("ｋelvin",
				"unique"),
			register("علی_رضا", ""), register("علي_رضا", "unique"),
			register("می\u200cخواهم", ""), register("میخواهم",
				"unique"),
			register("al\u202eice", "invalid"), register("al\x00ice", "invalid"), register("al ice",
				"invalid"), register("al😀ice", "invalid"), register("۱۲۳۴", "invalid"),
			register("admin", "reserved"), register("ＡＤＭＩＮ", "reserved"),
		})
		s.login(t, "kelvin")
		if err := s.want(t, 204, request{method: "DELETE", path: "users/me/", as: "kelvin", body: say("current_password",
			password, "ratings", "delete")}); err != nil {
			t.Fatal(err)
		}
		s.runAll(t, []exchange{register("kelvin", "unique"), register("Kelvin", "unique")})
	})
}

// A9: an unknown name, a wrong password and a disabled account get the same answer, to the byte.
func TestFailedLoginsAreAlike(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s := serve(t, setup{open: open})
		if err := s.app.Users.SetDisabled(t.Context(), ben, true); err != nil {
			t.Fatal(err)
		}
		var first answer
		for i, body := range []string{
			say("username", "nobody_here", "password", password), say("username", ada, "password",
				"wrong wrong wrong"), say("username", ben, "password", password),
			say("username", ben, "password", "wrong wrong wrong"), say("username", "no name", "password",
				password), say("username", ada, "password", "\x00"),
		} {
			a := s.do(t, request{method: "POST", path: "users/login/", body: body,
				header: map[string]string{"X-Request-Id": "the-same"}})
			a.header.Del("Date")
			if i == 0 {
				first = a
			}
			if a.status != 401 || !bytes.Equal(a.body, first.body) || !equalHeaders(a.header, first.header) {
				t.Errorf("%s: %s %v\nthe first got %s %v", body, a, a.header, first, first.header)
			}
		}
	})
}

// A24: the sixth wrong current password waits, whatever it is for.
func TestReauthThrottled(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s := serve(t, setup{open: open, config: func(c *khodnevis.Config) { c.Auth.LimitsOff = false }})
		tries := []request{
			{method: "PATCH", path: "users/me/", as: ada, body: say("email", "new@example.org", "current_password", "wrong")},
			{method: "POST", path: "users/me/password/", as: ada, body: say("new_password", "another horse battery",
				"current_password", "wrong")},
		}
		for n := range 5 {
			s.runAll(t, []exchange{{fmt.Sprint("try ", n), tries[n%2], 403, "reauth_required"}})
		}
		for _, r := range tries {
			if a := s.do(t, r); a.status != 429 || a.problem() != "throttled" {
				t.Errorf("the sixth wrong one: %s", a)
			}
			r.body = strings.Replace(r.body, "wrong", password, 1)
			if a := s.do(t, r); a.status != 429 {
				t.Errorf("the right one after six wrong: %s", a)
			}
		}
	})
}

// A23: a fresh store has no account, and no request makes staff.
func TestNobodyToBeginWith(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		kept := open(t, time.Now)
		if users, err := kept.ListUsers(t.Context(), "", 10); err != nil || len(users) != 0 {
			t.Errorf("a fresh store has %d users, %v", len(users), err)
		}
		s := serve(t, setup{open: open})
		for _, field := range []string{"staff", "is_staff", "disabled", "superuser", "role"} {
			for _, r := range []request{
				{method: "POST", path: "users/", body: fmt.Sprintf(`{"username":"dora","password":%q,%q:true}`, password, field)},
				{method: "PATCH", path: "users/me/", as: ada, body: fmt.Sprintf(`{%q:true}`, field)},
				{method: "POST", path: "users/login/", body: fmt.Sprintf(`{"username":"ada","password":%q,%q:true}`, password,
					field)},
			} {
				if a := s.do(t, r); a.status != 400 || a.problem() != "validation_failed #/"+field+"=unknown_field" {
					t.Errorf("%s %s %s: %s", r.method, r.path, r.body, a)
				}
			}
		}
	})
}

// A26: what happens to accounts is in the log, with the request that it happened in and without
// secrets.
func TestAccountEvents(t *testing.T) {
	t.Parallel()
	var log testutil.Log
	s := serve(t, setup{idle: true, config: func(c *khodnevis.Config) {
		c.Logger = slog.New(slog.NewJSONHandler(&log, nil))
		c.Auth.LimitsOff = false
	}})
	contentID := s.write(t, "A film")
	var secrets []string
	step := 0
	send := func(r request) answer {
		step++
		header := map[string]string{"X-Request-Id": fmt.Sprintf("step-%02d", step)}
		for name, value := range r.header {
			header[name] = value
		}
		r.header = header
		return s.do(t, r)
	}
	login := func(secret string) answer {
		return send(request{method: "POST", path: "users/login/", body: say("username", "dora", "password", secret)})
	}
	log.Reset()
	const first, second = "seven green bottles", "eight green bottles"
	send(request{method: "POST", path: "users/", body: say("username", "dora", "password", first)})
	tokens := login(first)
	me := bearer(tokens.text(t, "access"))
	secrets = append(secrets, first, second, "wrong wrong", tokens.text(t, "access"), tokens.text(t, "refresh"))
	login("wrong wrong")
	send(request{path: "users/me/", header: bearer("junk")})
	send(request{path: "users/", header: me})
	send(request{method: "DELETE", path: "contents/" + contentID + "/", header: me})
	send(request{method: "PATCH", path: "users/me/", header: me, body: say("email", "d@example.org", "current_password",
		first)})
	send(request{method: "POST", path: "users/me/password/", header: me, body: say("current_password", "wrong wrong",
		"new_password", second)})
	send(request{method: "POST", path: "users/me/password/", header: me, body: say("current_password", first,
		"new_password", second)})
	refreshed := send(request{method: "POST", path: "users/token/refresh/",
		body: say("refresh", tokens.text(t, "refresh"))})
	secrets = append(secrets, refreshed.text(t, "access"), refreshed.text(t, "refresh"))
	s.clock.Advance(time.Minute)
	send(request{method: "POST", path: "users/token/refresh/", body: say("refresh", tokens.text(t, "refresh"))})
	again := login(second)
	me = bearer(again.text(t, "access"))
	secrets = append(secrets, again.text(t, "access"), again.text(t, "refresh"))
	send(request{method: "DELETE", path: "users/me/sessions/", header: me})
	send(request{method: "POST", path: "users/logout/", header: me})
	for range 6 {
		login("wrong wrong")
	}
	text := log.String()
	for _, secret := range secrets {
		for _, part := range []string{secret, secret[4:]} {
			if strings.Contains(text, part) {
				t.Errorf("%q is in the log:\n%s", part, text)
			}
		}
	}
	var events []map[string]any
	for line := range strings.Lines(text) {
		var event map[string]any
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			t.Fatal(err)
		}
		delete(event, "time")
		delete(event, "retry_after")
		if id, _ := event["request_id"].(string); !strings.HasPrefix(id, "step-") {
			t.Errorf("no request is named in %s", line)
		}
		events = append(events, event)
	}
	body, err := json.Marshal(events)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "account_events", answer{status: http.StatusOK, body: body})
	for _, name := range []string{"auth.login", "auth.login_failed", "auth.throttled", "auth.refresh_reuse",
		"auth.logout", "auth.denied", "auth.password_changed"} {
		if !slices.ContainsFunc(events, func(e map[string]any) bool { return e["msg"] == name }) {
			t.Errorf("%s is not in the log", name)
		}
	}
}
