package rediscache

import "github.com/gomodule/redigo/redis"

// script is Lua that Redis runs as one command.
type script struct{ source, hash string }

func newScript(source string) script {
	return script{source: source, hash: redis.NewScript(-1, source).Hash()}
}

// setScript sets items unless there is one of a greater version. KEYS are their keys; ARGV has for
// each what to store and its TTL in milliseconds, or 0. Versions are compared byte by byte: numbers
// of Lua have 53 bits, and its strings are compared by the server's locale.
var setScript = newScript(`
local function greater(a, b)
  for i = 1, 8 do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x > y end
  end
  return false
end
for i, key in ipairs(KEYS) do
  local new, ttl = ARGV[2 * i - 1], ARGV[2 * i]
  local old = redis.pcall('GETRANGE', key, 0, 7)
  if type(old) ~= 'string' or #old < 8 or not greater(old, new) then
    if ttl == '0' then
      redis.call('SET', key, new)
    else
      redis.call('SET', key, new, 'PX', ttl)
    end
  end
end
`)

// addScript adds ARGV[1] to the count of KEYS[1], which ends ARGV[2] milliseconds after it began,
// and returns the sum as text, since a number would lose its last bits in Lua.
var addScript = newScript(`
local key, n, ttl = KEYS[1], ARGV[1], ARGV[2]
if n == '0' then
  return redis.call('GET', key) or '0'
end
if redis.call('EXISTS', key) == 0 then
  redis.call('SET', key, n, 'PX', ttl)
  return n
end
redis.call('INCRBY', key, n)
return redis.call('GET', key)
`)
