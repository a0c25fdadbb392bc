"""The steps that must be atomic in Redis, as Lua.

A *fill token* is the right to put a value in its place. One process of many takes it, reads the
store and fills; a change takes the token away with the value, so that what was read before the
change cannot be put back after it.
"""

from __future__ import annotations

#: KEYS: value, token's place. ARGV: token, milliseconds that it stays, a value of no use.
#: Returns a value if there is one now; else 1 if the token was left, 0 if another one is there.
#: What is not even a string is no value: a fill puts one in its place.
RESERVE = """
local held = redis.pcall('GET', KEYS[1])
if type(held) == 'string' and held ~= ARGV[3] then
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
#: may go on to write. What takes no message any more, for it is no stream or its ids have come to
#: their end, is begun anew; those who listen notice, and ask the store.
PUBLISH = """
for i = 2, #KEYS do
  redis.call('DEL', KEYS[i])
end
local command = {'XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'm', ARGV[1]}
local reply = redis.pcall(unpack(command))
if type(reply) == 'table' and reply.err then
  if not (reply.err:find('WRONGTYPE') or reply.err:find('last possible ID')) then
    return reply
  end
  redis.call('DEL', KEYS[1])
  redis.call(unpack(command))
end
return 1
"""
