package httpapi_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/khodnevis/khodnevis"
)

// as sends a request with a token instead of a person.
func bearer(token string) map[string]string {
	return map[string]string{"Authorization": "Bearer " + token}
}

func TestRegister(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s := serve(t, setup{open: open})
		register := func(body string) exchange {
			return exchange{body, request{method: "POST", path: "users/", body: body}, 400, ""}
		}
		for body, want := range map[string]string{
			`{}`:                                  "#/username=required #/password=required",
			`{"username":"dora","password":null}`: "#/password=null",
			`{"username":5,"password":"` + password + `"}`:                   "#/username=invalid",
			`{"username":"dora","password":"` + password + `","staff":true}`: "#/staff=unknown_field",
			`{"username":"dora","password":"` + password +
				`","is_staff":true,"id":"x"}`: "#/id=unknown_field #/is_staff=unknown_field",
			`{"username":"dora","password":"short"}`:                                        "#/password=min_length",
			`{"username":"dora","password":"password123"}`:                                  "#/password=password_blocked",
			`{"username":"doradora","password":"DoraDora"}`:                                 "#/password=password_blocked",
			`{"username":"dora","password":"` + strings.Repeat("x", 129) + `"}`:             "#/password=max_length",
			`{"username":"dora","password":"a\u0000bcdefgh"}`:                               "#/password=bad_character",
			`{"username":"dora","password":"` + password + `","email":"nowhere"}`:           "#/email=invalid",
			`{"username":"dora","password":"` + password + `","email":"a@b.c\u0000"}`:       "#/email=invalid",
			`{"username":"ADA","password":"` + password + `"}`:                              "#/username=unique",
			`{"username":"` + strings.Repeat("d", 40) + `","password":"` + password + `"}`:  "#/username=max_length",
			`{"username":"` + strings.Repeat("d", 900) + `","password":"` + password + `"}`: "#/username=max_length",
		} {
			x := register(body)
			x.problem = "validation_failed " + want
			s.runAll(t, []exchange{x})
		}
		a := s.do(t, request{method: "POST", path: "users/", body: `{"username":"Dora","password":"` + password + `"}`})
		if a.status != 201 || a.text(t, "username") != "Dora" || a.text(t, "email") != "" || !slices.Equal(a.keys(t, ""),
			[]string{"date_joined", "email", "id", "username"}) ||
			a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("registered: %s", a)
		}
		// The body is the credential: a token that is no longer good does not keep anybody from
		// logging in.
		for path, body := range map[string]string{"users/login/": `{"username":"dora","password":"` + password + `"}`} {
			if a := s.do(t, request{method: "POST", path: path, body: body, header: bearer("junk")}); a.status != 200 {
				t.Errorf("with an old token: %s", a)
			}
		}
	})
}

func TestSessions(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s := serve(t, setup{open: open})
		const wrong = `Bearer realm="khodnevis"`
		login := func(body string) answer {
			return s.do(t, request{method: "POST", path: "users/login/", body: body,
				header: map[string]string{"User-Agent": "a browser\u202e"}})
		}
		for _, body := range []string{`{"username":"ada","password":"wrong"}`, `{"username":"nobody","password":"` +
			password + `"}`, `{"username":"a\u0000","password":"a\u0000"}`,
			`{"username":"` + strings.Repeat("x", 3000) + `","password":"x"}`} {
			if a := login(body); a.status != 401 || a.problem() != "invalid_login" ||
				a.header.Get("WWW-Authenticate") != wrong {
				t.Errorf("%.60s: %s, %q", body, a, a.header.Get("WWW-Authenticate"))
			}
		}
		a := login(`{"username":"","password":""}`)
		if a.problem() != "validation_failed #/username=blank #/password=blank" {
			t.Errorf("nothing: %s", a)
		}
		first := login(`{"username":"Ada","password":"` + password + `"}`)
		if first.status != 200 || first.text(t, "user.id") != s.ids[ada] || first.text(t, "token_type") != "Bearer" {
			t.Fatalf("logged in: %s", first)
		}
		refresh := func(token string) answer {
			return s.do(t, request{method: "POST", path: "users/token/refresh/", body: fmt.Sprintf(`{"refresh":%q}`, token)})
		}
		second := refresh(first.text(t, "refresh"))
		if second.status != 200 || second.text(t, "refresh") == first.text(t, "refresh") ||
			second.text(t, "access") == first.text(t, "access") {
			t.Errorf("refreshed: %s", second)
		}
		for _, token := range []string{"", "junk", first.text(t, "access"), strings.Repeat("k", 3000)} {
			if a := refresh(token); a.status != 401 || a.problem() != "invalid_token" {
				t.Errorf("refresh with %.20q: %s", token, a)
			}
		}
		token := second.text(t, "access")
		sessions := s.do(t, request{path: "users/me/sessions/", header: bearer(token)})
		current := 0
		for i, id := range sessions.list(t, "id") {
			if sessions.at(t, fmt.Sprintf("results.%d.current", i)) == true {
				current++
				if label := sessions.text(t, fmt.Sprintf("results.%d.label", i)); strings.Contains(label, "\u202e") {
					t.Errorf("the label is %q", label)
				}
				if a := s.do(t, request{method: "DELETE", path: "users/me/sessions/" + id + "/", as: ben}); a.status != 404 {
					t.Errorf("ben ends ada's session: %s", a)
				}
			}
		}
		if current != 1 || len(sessions.list(t, "id")) != 2 {
			t.Errorf("the sessions are %s", sessions)
		}
		if a := s.do(t, request{method: "DELETE", path: "users/me/sessions/", header: bearer(token)}); a.status != 204 {
			t.Errorf("end the others: %s", a)
		}
		if a := s.get(t, ada, "users/me/"); a.status != 401 {
			t.Errorf("another session still works: %s", a)
		}
		if got := s.do(t, request{path: "users/me/sessions/", header: bearer(token)}).list(t, "current"); !slices.Equal(got,
			[]string{"true"}) {
			t.Errorf("what is left: %q", got)
		}
		if a := s.do(t, request{method: "POST", path: "users/logout/", header: bearer(token)}); a.status != 204 {
			t.Errorf("log out: %s", a)
		}
		if a := s.do(t, request{method: "POST", path: "users/logout/", header: bearer(token)}); a.status != 401 {
			t.Errorf("log out twice: %s", a)
		}
		if a := refresh(second.text(t, "refresh")); a.status != 401 {
			t.Errorf("refresh after it: %s", a)
		}
	})
}

