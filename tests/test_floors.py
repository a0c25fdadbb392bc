"""What a process knows to have changed, and what it therefore refuses."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keymw.cache.floors import Floors
from keymw.ports import Invalidation


@pytest.fixture
def floors():
    return Floors(3)


def test_an_answer_from_before_a_change_is_refused_and_one_from_after_it_is_not(floors):
    assert floors.raise_to("key:a", 2, 7)
    assert not floors.admit([("key:a", 1)], 6)
    assert floors.admit([("key:a", 2)], 7)
    assert floors.admit([("key:a", 3)], 9)
    assert floors.admit([("key:b", 1)], 1)


def test_any_of_an_answers_entities_may_have_changed(floors):
    floors.raise_to("user:u", 4, 7)
    assert not floors.admit([("key:a", 1), ("user:u", 3)], 6)
    assert not floors.admit([("user:u", 3), ("key:a", 1)], 6)
    assert floors.admit([("key:a", 1), ("user:u", 4)], 7)
    assert floors.admit([], 0)


def test_a_floor_is_never_lowered(floors):
    assert floors.raise_to("key:a", 3, 9)
    assert not floors.raise_to("key:a", 3, 5)
    assert not floors.raise_to("key:a", 2, 20)
    assert not floors.admit([("key:a", 2)], 8)


def test_a_database_that_has_lost_its_last_changes_is_right(floors):
    """Its numbers go on from an older state; what it says later than what was known, counts."""
    floors.raise_to("key:a", 5, 9)
    assert not floors.admit([("key:a", 4)], 8)
    assert floors.admit([("key:a", 4)], 10)


def test_a_change_without_a_number_is_held_to_whatever_comes(floors):
    floors.raise_to("key:a", 5, 0)
    assert not floors.admit([("key:a", 4)], 10**9)
    assert floors.admit([("key:a", 5)], 1)


def test_what_is_forgotten_is_made_up_for_by_refusing_all_that_is_as_old(floors):
    for seq in (1, 2, 3):
        floors.raise_to(f"key:{seq}", 2, seq)
    assert floors.since == 0
    floors.raise_to("key:4", 2, 4)
    assert floors.since == 1
    assert not floors.admit([("key:1", 1)], 0)
    assert not floors.admit([("key:9", 1)], 0)
    assert floors.admit([("key:9", 1)], 1)


def test_what_has_changed_again_is_forgotten_last(floors):
    for seq, name in enumerate("abcad", start=1):
        floors.raise_to(name, seq, seq)
    assert floors.since == 2  # the change of b
    assert not floors.admit([("a", 1)], 3)


def test_a_forgotten_change_without_a_number_leaves_nothing_older_than_what_was_seen(floors):
    floors.seen = 8
    floors.raise_to("key:a", 2, 0)
    for seq in (9, 10, 11):
        floors.raise_to(f"key:{seq}", 2, seq)
    assert floors.since == 8


def test_a_gap_is_noticed_and_a_repetition_is_none(floors):
    def follows(seq):
        return floors.note(Invalidation("key:a", 1, seq))

    floors.seen = 4
    assert follows(5)
    assert follows(5)
    assert follows(0)  # an old change that is told once more
    assert floors.seen == 5
    assert not follows(7)
    assert floors.seen == 5
    assert follows(6)
    assert not follows(8)


def test_to_restart_forgets_the_versions_of_another_life(floors):
    floors.raise_to("key:a", 9, 90)
    floors.since = floors.seen = 90
    floors.restart(20)
    assert (floors.since, floors.seen) == (20, 20)
    assert floors.admit([("key:a", 1)], 20)
    assert not floors.admit([("key:a", 1)], 19)


# ---- against every change that there was -----------------------------------------------------


@st.composite
def histories(draw):
    """Return changes in the order of their numbers, and the order in which they are heard of."""
    entities = draw(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=25))
    changes = []
    for seq, entity in enumerate(entities, start=1):
        version = 1 + sum(other == entity for other in entities[: seq - 1])
        changes.append(Invalidation(entity, version, seq))
    heard = draw(st.lists(st.sampled_from(changes), max_size=40))
    return changes, heard


def version_at(changes, entity, position):
    return sum(change.entity == entity and change.seq <= position for change in changes)


@given(histories(), st.integers(1, 8))
def test_nothing_older_than_what_was_heard_is_ever_admitted(history, size):
    changes, heard = history
    floors = Floors(size)
    for change in heard:
        floors.raise_to(change.entity, change.version, change.seq)
        floors.note(change)
    last = len(changes)
    for position in range(last + 1):
        for entity in "abcdef":
            answer = [(entity, version_at(changes, entity, position))]
            outdated = any(change.entity == entity and change.seq > position for change in heard)
            admitted = floors.admit(answer, position)
            assert not (outdated and admitted), (entity, position)
            # With room for all, nothing else is refused; in any case not what is read now.
            assert admitted or outdated or size < 6, (entity, position)
            assert admitted or position < last


@given(histories())
def test_seen_is_where_the_first_gap_is(history):
    _, heard = history
    floors = Floors(10)
    numbers = set()
    for change in heard:
        complete = floors.note(change)
        # Those above a gap are not remembered: the feed tells of them once more.
        if change.seq == floors.seen:
            numbers.add(change.seq)
        assert complete is (change.seq <= floors.seen)
        assert numbers == set(range(1, floors.seen + 1))


def test_positions_may_be_infinite_only_inside(floors):
    floors.raise_to("key:a", 1, 0)
    assert floors._versions["key:a"] == (1, inf)
    for name in "bcd":
        floors.raise_to(name, 1, 5)
    assert isinstance(floors.since, int)
