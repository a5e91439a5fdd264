package httpapi

import (
	"errors"
	"net/http"
	"time"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/internal/id"
	"github.com/khodnevis/khodnevis/internal/invalid"
)

// userDetail is an account as its owner and staff see it.
type userDetail struct {
	ID         string `json:"id"`
	Username   string `json:"username"`
	Email      string `json:"email"`
	DateJoined stamp  `json:"date_joined"`
}

func userDetailOf(u auth.User) userDetail {
	return userDetail{u.ID, u.Username, u.Email, stamp(u.JoinedAt)}
}

var (
	userFields   = []string{"id", "username", "email", "date_joined"}
	registration = &body{smallBody, []member{{name: "username", required: true}, {name: "password", required: true}, {name: "email"}}}
	login        = &body{smallBody, []member{{name: "username", required: true}, {name: "password", required: true}}}
	refresh      = &body{smallBody, []member{{name: "refresh", required: true}}}
	newPassword  = &body{smallBody, []member{{name: "current_password"}, {name: "new_password", required: true}}}
	newEmail     = &body{smallBody, []member{
		{name: "email"}, {name: "current_password"},
		{name: "id", kind: anyKind, readOnly: true}, {name: "username", kind: anyKind, readOnly: true}, {name: "date_joined", kind: anyKind, readOnly: true},
	}}
)

// addUsers adds the routes of this module's own accounts.
func (a *API) addUsers(t map[string]methods) {
	t["/users/"] = methods{
		http.MethodGet:  {staffOnly, nil, (*call).listUsers},
		http.MethodPost: {credential, registration, (*call).register},
	}
	t["/users/login/"] = methods{http.MethodPost: {credential, login, (*call).login}}
	t["/users/token/refresh/"] = methods{http.MethodPost: {credential, refresh, (*call).refresh}}
	t["/users/logout/"] = methods{http.MethodPost: {signedIn, nil, (*call).logout}}
	t["/users/me/"] = methods{
		http.MethodGet:   {signedIn, nil, (*call).getMe},
		http.MethodPatch: {signedIn, newEmail, (*call).patchMe},
	}
	t["/users/me/password/"] = methods{http.MethodPost: {signedIn, newPassword, (*call).changePassword}}
	t["/users/me/sessions/"] = methods{
		http.MethodGet:    {signedIn, nil, (*call).listSessions},
		http.MethodDelete: {signedIn, nil, (*call).endOtherSessions},
	}
	t["/users/me/sessions/:id/"] = methods{http.MethodDelete: {signedIn, nil, (*call).endSession}}
}

// userProblem maps the errors of accounts, or returns nil.
func userProblem(err error) *problem {
	var (
		throttled *auth.ThrottledError
		busy      *auth.BusyError
	)
	switch {
	case errors.As(err, &throttled):
		return &problem{status: 429, code: "throttled", title: "Too many requests", detail: "There were too many attempts. Try again later.", retry: max(throttled.RetryAfter, time.Second)}
	case errors.As(err, &busy):
		p := problemUnavailable("")
		p.retry = max(busy.RetryAfter, time.Second)
		return p
	case errors.Is(err, auth.ErrInvalidLogin):
		return problemBadLogin
	case errors.Is(err, auth.ErrInvalidToken), errors.Is(err, auth.ErrInvalidCredentials):
		return problemBadToken
	case errors.Is(err, auth.ErrReauth):
		return &problem{status: 403, code: "reauth_required", title: "Forbidden", detail: "The current password is wrong or missing."}
	}
	return nil
}

// source says where the request comes from.
func (c *call) source() auth.Source {
	return auth.Source{IP: c.ip, Label: c.r.UserAgent()}
}

func (c *call) register() error {
	if err := c.noQuery(); err != nil {
		return err
	}
	if err := c.input.check(nil); err != nil {
		return err
	}
	r := auth.Registration{}
	r.Username, _ = c.input.text("username")
	r.Password, _ = c.input.text("password")
	r.Email, _ = c.input.text("email")
	u, err := c.cfg.Users.Register(c.r.Context(), r, c.source())
	if err != nil {
		return err
	}
	return c.json(http.StatusCreated, userDetailOf(u))
}

// tokensBody is the answer to a login, with the names that clients of simplejwt know.
type tokensBody struct {
	Access           string    `json:"access"`
	Refresh          string    `json:"refresh"`
	TokenType        string    `json:"token_type"`
	ExpiresIn        int64     `json:"expires_in"`
	RefreshExpiresIn int64     `json:"refresh_expires_in"`
	User             userBrief `json:"user"`
}

type userBrief struct {
	ID       string `json:"id"`
	Username string `json:"username"`
}

