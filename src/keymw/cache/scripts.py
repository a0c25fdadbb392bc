"""The two steps that must be atomic in Redis, as Lua.

A *tombstone* remembers the version that an entity has reached, so that a slow reader cannot put
back what a change has just deleted.
"""

from __future__ import annotations

#: KEYS: value, then one tombstone for each entity. ARGV: value, milliseconds, then their versions.
#: Returns 0 if a change has overtaken the value.
FILL = """
for i = 2, #KEYS do
  local seen = redis.call('GET', KEYS[i])
  if seen and tonumber(seen) > tonumber(ARGV[i + 1]) then
    return 0
  end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

#: KEYS: tombstone, stream, then values. ARGV: version, milliseconds, message, stream length.
#: Deletes first: a Redis that is out of memory still lets a script delete, and one that has deleted
#: may go on to write.
PUBLISH = """
for i = 3, #KEYS do
  redis.call('DEL', KEYS[i])
end
local seen = redis.call('GET', KEYS[1])
if not seen or tonumber(seen) < tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', 'm', ARGV[3])
return 1
"""
