from __future__ import annotations

import string
from hashlib import sha256

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keymw import KeyKind, Settings
from keymw.errors import InvalidInput
from keymw.tokens import (
    ALPHABET,
    checksum,
    digest,
    generate,
    is_well_formed,
    mask,
    parse_digest,
    random_text,
)

PREFIXES = st.sampled_from(["phs_", "pha_", "p", "live.key-", "x~"])
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def crc32(data):
    """CRC-32 as its definition says, bit by bit: reflected, 0xEDB88320, ones before and after."""
    rest = 0xFFFFFFFF
    for byte in data:
        rest ^= byte
        for _ in range(8):
            rest = rest >> 1 ^ (0xEDB88320 if rest & 1 else 0)
    return rest ^ 0xFFFFFFFF


def value_of(text):
    total = 0
    for character in text.decode():
        total = total * 62 + DIGITS.index(character)
    return total


def test_the_alphabet():
    assert ALPHABET == DIGITS
    assert string.digits + string.ascii_uppercase + string.ascii_lowercase == DIGITS


@pytest.mark.parametrize(
    ("text", "crc", "expected"),
    [
        (b"", 0, b"000000"),
        # The check value in the catalogues of CRCs; 3421780262 =
        # 3 * 62**5 + 45 * 62**4 + 35 * 62**3 + 27 * 62**2 + 22 * 62 + 14
        (b"123456789", 0xCBF43926, b"3jZRME"),
        # 3904355907 = 4 * 62**5 + 16 * 62**4 + 14 * 62**3 + 17 * 62**2 + 20 * 62 + 23
        (b"a", 0xE8B7BE43, b"4GEHKN"),
    ],
)
def test_checksums_computed_by_hand(text, crc, expected):
    assert crc32(text) == crc
    assert value_of(expected) == crc
    assert checksum(text) == expected


@given(st.binary(max_size=60))
def test_a_checksum_is_crc_32_in_six_digits(text):
    found = checksum(text)
    assert len(found) == 6
    assert value_of(found) == crc32(text)


@given(PREFIXES)
def test_a_token_has_the_form_that_is_promised(prefix):
    token = generate(prefix)
    assert token.startswith(prefix)
    assert len(token) == len(prefix) + 38
    assert set(token[len(prefix) :]) <= set(DIGITS)
    assert value_of(token[-6:].encode()) == crc32(token[:-6].encode())
    assert is_well_formed(token.encode(), prefix.encode())


def test_issued_tokens_have_42_characters():
    for kind in KeyKind:
        assert len(generate(Settings().prefixes(kind)[0])) == 42


def test_tokens_differ_and_use_every_character():
    tokens = {generate("phs_") for _ in range(500)}
    assert len(tokens) == 500
    assert {character for token in tokens for character in token[4:36]} == set(DIGITS)


def test_randomness_is_the_operating_systems(monkeypatch):
    import random
    import secrets

    random.seed(1)
    first = random_text(32)
    random.seed(1)
    assert random_text(32) != first
    assert random_text.__defaults__ == (secrets.token_bytes,)
    assert generate.__defaults__ == (secrets.token_bytes,)


def test_of_all_bytes_as_many_stand_for_each_character():
    """So what is drawn is as uniform as the bytes are."""
    drawn = random_text(248, lambda length: bytes(range(256)))
    assert len(drawn) == 248
    assert {digit: drawn.count(digit) for digit in DIGITS} == dict.fromkeys(DIGITS, 4)


@given(st.lists(st.binary(max_size=40), max_size=5), st.integers(0, 40))
def test_bytes_are_drawn_until_there_are_enough(batches, length):
    asked, given_out = [], iter([*batches, *[bytes(range(40))] * 2])

    def token_bytes(size):
        asked.append(size)
        return next(given_out)

    text = random_text(length, token_bytes)
    used = [byte for batch in [*batches, *[bytes(range(40))] * 2] for byte in batch if byte < 248]
    assert text == "".join(DIGITS[byte % 62] for byte in used[:length])
    assert set(asked) <= {length}


def test_the_randomness_is_handed_in():
    assert generate("phs_", lambda length: b"\x3d" * length)[:36] == "phs_" + "z" * 32


@given(
    st.integers(0, 41),
    st.sampled_from(list(DIGITS + "_-=. \x00\xe9")),
)
@example(0, "P")
@example(2, "a")
@example(3, "-")
@example(41, "0")
def test_every_single_change_is_refused_or_another_secret(position, character):
    token = generate("phs_")
    changed = token[:position] + character + token[position + 1 :]
    if changed == token:
        return
    raw = changed.encode("latin-1")
    assert digest(raw) != digest(token.encode())
    # CRC-32 finds every burst of up to 32 bits: one changed byte of the text is always seen.
    assert not (raw.startswith(b"phs_") and is_well_formed(raw, b"phs_"))


@given(st.integers(0, 41))
def test_a_missing_or_an_added_character_is_refused(position):
    token = generate("phs_").encode()
    assert not is_well_formed(token[:position] + token[position + 1 :], b"phs_")
    assert not is_well_formed(token[:position] + b"0" + token[position:], b"phs_")
    assert not is_well_formed(token + b"\n", b"phs_")
    assert not is_well_formed(token + b"=", b"phs_")


@given(st.binary(max_size=60))
def test_whatever_it_is_it_is_answered(text):
    assert is_well_formed(b"phs_" + text, b"phs_") in (True, False)


def test_a_relabelled_token_is_another_token():
    token = generate("phs_").encode()
    other = b"pha_" + token[4:]
    assert not is_well_formed(other, b"pha_")
    assert digest(other) != digest(token)
    mended = other[:-6] + checksum(other[:-6])
    assert is_well_formed(mended, b"pha_")
    assert digest(mended) != digest(token)


@given(st.binary(max_size=80))
def test_a_digest_is_sha_256_of_the_whole(token):
    assert digest(token) == sha256(token).digest()


def test_a_mask_shows_eight_characters():
    token = generate("phs_")
    assert mask(token) == f"phs_...{token[38:]}"
    assert len(mask(token)) == 11


@given(st.binary(min_size=32, max_size=32))
def test_a_digest_is_read_in_both_its_forms(raw):
    assert parse_digest(raw.hex()) == raw
    assert parse_digest(f"sha256${raw.hex()}") == raw


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256$",
        "0" * 63,
        "0" * 65,
        "A" * 64,
        "g" * 64,
        "0" * 64 + "\n",
        " " + "0" * 64,
        "sha1$" + "0" * 64,
        "SHA256$" + "0" * 64,
        "sha256$$" + "0" * 64,
        "\u0660" * 64,
    ],
)
def test_another_digest_is_refused_and_not_repeated(text):
    with pytest.raises(InvalidInput) as caught:
        parse_digest(text)
    assert caught.value.field == "digest"
    assert len(text) < 60 or text not in str(caught.value)