func TestMe(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s := serve(t, setup{open: open})
		me := s.get(t, ada, "users/me/")
		if me.text(t, "id") != s.ids[ada] || me.text(t, "email") != "ada@example.org" || !slices.Equal(me.keys(t, ""),
			[]string{"date_joined", "email", "id", "username"}) || me.header.Get("Cache-Control") != "no-store" {
			t.Errorf("me: %s", me)
		}
		patch := func(name, body string, status int, problem string) exchange {
			return exchange{name, request{method: "PATCH", path: "users/me/", as: ada, body: body}, status, problem}
		}
		s.runAll(t, []exchange{
			patch("nothing", `{}`, 200, ""),
			patch("what was read", string(me.body), 200, ""),
			patch("another name", `{"username":"eve"}`, 400, "validation_failed #/username=read_only"),
			patch("another identifier", `{"id":"x"}`, 400, "validation_failed #/id=read_only"),
			patch("staff", `{"staff":true}`, 400, "validation_failed #/staff=unknown_field"),
			patch("an address without the password", `{"email":"new@example.org"}`, 403, "reauth_required"),
			patch("an address with a wrong one", `{"email":"new@example.org","current_password":"wrong"}`, 403,
				"reauth_required"),
			patch("a wrong one without an address", `{"current_password":"wrong"}`, 403, "reauth_required"),
			patch("no address", `{"email":"nowhere","current_password":"`+password+`"}`, 400,
				"validation_failed #/email=invalid"),
			patch("null", `{"email":null}`, 400, "validation_failed #/email=null"),
			patch("an address", `{"email":"new@example.org","current_password":"`+password+`"}`, 200, ""),
		})
		if a := s.get(t, ada, "users/me/"); a.text(t, "email") != "new@example.org" {
			t.Errorf("me: %s", a)
		}
		old := s.tokens[ada]
		s.login(t, ada)
		change := func(name, body string, status int, problem string) exchange {
			return exchange{name, request{method: "POST", path: "users/me/password/", as: ada, body: body}, status, problem}
		}
		s.runAll(t, []exchange{
			change("without the old one", `{"new_password":"another horse battery"}`, 403, "reauth_required"),
			change("with a wrong one", `{"current_password":"wrong","new_password":"another horse battery"}`, 403,
				"reauth_required"),
			change("without a new one", `{"current_password":"`+password+`"}`, 400,
				"validation_failed #/new_password=required"),
			change("too short", `{"current_password":"`+password+`","new_password":"short"}`, 400,
				"validation_failed #/new_password=min_length"),
			change("a common one", `{"current_password":"`+password+`","new_password":"password123"}`, 400,
				"validation_failed #/new_password=password_blocked"),
			change("a good one", `{"current_password":"`+password+`","new_password":"another horse battery"}`, 204, ""),
			{"this session goes on", request{path: "users/me/", as: ada}, 200, ""},
			{"the others do not", request{path: "users/me/", header: bearer(old)}, 401, "invalid_token"},
			{"the old password", request{method: "POST", path: "users/login/", body: `{"username":"ada","password":"` +
				password + `"}`}, 401, "invalid_login"},
			{"the new password", request{method: "POST", path: "users/login/",
				body: `{"username":"ada","password":"another horse battery"}`}, 200, ""},
		})
	})
}

// TestThrottled: too many attempts are told when to come back.
func TestThrottled(t *testing.T) {
	t.Parallel()
	s := serve(t, setup{config: func(c *khodnevis.Config) { c.Auth.LimitsOff = false }})
	var got []string
	for range 8 {
		a := s.do(t, request{method: "POST", path: "users/login/", body: `{"username":"ada","password":"wrong"}`})
		got = append(got, a.problem())
	}
	if !slices.Contains(got, "invalid_login") || !slices.Contains(got, "throttled") {
		t.Errorf("eight wrong passwords: %q", got)
	}
}
