"""The steps that must be atomic in Redis, as Lua.

A *fill token* is the right to put a value in its place. One process of many takes it, reads the
store and fills; a change takes the token away with the value, so that what was read before the
change cannot be put back after it.
"""

from __future__ import annotations

#: KEYS: value, token's place. ARGV: token, milliseconds that it stays, a value of no use.
#: Returns a value if there is one now; else 1 if the token was left, 0 if another one is there.
RESERVE = """
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[3] then
  return held
end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then
  return 1
end
return 0
"""

#: KEYS: value, token's place. ARGV: token, value, milliseconds. Returns 0 if the token is gone.
FILL = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[2])
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""

#: KEYS: token's place. ARGV: token.
RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return 1
"""

#: KEYS: stream, then values and tokens. ARGV: message, stream length.
#: Deletes first: a Redis that is out of memory still lets a script delete, and one that has deleted
#: may go on to write.
PUBLISH = """
for i = 2, #KEYS do
  redis.call('DEL', KEYS[i])
end
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'm', ARGV[1])
return 1
"""
