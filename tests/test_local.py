"""L1, with a clock that the test moves, and against a plain dict."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from keymw import Denied, Granted, Reason, ServicePrincipal
from keymw.cache.fence import Fence
from keymw.cache.local import Entry, LocalCache
from keymw.ports import Invalidation

NO = Denied(Reason.INVALID)


def grant(label):
    return Granted(ServicePrincipal(label, "2", label, frozenset()))


def good(*entities, deadline=100.0, alone_until=-inf, position=0, label="k"):
    return Entry(grant(label), deadline, alone_until, entities, position)


def bad(*entities, deadline=100.0, alone_until=-inf, position=0):
    return Entry(NO, deadline, alone_until, entities, position)


@pytest.fixture
def cache():
    return LocalCache(4, 3, Fence())


def held(cache, *digests, now=0.0):
    return [digest for digest in digests if cache.get(digest, now) is not None]


def test_garbage_never_pushes_out_a_good_key(cache):
    for number in range(4):
        assert cache.put_granted(b"%d" % number, good((f"key:{number}", 1)), 0.0)
    for number in range(100):
        assert cache.put_denied(b"x%d" % number, bad(), cache.generation)
    assert cache.sizes() == (4, 3)
    assert held(cache, b"0", b"1", b"2", b"3") == [b"0", b"1", b"2", b"3"]


def test_the_least_used_good_key_goes_first_and_its_entities_with_it(cache):
    for number in range(4):
        cache.put_granted(
            b"%d" % number, good((f"key:{number}", 1), ("user:u", 0)), cache.generation
        )
    cache.get(b"0", 0.0)
    cache.put_granted(b"4", good(("key:4", 1), ("user:u", 0)), 0.0)
    assert held(cache, b"0", b"1", b"2", b"3", b"4") == [b"0", b"2", b"3", b"4"]
    assert cache._positives.digests_of["user:u"] == {b"0", b"2", b"3", b"4"}
    assert "key:1" not in cache._positives.digests_of


def test_deadlines_are_exclusive(cache):
    cache.put_granted(b"a", good(("key:a", 1), deadline=10.0), 0.0)
    cache.put_denied(b"b", bad(deadline=10.0), cache.generation)
    assert held(cache, b"a", b"b", now=9.999) == [b"a", b"b"]
    assert held(cache, b"a", b"b", now=10.0) == []
    assert (cache.hits, cache.negative_hits) == (1, 1)


def test_an_older_version_is_refused_whatever_raised_the_floor(cache):
    cache.invalidate(Invalidation("key:a", 3))
    assert not cache.put_granted(b"a", good(("key:a", 2)), 0.0)
    assert cache.put_granted(b"a", good(("key:a", 3)), 0.0)
    assert cache.put_granted(b"b", good(("key:b", 5)), 0.0)
    assert not cache.put_granted(b"b2", good(("key:b", 4)), 0.0)
    cache.learn((("key:c", 7),), 0)
    assert not cache.put_granted(b"c", good(("key:c", 6)), 0.0)
    cache.clear()
    assert not cache.put_granted(b"a", good(("key:a", 2)), 0.0)


@pytest.mark.parametrize("seen", ["granted", "denied"])
def test_a_newer_version_ends_the_older_secret_however_it_is_learnt(cache, seen):
    """The new secret is used before the message about the roll arrives."""
    cache.put_granted(b"old", good(("key:a", 1)), 0.0)
    if seen == "granted":
        cache.put_granted(b"new", good(("key:a", 2)), 0.0)
    else:
        cache.learn((("key:a", 2),), 0)
        cache.put_denied(b"new", bad(("key:a", 2)), cache.generation)
    cache.invalidate(Invalidation("key:a", 2))
    assert held(cache, b"old") == []
    assert held(cache, b"new") == ([b"new"] if seen == "granted" else [])


def test_a_users_keys_end_together_and_nobody_elses(cache):
    cache.put_granted(b"1", good(("key:1", 1), ("user:u", 0)), 0.0)
    cache.put_granted(b"2", good(("key:2", 1), ("user:u", 0)), 0.0)
    cache.put_granted(b"3", good(("key:3", 1), ("user:v", 0)), 0.0)
    cache.invalidate(Invalidation("user:u", 1))
    assert held(cache, b"1", b"2", b"3") == [b"3"]
    assert not cache.put_granted(b"1", good(("key:1", 1), ("user:u", 0)), 0.0)
    assert cache.put_granted(b"1", good(("key:1", 1), ("user:u", 2)), 0.0)


def test_a_message_heard_twice_ends_nothing_new(cache):
    cache.invalidate(Invalidation("key:a", 2))
    cache.put_granted(b"a", good(("key:a", 2)), 0.0)
    cache.invalidate(Invalidation("key:a", 2))
    cache.invalidate(Invalidation("key:a", 1))
    assert held(cache, b"a") == [b"a"]


def test_every_change_ends_every_refusal_and_those_being_read(cache):
    before = cache.generation
    cache.put_denied(b"x", bad(), before)
    cache.invalidate(Invalidation("key:unrelated", 1))
    assert held(cache, b"x") == []
    assert not cache.put_denied(b"x", bad(), before)
    assert cache.put_denied(b"x", bad(), cache.generation)
    cache.clear()
    assert cache.generation == before + 2


def test_one_digest_is_good_or_refused_never_both(cache):
    cache.put_denied(b"a", bad(), cache.generation)
    cache.put_granted(b"a", good(("key:a", 1)), 0.0)
    assert cache.sizes() == (1, 0)
    cache.put_denied(b"a", bad(("key:a", 1)), cache.generation)
    assert cache.sizes() == (0, 1)
    assert cache.get(b"a", 0.0) is NO
    assert not cache._positives.digests_of


def test_a_refusal_never_replaces_what_was_read_after_it(cache):
    assert cache.put_granted(b"a", good(("key:a", 1), position=7), 0.0)
    assert not cache.put_denied(b"a", bad(("key:a", 1), position=6), cache.generation)
    assert not cache.put_denied(b"a", bad(), cache.generation)
    assert held(cache, b"a") == [b"a"]
    assert cache.get(b"a", 0.0) is not NO
    # Read at the same position, but later: the key has expired meanwhile.
    assert cache.put_denied(b"a", bad(("key:a", 1), position=7), cache.generation)
    assert cache.get(b"a", 0.0) is NO


def test_a_store_that_has_lost_changes_which_only_an_answer_knew_of_is_believed(cache):
    cache.catch_up((0, 0), 1, changes(1), complete=True)
    assert cache.put_granted(b"a", good(("key:a", 3), position=3), 0.0)
    progress = cache.progress
    assert progress == (1, 3)
    assert cache.catch_up(progress, 1, [], complete=True)
    assert cache.put_granted(b"a", good(("key:a", 1), position=1), 0.0)
    assert not cache.catch_up((3, 3), 4, changes(4), complete=True), "asked before it went back"


def test_floors_outnumber_whatever_is_held():
    assert LocalCache(200_000, 1, Fence())._floors._size >= 2 * 200_000


@pytest.mark.parametrize("put", ["granted", "denied"])
def test_without_the_fence_only_what_the_store_has_just_said_counts(put):
    fence = Fence("feed")
    cache = LocalCache(4, 3, fence)
    if put == "granted":
        assert cache.put_granted(b"a", good(alone_until=5.0), 4.0)
        assert not cache.put_granted(b"b", good(alone_until=5.0), 5.0)
        assert not cache.put_granted(b"c", good(), 4.0)
    else:
        assert cache.put_denied(b"a", bad(alone_until=5.0), cache.generation)
    assert [held(cache, b"a", now=now) for now in (4.9, 5.0)] == [[b"a"], []]
    fence.extend("feed", 7.0)
    assert [held(cache, b"a", now=now) for now in (6.9, 7.0)] == [[b"a"], []]
    fence.extend("feed", 1000.0)
    assert held(cache, b"a", now=100.0) == [], "the fence prolongs no life"


def test_a_verdict_may_stop_to_count_before_it_is_used(cache):
    entry = good(("key:a", 1), deadline=10.0)
    assert cache.put_granted(b"a", entry, 0.0)
    assert cache.counts(entry, 9.9)
    assert not cache.counts(entry, 10.0)
    cache.invalidate(Invalidation("key:a", 2, 1))
    assert not cache.counts(entry, 0.0)


def changes(*seqs):
    return [Invalidation(f"key:{seq}", 2, seq) for seq in seqs]


def test_a_change_that_comes_next_is_told_from_one_after_a_gap(cache):
    assert cache.invalidate(*changes(1))
    assert cache.invalidate(*changes(2))
    assert not cache.invalidate(*changes(4))
    assert cache.progress[0] == 2
    cache.catch_up((2, 2), 5, changes(3, 4, 5), complete=True)
    assert cache.progress[0] == 5
    assert cache.invalidate(*changes(3)), "told twice"
    assert cache.invalidate(Invalidation("key:x", 1)), "told once more: no event of its own"
    assert cache.progress[0] == 5


def test_catching_up_ends_what_has_changed_and_nothing_else(cache):
    cache.put_granted(b"a", good(("key:1", 1)), 0.0)
    cache.put_granted(b"b", good(("key:9", 1)), 0.0)
    cache.put_denied(b"c", bad(), cache.generation)
    cache.catch_up((0, 0), 2, changes(1, 2), complete=True)
    assert held(cache, b"a", b"b", b"c") == [b"b"]
    assert not cache.put_granted(b"a", good(("key:1", 1)), 0.0)
    before = cache.generation
    cache.catch_up((2, 2), 2, [], complete=True)
    assert cache.generation == before


def test_who_is_too_far_behind_forgets_what_is_older_than_what_is_known(cache):
    cache.put_granted(b"old", good(("key:a", 1), position=3), 0.0)
    cache.put_granted(b"new", good(("key:b", 1), position=9), 0.0)
    cache.catch_up((0, 0), 11, changes(10, 11), complete=False)
    assert held(cache, b"old", b"new") == [b"new"]
    assert not cache.put_granted(b"old", good(("key:a", 1), position=8), 0.0)
    assert cache.put_granted(b"old", good(("key:a", 1), position=9), 0.0)
    assert cache.progress[0] == 11


def test_a_store_that_has_gone_back_is_believed(cache):
    cache.catch_up((0, 0), 9, changes(7, 8, 9), complete=True)
    cache.put_granted(b"a", good(("key:a", 5), position=9), 0.0)
    cache.catch_up((9, 9), 4, [], complete=True)
    assert held(cache, b"a") == []
    assert cache.progress[0] == 4
    assert not cache.put_granted(b"a", good(("key:a", 1), position=3), 0.0)
    assert cache.put_granted(b"a", good(("key:a", 1), position=4), 0.0)


class Model(RuleBasedStateMachine):
    """A dict that forgets nothing says what L1 may answer; being bounded, L1 may know less."""

    digests = st.sampled_from([b"a", b"b", b"c", b"d"])
    entities = st.sampled_from(["key:1", "key:2", "user:u"])
    versions = st.integers(0, 4)

    def __init__(self):
        super().__init__()
        self.cache = LocalCache(3, 2, Fence())
        self.now = 0.0
        self.known = {}  # digest: verdict, deadline, entities
        self.floors = {}
        self.generations = [self.cache.generation]

    def learn(self, entities):
        for entity, version in entities.items():
            self.floors[entity] = max(version, self.floors.get(entity, 0))
        for digest, (_, _, made_of) in list(self.known.items()):
            if any(version < self.floors.get(entity, 0) for entity, version in made_of.items()):
                del self.known[digest]

    @rule(
        digest=digests,
        entities=st.dictionaries(entities, versions, min_size=1),
        life=st.integers(0, 3),
    )
    def put_granted(self, digest, entities, life):
        entry = good(*entities.items(), deadline=self.now + life, label=digest.decode())
        old = any(version < self.floors.get(entity, 0) for entity, version in entities.items())
        ended = life == 0
        assert self.cache.put_granted(digest, entry, self.now) is not (old or ended)
        self.learn(entities)
        if not (old or ended):
            self.known[digest] = (entry.verdict, entry.deadline, entities)

    @rule(
        digest=digests,
        entities=st.dictionaries(entities, versions),
        life=st.integers(0, 3),
        data=st.data(),
    )
    def put_denied(self, digest, entities, life, data):
        generation = data.draw(st.sampled_from(self.generations))
        entry = bad(*entities.items(), deadline=self.now + life)
        current = generation == self.generations[-1]
        old = any(version < self.floors.get(entity, 0) for entity, version in entities.items())
        assert self.cache.put_denied(digest, entry, generation) is (current and not old)
        if current and not old:
            self.known[digest] = (entry.verdict, entry.deadline, {})

    @rule(entity=entities, version=versions)
    def invalidate(self, entity, version):
        self.cache.invalidate(Invalidation(entity, version))
        self.learn({entity: version})
        self.forget(lambda verdict: verdict is NO)

    @rule()
    def clear(self):
        self.cache.clear()
        self.forget(lambda verdict: True)

    def forget(self, wanted):
        self.known = {name: entry for name, entry in self.known.items() if not wanted(entry[0])}
        self.generations.append(self.cache.generation)
        assert len(set(self.generations)) == len(self.generations)

    @rule(seconds=st.integers(1, 2))
    def wait(self, seconds):
        self.now += seconds

    @rule(digest=digests)
    def get(self, digest):
        verdict, deadline, _ = self.known.get(digest, (None, 0.0, None))
        allowed = verdict if self.now < deadline else None
        assert self.cache.get(digest, self.now) in (allowed, None)

    @invariant()
    def bounded_and_indexed(self):
        size, negative_size = self.cache.sizes()
        assert size <= 3
        assert negative_size <= 2
        index = self.cache._positives.digests_of
        assert set().union(*index.values()) == set(self.cache._positives)
        assert all(index.values())


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
