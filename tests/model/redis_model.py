"""Redis as far as keymw uses it: values with a lifetime, one stream, four scripts.

`RedisCache` and `RedisStream` themselves run on it, through clients that stop before each command
takes effect and again before its reply arrives. That it behaves as Redis does is shown by
`test_redis_model.py`.
"""

from __future__ import annotations

from redis.exceptions import ConnectionError as Disconnected

from keymw.cache import scripts
from model.scheduler import stop_at

#: A command that fails before it takes effect; one whose reply never comes; a reply to another.
REFUSED, LOST, CROSSED = "refused", "lost", "crossed"


class Redis:
    """The server. `clock` returns seconds."""

    def __init__(self, clock):
        self._clock = clock
        self.values = {}
        self.streams = {}
        #: Time passes with each message: no two of them have the same number.
        self._ticks = 0
        #: Seconds by which its wall clock has stepped back; messages are numbered by it.
        self.behind = 0.0

    def get(self, name):
        value, ends = self.values.get(name, (None, 0.0))
        return value if self._clock() < ends else None

    def set(self, name, value, milliseconds):
        self.values[name] = (value, self._clock() + milliseconds / 1000)

    def delete(self, name):
        self.values.pop(name, None)

    def xadd(self, name, message, length):
        self._ticks += 1
        messages = [*self.streams.get(name, ()), (self._now(), message)]
        self.streams[name] = messages[-length:]

    def _now(self):
        return b"%d-0" % ((self._clock() - self.behind) * 1000 + self._ticks)

    def xread(self, streams, count, block):
        ((name, cursor),) = streams.items()
        found = [each for each in self.streams.get(name, ()) if number(each[0]) > number(cursor)]
        return {name: [(each, {b"m": message}) for each, message in found[:count]]} if found else {}

    def xrevrange(self, name, count):
        found = self.streams.get(name, [])[-count:]
        return [(each, {b"m": message}) for each, message in reversed(found)]

    def snapshot(self):
        return dict(self.values), {name: list(found) for name, found in self.streams.items()}

    def restore(self, snapshot=None):
        """Start anew from a snapshot, or with nothing."""
        values, streams = ({}, {}) if snapshot is None else snapshot
        self.values, self.streams = dict(values), {name: list(streams[name]) for name in streams}

    def state(self):
        # The numbers of messages matter by their order only, and that is the order they came in.
        messages = tuple(message for stream in self.streams.values() for _, message in stream)
        return frozenset(self.values.items()), messages


def number(position):
    return tuple(map(int, position.split(b"-")))


def reserve(redis, names, token, milliseconds, useless):
    held = redis.get(names[0])
    if held is not None and held != useless:
        return held
    if redis.get(names[1]) is not None:
        return 0
    redis.set(names[1], token, milliseconds)
    return 1


def fill(redis, names, token, value, milliseconds):
    if redis.get(names[1]) != token:
        return 0
    redis.delete(names[1])
    redis.set(names[0], value, milliseconds)
    return 1


def release(redis, names, token):
    if redis.get(names[0]) == token:
        redis.delete(names[0])
    return 1


def publish(redis, names, message, length):
    for name in names[1:]:
        redis.delete(name)
    redis.xadd(names[0], message, length)
    return 1


#: The names of the functions above by the scripts that they stand for.
SCRIPTS = {
    scripts.RESERVE: "reserve",
    scripts.FILL: "fill",
    scripts.RELEASE: "release",
    scripts.PUBLISH: "publish",
}


def run_script(redis, text, count, *arguments):
    return globals()[SCRIPTS[text]](redis, arguments[:count], *arguments[count:])


class Unbroken:
    """A breaker that never breaks: it would only leave out questions, which then are `refused`."""

    def permits(self, _):
        return True

    def failed(self, *_):
        pass

    succeeded = failed


class Client:
    """What `RedisCache` uses of an asynchronous client. `place` makes steps and hears of them."""

    def __init__(self, redis, place):
        self._redis = redis
        self._place = place

    async def mget(self, names):
        fault = await stop_at(self._place.step("get", reads={"values"}, faults=(CROSSED,)))
        found = [self._redis.get(name) for name in names]
        if fault == CROSSED:
            found = [held[0] for name, held in self._redis.values.items() if name not in names][:1]
        await self._arrives("get")
        for name, reply in zip(names, found, strict=False):
            self._place.learnt("get", name, reply)
        return found

    async def eval(self, text, count, *arguments):
        name = SCRIPTS[text]
        writes = {"values", "stream"} if text == scripts.PUBLISH else {"values"}
        if await stop_at(self._place.step(name, writes=writes, faults=(REFUSED,))):
            raise Disconnected
        reply = run_script(self._redis, text, count, *arguments)
        self._place.took_effect(name, reply, arguments)
        await self._arrives(name)
        self._place.learnt(name, arguments[0], reply, arguments)
        return reply

    async def _arrives(self, name):
        if await stop_at(self._place.answer(name)):
            raise Disconnected
