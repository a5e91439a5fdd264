package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/internal/deadline"
	"github.com/khodnevis/khodnevis/internal/id"
	"github.com/khodnevis/khodnevis/rating"
)

// userDetail is an account, for its owner and staff.
type userDetail struct {
	ID         string `json:"id" doc:"The identifier."`
	Username   string `json:"username" doc:"The username."`
	Email      string `json:"email" doc:"The e-mail address; may be empty. Not public."`
	DateJoined stamp  `json:"date_joined" doc:"When it was created."`
}

func userDetailOf(u auth.User) userDetail {
	return userDetail{u.ID, u.Username, u.Email, stamp(u.JoinedAt)}
}

var (
	userType    = schemaType{name: "User", of: userDetail{}}
	userRead    = schemaType{name: "UserFields", of: userDetail{}, partial: true}
	userList    = schemaType{name: "UserFields", of: userDetail{}, partial: true, list: true}
	tokensType  = schemaType{name: "Tokens", of: tokensBody{}}
	sessionType = schemaType{name: "Session", of: sessionDetail{}, list: true}
)

// Members of the bodies, as auth.Service checks them.
var (
	usernameSchema = object{{"minLength", auth.MinUsername}, {"maxLength", auth.MaxUsername}, {"format", "username"},
		{"description", "Letters, digits and signs of one writing direction, without spaces (RFC 8265, " +
			"UsernameCasePreserved), not beginning with a hyphen, and no mix of Latin, Cyrillic and Greek."},
		{"examples", []string{"forough"}}}
	emailSchema = object{{"maxLength", auth.MaxEmail}, {"anyOf", []object{{{"const", ""}}, {{"format", "email"}}}},
		{"description", "An e-mail address, or an empty text."}, {"examples", []string{"forough@example.org"}}}
	secretSchema = object{{"format", "password"}, {"writeOnly", true}}
)

// addUsers adds the routes of this module's own accounts.
func (a *API) addUsers(t map[string]methods) {
	chosen := object{{"minLength", a.cfg.Users.PasswordMin()}, {"maxLength", auth.MaxPassword}, {"format", "password"},
		{"writeOnly", true},
		{"description", "Any characters. Common passwords are refused."}}
	username, current := member{name: "username", required: true,
		schema: usernameSchema}, member{name: "current_password", schema: secretSchema}
	registration := &body{name: "Registration", limit: smallBody, members: []member{username,
		{name: "password", required: true, schema: chosen}, {name: "email", schema: emailSchema}}}
	login := &body{name: "Login", limit: smallBody, members: []member{
		{name: "username", required: true, schema: object{{"minLength", 1}}}, {name: "password", required: true,
			schema: append(object{{"minLength", 1}}, secretSchema...)}}}
	refresh := &body{name: "Refresh", limit: smallBody, members: []member{{name: "refresh", required: true,
		schema: object{{"description", "The refresh token. It can be used once."}, {"writeOnly", true}}}}}
	newPassword := &body{name: "NewPassword", limit: smallBody, members: []member{current, {name: "new_password",
		required: true, schema: chosen}}}
	newEmail := &body{name: "AccountChange", limit: smallBody,
		members: append([]member{{name: "email", schema: emailSchema}, current}, userType.readOnly("email")...)}
	erasure := &body{name: "AccountDeletion", limit: smallBody, members: []member{current,
		{name: "ratings", required: true, schema: object{
			{"enum", []rating.ErasureMode{rating.EraseDelete, rating.EraseAnonymize}},
			{"description", "What happens to the ratings of the account: delete deletes them; anonymize keeps each as the " +
				"rating of a rater that is made up for it."}}}}}
	ownQuota := fmt.Sprintf("One IP prefix may log in and register at most %d times a minute, together.",
		a.cfg.Limits.Logins)
	tokens := []response{ok("The tokens and their user.", tokensType)}
	t["/users/"] = methods{
		http.MethodGet: {
			name: "listUsers", summary: "List accounts", description: "For staff.", policy: staffOnly,
			query:     listParameters(userRead, false),
			responses: []response{ok("A page of accounts.", userList, linkHeader)}, run: (*call).listUsers,
		},
		http.MethodPost: {
			name: "register", summary: "Create an account", description: ownQuota, policy: credential, body: registration,
			responses: []response{{http.StatusCreated, "The account was created.", &userType, nil}}, run: (*call).register,
		},
	}
	t["/users/login/"] = methods{http.MethodPost: {
		name: "login", summary: "Log in", description: ownQuota, policy: credential, body: login,
		codes: []problemCode{"invalid_login"}, responses: tokens, run: (*call).login,
	}}
	t["/users/token/refresh/"] = methods{http.MethodPost: {
		name: "refreshToken", summary: "Refresh the tokens of a session",
		description: fmt.Sprintf("One session may be refreshed at most %d times a minute.", a.cfg.Limits.Logins),
		policy:      credential, body: refresh, codes: []problemCode{"invalid_token"},
		responses: tokens, run: (*call).refresh,
	}}
	t["/users/logout/"] = methods{http.MethodPost: {
		name: "logout", summary: "Log out", description: "The tokens of the session end.", policy: signedIn,
		responses: []response{noContent("The session has ended.")}, run: (*call).logout,
	}}
	t["/users/me/"] = methods{
		http.MethodGet: {
			name: "getMe", summary: "Read the caller's account", policy: signedIn, problems: []int{404},
			responses: []response{ok("The account.", userType)}, run: (*call).getMe,
		},
		http.MethodPatch: {
			name: "changeMe", summary: "Change the caller's account", description: "A change of the e-mail address needs " +
				"the current password.", policy: signedIn, body: newEmail,
			problems: []int{404}, codes: []problemCode{"reauth_required"},
			responses: []response{ok("The account after the change.", userType)}, run: (*call).patchMe,
		},
		http.MethodDelete: {
			name: "deleteMe", summary: "Delete the caller's account", policy: signedIn, body: erasure,
			problems: []int{404}, codes: []problemCode{"reauth_required"},
			description: "All sessions end at once. The username stays taken. The ratings follow within moments, pending " +
				"ones included. The contents stay.",
			responses: []response{noContent("The account is deleted.")}, run: (*call).deleteMe,
		},
	}
	t["/users/me/password/"] = methods{http.MethodPost: {
		name: "changePassword", summary: "Change the caller's password", description: "All other sessions end.",
		policy: signedIn, body: newPassword,
		problems: []int{404}, codes: []problemCode{"reauth_required"},
		responses: []response{noContent("The password is changed.")}, run: (*call).changePassword,
	}}
	t["/users/me/sessions/"] = methods{
		http.MethodGet: {
			name: "listSessions", summary: "List the caller's sessions", policy: signedIn,
			responses: []response{ok("All on one page.", sessionType)}, run: (*call).listSessions,
		},
		http.MethodDelete: {
			name: "endOtherSessions", summary: "End the caller's other sessions", policy: signedIn,
			responses: []response{noContent("The sessions have ended.")}, run: (*call).endOtherSessions,
		},
	}
	t["/users/me/sessions/:id/"] = methods{http.MethodDelete: {
		name: "endSession", summary: "End one of the caller's sessions", policy: signedIn,
		responses: []response{noContent("The session has ended.")}, run: (*call).endSession,
	}}
}

