from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keymw.errors import InvalidInput
from keymw.inputs import check_actor, check_id, check_ids, check_label, check_time


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("2", "2"),
        (2, "2"),
        (-1, "-1"),
        (0, "0"),
        (10**254, "1" + "0" * 254),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ("02", "02"),
        ("Zo\u00eb", "Zo\u00eb"),
        ("\u7530\u4e2d", "\u7530\u4e2d"),
        ("a b", "a b"),
        ("x" * 255, "x" * 255),
    ],
)
def test_ids(value, text):
    assert check_id("user_id", value) == text


@pytest.mark.parametrize(
    "value", ["\uff12", "Zoe\u0308", "\ufb01", "\u00b2", "\u2460", "\u2075", " 2", "2\u3000", "2 "]
)
def test_an_id_that_stands_for_another_is_refused(value):
    with pytest.raises(InvalidInput, match="project_id: "):
        check_id("project_id", value)


@given(st.text(max_size=300) | st.integers() | st.booleans() | st.none() | st.binary())
def test_an_id_is_returned_as_it_is_or_refused(value):
    try:
        found = check_id("x", value)
    except InvalidInput as error:
        assert error.field == "x"  # noqa: PT017
    else:
        assert found == str(value)
        assert check_id("x", found) == found


@given(st.text(max_size=60))
def test_a_label_is_returned_as_it_is_or_refused(value):
    try:
        found = check_label(value)
    except InvalidInput as error:
        assert error.field == "label"  # noqa: PT017
    else:
        assert found == value
        assert 1 <= len(found) <= 40
        assert found.isprintable()


@pytest.mark.parametrize("label", ["a", "x" * 40, "CI (main) #2", "Zo\u00eb \u2013 \U0001f511"])
def test_labels(label):
    assert check_label(label) == label


def test_sets_of_ids():
    assert check_ids("projects", None) is None
    assert check_ids("projects", []) == frozenset()
    assert check_ids("projects", iter([1, "1", "b"])) == {"1", "b"}
    for value in ("ab", b"ab", 5):
        with pytest.raises(InvalidInput, match="give a list"):
            check_ids("projects", value)


def test_actors():
    assert check_actor(None) is None
    assert check_actor(7) == "7"
    with pytest.raises(InvalidInput, match="actor: "):
        check_actor("")


def test_times_become_utc():
    assert check_time("expires_at", None) is None
    local = datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    found = check_time("expires_at", local)
    assert (found, found.tzinfo) == (datetime(2026, 1, 1, tzinfo=UTC), UTC)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("2026-01-01", "give a datetime, not str"),
        (datetime(2026, 1, 1), "time zone"),  # noqa: DTZ001
        (datetime.max.replace(tzinfo=timezone(timedelta(hours=-2))), "calendar"),
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=2))), "calendar"),
    ],
)
def test_what_is_no_time(value, message):
    with pytest.raises(InvalidInput, match=message) as caught:
        check_time("expires_at", value)
    assert caught.value.field == "expires_at"
