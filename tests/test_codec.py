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
from keymw.ports import Invalidation

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
    position=st.integers(0, 2**63 - 1),
)
changes = st.builds(Invalidation, ids, st.integers(1, 2**63 - 1), st.integers(0, 2**63 - 1))
GOOD = Record(
    "k1", KeyKind.PROJECT_SECRET, "label", frozenset({"a:read"}), 1, project_id="2", position=7
)
CHANGE = Invalidation("key:k1", 3, 7, (DIGEST,))
RAW = codec.encode(codec.Value(GOOD, NOW), DIGEST, [KEY])
MESSAGE = codec.encode_change(CHANGE, [KEY])


def read_value(raw, keys=(KEY,), digest=DIGEST):
    return codec.decode(raw, digest, keys)


def read_change(raw, keys=(KEY,)):
    return codec.decode_change(raw, keys)


#: What is true of everything that is sealed.
each_form = pytest.mark.parametrize(
    ("raw", "read"), [(RAW, read_value), (MESSAGE, read_change)], ids=["value", "message"]
)


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


@given(changes)
def test_a_message_comes_back_without_the_digests(change):
    assert codec.decode_change(codec.encode_change(change, [KEY]), [KEY]) == change
    named = replace(change, digests=(DIGEST,))
    assert codec.encode_change(named, [KEY]) == codec.encode_change(change, [KEY])


@each_form
def test_every_flipped_bit_is_noticed(raw, read):
    assert read(raw) is not None
    for position in range(len(raw)):
        for bit in range(8):
            bent = bytearray(raw)
            bent[position] ^= 1 << bit
            assert read(bytes(bent)) is None


@each_form
def test_every_truncation_and_addition_is_noticed(raw, read):
    for length in range(len(raw)):
        assert read(raw[:length]) is None
    assert read(raw + b" ") is None


@each_form
@given(st.binary(max_size=200))
def test_rubbish_is_nothing(raw, read, rubbish):
    for candidate in (rubbish, raw[:3] + rubbish, raw[:35] + rubbish):
        assert read(candidate) is None


def test_another_digests_value_is_nothing():
    assert codec.decode(RAW, OTHER_DIGEST, [KEY]) is None


@each_form
def test_what_another_key_has_signed_is_nothing(raw, read):
    assert read(raw, [OTHER_KEY]) is None
    assert read(raw, []) is None


@each_form
@pytest.mark.parametrize("tag", [b"k1.", b"k2.", b"k3.", b"c1.", b"c2."])
def test_another_forms_tag_is_nothing(raw, read, tag):
    """The tag is signed, too: what was sealed as the one is never opened as the other."""
    assert (read(tag + raw[3:]) is None) is (tag != raw[:3])


def test_a_message_is_no_value_and_a_value_no_message():
    assert read_value(MESSAGE) is None
    assert read_change(RAW) is None


def test_a_value_without_its_time_is_nothing():
    raw = codec.encode(codec.Value(GOOD, None), DIGEST, [KEY])
    assert codec.decode(raw, DIGEST, [KEY]) is None


@pytest.mark.parametrize(
    ("encode", "read"),
    [
        (lambda keys: codec.encode(codec.Value(GOOD, NOW), DIGEST, keys), read_value),
        (lambda keys: codec.encode_change(CHANGE, keys), read_change),
    ],
    ids=["value", "message"],
)
def test_the_newest_key_signs_and_older_ones_are_still_believed(encode, read):
    old, rotated = encode([KEY]), encode([KEY, OTHER_KEY])
    assert read(rotated, [KEY]) is None
    assert read(rotated, [OTHER_KEY]) is not None
    assert read(old, [KEY, OTHER_KEY]) is not None
    assert read(rotated, [KEY, OTHER_KEY]) is not None