// userProblem returns the problem of an error of package auth, or nil.
func userProblem(err error) *problem {
	var (
		throttled *auth.ThrottledError
		busy      *auth.BusyError
	)
	switch {
	case errors.As(err, &throttled):
		p := problemThrottled("Too many attempts. Try again later.", throttled.RetryAfter)
		p.header = http.Header{"Ratelimit": nil, "Ratelimit-Policy": nil} // they describe a quota that is not used up
		return p
	case errors.As(err, &busy):
		p := problemUnavailable("")
		p.retry = max(busy.RetryAfter, time.Second)
		return p
	case errors.Is(err, auth.ErrInvalidLogin):
		return problemBadLogin
	case errors.Is(err, auth.ErrInvalidToken), errors.Is(err, auth.ErrInvalidCredentials):
		return bearer.wrong
	case errors.Is(err, auth.ErrReauth):
		return &problem{status: 403, code: "reauth_required", title: "Forbidden",
			detail: "The current password is wrong or missing."}
	}
	return nil
}

// source returns where the request comes from.
func (c *call) source() auth.Source {
	return auth.Source{IP: c.ip, Label: c.r.UserAgent()}
}

func (c *call) register() error {
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

// tokensBody is the response to a login, with the names of simplejwt.
type tokensBody struct {
	Access           string    `json:"access" doc:"The token to send as Authorization: Bearer."`
	Refresh          string    `json:"refresh" doc:"The token that gets new ones. It can be used once."`
	TokenType        string    `json:"token_type" enum:"Bearer" doc:"How the access token is sent."`
	ExpiresIn        int64     `json:"expires_in" doc:"For how many seconds the access token is valid."`
	RefreshExpiresIn int64     `json:"refresh_expires_in" doc:"For how many seconds the refresh token is valid."`
	User             userBrief `json:"user" doc:"The user of the tokens."`
}

type userBrief struct {
	ID       string `json:"id" doc:"The identifier of the account."`
	Username string `json:"username" doc:"The username."`
}

func (c *call) tokens(t auth.Tokens) error {
	return c.json(http.StatusOK, tokensBody{Access: t.Access, Refresh: t.Refresh, TokenType: "Bearer",
		ExpiresIn:        int64(t.ExpiresIn / time.Second),
		RefreshExpiresIn: int64(t.RefreshExpiresIn / time.Second), User: userBrief{t.User.ID, t.User.Username}})
}

func (c *call) login() error {
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
	if err := c.input.check(nil); err != nil {
		return err
	}
	token, _ := c.input.text("refresh")
	if err := c.countInvalid("refresh", 0); err != nil {
		return err
	}
	t, err := c.cfg.Users.Refresh(c.r.Context(), token, c.source())
	if errors.Is(err, auth.ErrInvalidToken) {
		_ = c.countInvalid("refresh", 1)
	}
	if err != nil {
		return err
	}
	return c.tokens(t)
}

func (c *call) logout() error {
	return c.done(c.cfg.Users.Logout(c.r.Context(), c.who))
}

func (c *call) getMe() error {
	u, err := c.cfg.Users.User(c.r.Context(), c.who.Subject)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, userDetailOf(u))
}

