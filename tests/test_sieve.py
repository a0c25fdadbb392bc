"""What L1 evicts, against the algorithm written down as plainly as it can be."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keymw.cache.local import Entry
from keymw.cache.sieve import Sieve
from keymw.http import INVALID


def entry():
    return Entry(INVALID, 1.0)


class Plain:
    """SIEVE on a list, newest first: the reference."""

    def __init__(self, size):
        self.size = size
        self.keys = []
        self.visited = {}
        self.hand = None

    def read(self, key):
        if key in self.visited:
            self.visited[key] = True

    def put(self, key):
        self.drop(key)
        if len(self.keys) == self.size:
            self.evict()
        self.keys.insert(0, key)
        self.visited[key] = False

    def drop(self, key):
        if key in self.visited:
            place = self.keys.index(key)
            if self.hand == key:
                self.hand = self.keys[place - 1] if place else None
            self.keys.remove(key)
            del self.visited[key]

    def evict(self):
        place = len(self.keys) - 1 if self.hand is None else self.keys.index(self.hand)
        while self.visited[self.keys[place]]:
            self.visited[self.keys[place]] = False
            place = place - 1 if place else len(self.keys) - 1
        self.hand = self.keys[place]
        self.drop(self.keys[place])


@settings(deadline=None, max_examples=300)
@given(
    st.integers(1, 5),
    st.lists(st.tuples(st.sampled_from(["put", "read", "drop"]), st.integers(0, 8))),
)
def test_it_keeps_what_the_plain_one_keeps(size, steps):
    cache, plain = Sieve(size), Plain(size)
    for action, number in steps:
        key = b"%d" % number
        if action == "put":
            cache[key] = entry()
        elif action == "drop":
            cache.pop(key, None)
        elif key in cache:
            cache[key].visited = True
        getattr(plain, action)(key)
        assert set(cache) == set(plain.visited)
        assert chain(cache) == plain.keys


def chain(cache):
    """Return the keys from the newest to the oldest, and hold that the way back is the same."""
    found, at = [], cache._newest
    while at is not None:
        found.append(at.key)
        assert (at.older.newer if at.older else cache._oldest) is at
        at = at.older
    return found


def test_a_scan_does_not_push_out_what_is_used():
    cache = Sieve(10)
    for number in range(10):
        cache[b"good%d" % number] = entry()
        cache[b"good%d" % number].visited = True
    for number in range(1000):
        cache[b"scan%d" % number] = entry()
        for good in [key for key in cache if key.startswith(b"good")]:
            cache[good].visited = True
    assert sum(key.startswith(b"good") for key in cache) == 9


def test_an_empty_one_has_nothing_to_evict():
    cache = Sieve(3)
    with pytest.raises(KeyError):
        cache.popitem()
    cache[b"a"] = entry()
    cache.clear()
    assert len(cache) == 0
    assert chain(cache) == []
    with pytest.raises(KeyError):
        cache.popitem()
    cache[b"a"] = entry()
    assert chain(cache) == [b"a"]