func (c *call) tokens(t auth.Tokens) error {
	return c.json(http.StatusOK, tokensBody{Access: t.Access, Refresh: t.Refresh, TokenType: "Bearer", ExpiresIn: int64(t.ExpiresIn / time.Second),
		RefreshExpiresIn: int64(t.RefreshExpiresIn / time.Second), User: userBrief{t.User.ID, t.User.Username}})
}

func (c *call) login() error {
	if err := c.noQuery(); err != nil {
		return err
	}
	if err := c.input.check(nil); err != nil {
		return err
	}
	username, _ := c.input.text("username")
	password, _ := c.input.text("password")
	t, err := c.cfg.Users.Login(c.r.Context(), auth.Credentials{Username: username, Password: password}, c.source())
	if err != nil {
		return err
	}
	return c.tokens(t)
}

func (c *call) refresh() error {
	if err := c.noQuery(); err != nil {
		return err
	}
	if err := c.input.check(nil); err != nil {
		return err
	}
	token, _ := c.input.text("refresh")
	t, err := c.cfg.Users.Refresh(c.r.Context(), token, c.source())
	if err != nil {
		return err
	}
	return c.tokens(t)
}

func (c *call) logout() error {
	if err := c.noQuery(); err != nil {
		return err
	}
	if err := c.cfg.Users.Logout(c.r.Context(), c.who); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

func (c *call) getMe() error {
	if err := c.noQuery(); err != nil {
		return err
	}
	u, err := c.cfg.Users.User(c.r.Context(), c.who.Subject)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, userDetailOf(u))
}

func (c *call) patchMe() error {
	if err := c.noQuery(); err != nil {
		return err
	}
	if err := c.input.check(nil); err != nil {
		return err
	}
	u, err := c.cfg.Users.User(c.r.Context(), c.who.Subject)
	if err != nil {
		return err
	}
	if err := c.input.unchanged(userDetailOf(u)); err != nil {
		return err
	}
	if email, sent := c.input.text("email"); sent && email != u.Email {
		current, _ := c.input.text("current_password")
		if u, err = c.cfg.Users.ChangeEmail(c.r.Context(), c.who, email, current, c.source()); err != nil {
			return err
		}
	}
	return c.json(http.StatusOK, userDetailOf(u))
}

func (c *call) changePassword() error {
	if err := c.noQuery(); err != nil {
		return err
	}
	if err := c.input.check(nil); err != nil {
		return err
	}
	current, _ := c.input.text("current_password")
	next, _ := c.input.text("new_password")
	if err := c.cfg.Users.ChangePassword(c.r.Context(), c.who, current, next, c.source()); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

// sessionDetail is a login as its owner sees it.
type sessionDetail struct {
	ID         string `json:"id"`
	Label      string `json:"label"`
	Current    bool   `json:"current"`
	CreatedAt  stamp  `json:"created_at"`
	LastUsedAt stamp  `json:"last_used_at"`
	ExpiresAt  stamp  `json:"expires_at"`
}

func (c *call) listSessions() error {
	if err := c.noQuery(); err != nil {
		return err
	}
	sessions, err := c.cfg.Users.Sessions(c.r.Context(), c.who)
	if err != nil {
		return err
	}
	results := make([]any, len(sessions))
	for i, s := range sessions {
		results[i] = sessionDetail{s.ID, s.Label, s.ID == c.who.Session, stamp(s.CreatedAt), stamp(s.RotatedAt), stamp(s.ExpiresAt)}
	}
	return c.json(http.StatusOK, envelope{Results: results})
}

func (c *call) endOtherSessions() error {
	if err := c.noQuery(); err != nil {
		return err
	}
	if err := c.cfg.Users.EndOtherSessions(c.r.Context(), c.who); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

func (c *call) endSession() error {
	if err := c.noQuery(); err != nil {
		return err
	}
	if err := c.cfg.Users.EndSession(c.r.Context(), c.who, c.param); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

func (c *call) listUsers() error {
	q, err := c.query()
	if err != nil {
		return err
	}
	p := q.page("users", "id", userFields...)
	if p.count {
		q.refuse("count", invalid.Choice, "Users are not counted.", nil)
	}
	if err := q.err(); err != nil {
		return err
	}
	after := ""
	if err := p.place(func(b []byte) bool { after = string(b); return id.Valid(after) }); err != nil {
		return err
	}
	users, err := c.cfg.Users.Users(c.r.Context(), after, p.size+1)
	if err != nil {
		return err
	}
	var more []byte
	if len(users) > p.size {
		users = users[:p.size]
		more = []byte(users[p.size-1].ID)
	}
	results := make([]any, len(users))
	for i, u := range users {
		if results[i], err = pick(userDetailOf(u), p.fields); err != nil {
			return err
		}
	}
	return c.results(p, results, more, nil)
}
