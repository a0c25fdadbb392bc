"""What lies in Redis: comes back whole, or not at all."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keymw import Granted, KeyKind
from keymw.cache import codec
from keymw.policy import Record, judge

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
DIGEST, OTHER_DIGEST = b"d" * 32, b"e" * 32
NOW = datetime(2026, 1, 1, tzinfo=UTC)

times = st.timedeltas(timedelta(days=-1), timedelta(days=365 * 1000)).map(NOW.__add__)
maybe_times = st.none() | times
ids = st.text(min_size=1, max_size=20)
id_sets = st.none() | st.frozensets(ids, max_size=3)
records = st.builds(
    Record,
    key_id=ids,
    kind=st.sampled_from(list(KeyKind)),
    label=st.text(max_size=40),
    scopes=st.frozensets(st.sampled_from(["a:read", "b:write", "*"])),
    version=st.integers(1, 2**63 - 1),
    project_id=st.none() | ids,
    user_id=st.none() | ids,
    projects=id_sets,
    organizations=id_sets,
    expires_at=maybe_times,
    revoked_at=maybe_times,
    retired_until=maybe_times,
    owner_active=st.booleans(),
    owner_version=st.integers(0, 2**63 - 1),
)
GOOD = Record("k1", KeyKind.PROJECT_SECRET, "label", frozenset({"a:read"}), 1, project_id="2")
RAW = codec.encode(codec.Value(GOOD, NOW), DIGEST, [KEY])


@given(records, times, st.binary(min_size=32, max_size=32))
def test_what_was_stored_comes_back(record, observed, digest):
    value = codec.Value(record, observed)
    assert codec.decode(codec.encode(value, digest, [KEY]), digest, [KEY]) == value


@given(records)
def test_no_way_through_redis_makes_a_refused_key_good(record):
    value = codec.decode(codec.encode(codec.Value(record, NOW), DIGEST, [KEY]), DIGEST, [KEY])
    assert judge(value.record, NOW, None) == judge(record, NOW, None)


@pytest.mark.parametrize(
    "change",
    [{"revoked_at": NOW + timedelta(days=1)}, {"owner_active": False}, {"retired_until": NOW}],
)
def test_what_ends_a_key_is_part_of_its_value(change):
    raw = codec.encode(codec.Value(replace(GOOD, **change), NOW), DIGEST, [KEY])
    assert not isinstance(judge(codec.decode(raw, DIGEST, [KEY]).record, NOW, None), Granted)


def test_every_flipped_bit_is_noticed():
    assert codec.decode(RAW, DIGEST, [KEY]) is not None
    for position in range(len(RAW)):
        for bit in range(8):
            bent = bytearray(RAW)
            bent[position] ^= 1 << bit
            assert codec.decode(bytes(bent), DIGEST, [KEY]) is None


def test_every_truncation_and_addition_is_noticed():
    for length in range(len(RAW)):
        assert codec.decode(RAW[:length], DIGEST, [KEY]) is None
    assert codec.decode(RAW + b" ", DIGEST, [KEY]) is None


@given(st.binary(max_size=200))
def test_rubbish_is_nothing(raw):
    for candidate in (raw, b"k1." + raw, RAW[:35] + raw):
        assert codec.decode(candidate, DIGEST, [KEY]) is None


def test_another_digests_value_is_nothing():
    assert codec.decode(RAW, OTHER_DIGEST, [KEY]) is None


def test_another_databases_value_is_nothing():
    assert codec.decode(RAW, DIGEST, [OTHER_KEY]) is None
    assert codec.decode(RAW, DIGEST, []) is None


def test_another_versions_tag_is_nothing():
    assert codec.decode(b"k2." + RAW[3:], DIGEST, [KEY]) is None


def test_a_value_without_its_time_is_nothing():
    raw = codec.encode(codec.Value(GOOD, None), DIGEST, [KEY])
    assert codec.decode(raw, DIGEST, [KEY]) is None


def test_the_newest_key_signs_and_older_ones_are_still_believed():
    rotated = codec.encode(codec.Value(GOOD, NOW), DIGEST, [KEY, OTHER_KEY])
    assert codec.decode(rotated, DIGEST, [KEY]) is None
    assert codec.decode(rotated, DIGEST, [OTHER_KEY]) is not None
    assert codec.decode(RAW, DIGEST, [KEY, OTHER_KEY]) is not None
    assert codec.decode(rotated, DIGEST, [KEY, OTHER_KEY]) is not None