func (c *call) patchMe() error {
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
	email, sent := c.input.text("email")
	if !sent {
		email = u.Email
	}
	// a password that is sent is always checked
	if current, sent := c.input.text("current_password"); sent || email != u.Email {
		if u, err = c.cfg.Users.ChangeEmail(c.r.Context(), c.who, email, current, c.source()); err != nil {
			return err
		}
	}
	return c.json(http.StatusOK, userDetailOf(u))
}

func (c *call) changePassword() error {
	if err := c.input.check(nil); err != nil {
		return err
	}
	current, _ := c.input.text("current_password")
	next, _ := c.input.text("new_password")
	return c.done(c.cfg.Users.ChangePassword(c.r.Context(), c.who, current, next, c.source()))
}

func (c *call) deleteMe() error {
	ratings, sent := c.input.text("ratings")
	fate := rating.ErasureMode(ratings)
	var bad error
	if sent {
		bad = fate.Validate()
	}
	if err := c.input.check(bad); err != nil {
		return err
	}
	current, _ := c.input.text("current_password")
	if err := c.cfg.Users.DeleteAccount(c.r.Context(), c.who, current, ratings, c.source()); err != nil {
		return err
	}
	// The erasure of the ratings is recorded with the deletion. This starts it now, even if the
	// client has hung up.
	ctx, cancel := deadline.Keep(c.r.Context())
	defer cancel()
	if err := c.cfg.Ratings.Erase(ctx, c.who.Subject, fate); err != nil {
		c.cfg.Logger.WarnContext(c.r.Context(), "httpapi: the ratings of a deleted account follow later", "user",
			c.who.Subject, "request_id", c.id, "error", err)
	}
	return c.empty(http.StatusNoContent)
}

// sessionDetail is a session, for its owner.
type sessionDetail struct {
	ID         string `json:"id" doc:"The identifier."`
	Label      string `json:"label" doc:"The User-Agent of the login."`
	Current    bool   `json:"current" doc:"Whether it is the session of this request."`
	CreatedAt  stamp  `json:"created_at" doc:"When the session began."`
	LastUsedAt stamp  `json:"last_used_at" doc:"When its tokens were issued last."`
	ExpiresAt  stamp  `json:"expires_at" doc:"When the session ends at the latest."`
}

func (c *call) listSessions() error {
	sessions, err := c.cfg.Users.Sessions(c.r.Context(), c.who)
	if err != nil {
		return err
	}
	results := make(results, len(sessions))
	for i, s := range sessions {
		results[i] = sessionDetail{s.ID, s.Label, s.ID == c.who.Session, stamp(s.CreatedAt), stamp(s.RotatedAt),
			stamp(s.ExpiresAt)}
	}
	return c.json(http.StatusOK, envelope{Results: results})
}

func (c *call) endOtherSessions() error {
	return c.done(c.cfg.Users.EndOtherSessions(c.r.Context(), c.who))
}

func (c *call) endSession() error {
	return c.done(c.cfg.Users.EndSession(c.r.Context(), c.who, c.param))
}

func (c *call) listUsers() error {
	p := c.query.page("users", "id")
	after := ""
	if err := p.place(func(b []byte) bool { after = string(b); return id.Valid(after) }); err != nil {
		return err
	}
	users, err := c.cfg.Users.Users(c.r.Context(), after, p.size+1)
	if err != nil {
		return err
	}
	return respondPage(c, p, users, func(u auth.User) []byte { return []byte(u.ID) },
		func(u auth.User) any { return userDetailOf(u) }, nil)
}
