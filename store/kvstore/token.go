package kvstore

import (
	"context"

	"github.com/khodnevis/khodnevis/auth"
)

func tokenKeys(tk auth.Token) [][]byte {
	family := int64(0)
	if tk.Kind == auth.Family {
		family = 1
	}
	keys := [][]byte{key(tokensBySession, tk.Session, family, tk.Generation, [32]byte(tk.Hash))}
	if tk.Kind == auth.Access {
		keys = append(keys, key(tokensByEnd, tk.ExpiresAt, [32]byte(tk.Hash)))
	}
	return keys
}

func (t *tx) addTokens(added []auth.Token) {
	for _, tk := range added {
		tokens.put(t, tk, [32]byte(tk.Hash))
		t.reindex(nil, tokenKeys(tk))
	}
}

// removeTokens removes those whose keys in the index of sessions lie in s.
func (t *tx) removeTokens(s span) {
	for _, p := range t.rests(s, -1) {
		p.integer()
		p.integer()
		t.removeToken(p.hash())
	}
}

func (t *tx) removeToken(hash [32]byte) {
	if tk, ok := tokens.get(t, hash); ok {
		tokens.delete(t, hash)
		t.reindex(tokenKeys(tk), nil)
	}
}

// GrantByToken implements auth.Store.
func (s *Store) GrantByToken(ctx context.Context, hash auth.Hash) (auth.Grant, error) {
	return view(ctx, s, "grant by token", func(t *tx) (g auth.Grant, _ error) {
		tk, isToken := tokens.get(t, [32]byte(hash))
		login, isSession := sessions.get(t, tk.Session)
		u, isUser := users.get(t, login.User)
		if !isToken || !isSession || !isUser {
			return g, auth.ErrNotFound
		}
		return auth.Grant{Token: tk, Session: login, User: u}, nil
	})
}
