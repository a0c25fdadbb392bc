"""The model of Redis behaves as Redis does: the same commands give the same replies."""

from __future__ import annotations

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keymw.cache import scripts
from model.redis_model import Redis, run_script

VALUE, TOKEN, STREAM = "v", "f", "s"
words = st.sampled_from([b"1", b"2", b"3"])
commands = st.lists(
    st.one_of(
        st.tuples(st.just(scripts.RESERVE), st.just((VALUE, TOKEN)), st.tuples(words, words)),
        st.tuples(st.just(scripts.FILL), st.just((VALUE, TOKEN)), st.tuples(words, words)),
        st.tuples(st.just(scripts.RELEASE), st.just((TOKEN,)), st.tuples(words)),
        st.tuples(st.just(scripts.PUBLISH), st.just((STREAM, VALUE, TOKEN)), st.tuples(words)),
        st.just(("get", (), ())),
        st.tuples(st.just("read"), st.just(()), st.tuples(st.integers(0, 5))),
    ),
    min_size=10,
    max_size=30,
)
_LONG = 1_000_000


def _arguments(script, words):
    """Return a script's arguments as keymw gives them: nothing ends by itself here."""
    if script == scripts.RESERVE:
        return (words[0], _LONG, words[1])
    if script == scripts.FILL:
        return (*words, _LONG)
    return (*words, 10_000) if script == scripts.PUBLISH else words


class _Pair:
    """The real one and the model, side by side."""

    def __init__(self, real):
        self.real, self.model = real, Redis(lambda: 10_000.0)
        #: Messages are numbered by each side's own clock; what is compared is what they are.
        self.cursors = {real: [b"0-0"], self.model: [b"0-0"]}

    def do(self, what, names, words):
        if what == "get":
            assert self.model.get(VALUE) == self.real.get(VALUE)
        elif what == "read":
            assert self._read(self.model, *words) == self._read(self.real, *words)
            assert self._last(self.model) == self._last(self.real)
        else:
            arguments = _arguments(what, words)
            found = run_script(self.model, what, len(names), *names, *arguments)
            assert found == self.real.eval(what, len(names), *names, *arguments)

    def _read(self, side, place):
        cursors = self.cursors[side]
        reply = side.xread({STREAM: cursors[min(place, len(cursors) - 1)]}, 1000, None)
        found = reply.items() if isinstance(reply, dict) else reply
        messages = [each for _, messages in found for each in messages]
        if messages and isinstance(messages[0], list):
            (messages,) = messages
        if len(messages) > len(cursors) - 1:
            cursors += [number for number, _ in messages[len(cursors) - 1 :]]
        return [fields for _, fields in messages]

    @staticmethod
    def _last(side):
        return [fields for _, fields in side.xrevrange(STREAM, count=1)]


@pytest.fixture(scope="module")
def real(redis_instance):
    with redis.Redis.from_url(redis_instance) as client:
        yield client


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(commands)
def test_the_model_answers_as_redis_does(real, commands):
    real.flushall()
    pair = _Pair(real)
    for command in commands:
        pair.do(*command)


def test_what_has_a_lifetime_ends():
    now = [10.0]
    model = Redis(lambda: now[0])
    assert run_script(model, scripts.RESERVE, 2, VALUE, TOKEN, b"t", 1000, b"") == 1
    assert run_script(model, scripts.RESERVE, 2, VALUE, TOKEN, b"u", 1000, b"") == 0
    now[0] = 11.0
    assert run_script(model, scripts.RESERVE, 2, VALUE, TOKEN, b"u", 1000, b"") == 1
    assert run_script(model, scripts.FILL, 2, VALUE, TOKEN, b"t", b"x", 1000) == 0
    assert run_script(model, scripts.FILL, 2, VALUE, TOKEN, b"u", b"x", 1000) == 1
    now[0] = 12.0
    assert model.get(VALUE) is None


def test_a_stream_is_no_longer_than_it_may_be():
    model = Redis(lambda: 10.0)
    for word in (b"1", b"2", b"3"):
        run_script(model, scripts.PUBLISH, 1, STREAM, word, 2)
    assert [fields[b"m"] for _, fields in model.xread({STREAM: b"0-0"}, 10, None)[STREAM]] == [
        b"2",
        b"3",
    ]
