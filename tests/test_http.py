from __future__ import annotations

import json
import re
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keymw.http import (
    DEFERRED,
    MALFORMED,
    MISSING,
    answer,
    bearer_token,
    check_realm,
    vary_on_authorization,
)
from keymw.model import Denied, Reason

LIMIT = 300
TOKEN68 = frozenset((string.ascii_letters + string.digits + "-._~+/").encode())
TCHAR = frozenset((string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~").encode())


def reference(value, limit):  # noqa: C901 - one rule a line
    """Read a value byte by byte (RFC 9110 §11.6.2, RFC 6750 §2.1): slow, easy to believe."""
    first, last = 0, len(value)
    while first < last and value[first] in (0x20, 0x09):
        first += 1
    while last > first and value[last - 1] in (0x20, 0x09):
        last -= 1
    value = value[first:last]
    scheme = b""
    while len(scheme) < len(value) and value[len(scheme)] in TCHAR:
        scheme = value[: len(scheme) + 1]
    if scheme.lower() != b"bearer":
        return MISSING
    if len(value) > limit:
        return MALFORMED
    at = len(scheme)
    while at < len(value) and value[at] == 0x20:
        at += 1
    if at == len(scheme):
        return MALFORMED
    token, state = value[at:], "body"
    for number, byte in enumerate(token):
        if byte == 0x3D and number > 0:
            state = "padding"
        elif state == "padding" or byte not in TOKEN68:
            return MALFORMED
    return token or MALFORMED


PIECES = st.sampled_from(
    [
        b"Bearer",
        b"bearer",
        b"BEARER",
        b"bEaReR",
        b"Bearer ",
        b"Basic ",
        b"Bear",
        b"er",
        b" ",
        b"  ",
        b"\t",
        b"\r\n ",
        b"\x00",
        b"\x0b",
        b"\x0c",
        b"\x1c",
        b"\x85",
        b"\xa0",
        b"\xc2\xa0",
        b",",
        b", ",
        b";",
        b"=",
        b"==",
        b"phs_",
        b"pha_",
        b"abc",
        b"-._~+/",
        b"%5F",
        b'"',
        b"\xff",
        b"A" * LIMIT,
    ]
)
VALUES = st.lists(PIECES | st.binary(max_size=3), max_size=8).map(b"".join)


@given(VALUES | st.binary(max_size=40))
@example(b"")
@example(b"Bearer")
@example(b"Bearer ")
@example(b" \tBearer a\t ")
@example(b"Bearer =")
@example(b"Bearer a=b")
@example(b"Bearer\ta")
@example(b"Bearer a\n")
@example(b"Bearer " + b"a" * (LIMIT - 7))
@example(b"Bearer " + b"a" * (LIMIT - 6))
def test_a_value_is_read_as_the_rules_say(value):
    assert bearer_token(value, LIMIT) == reference(value, LIMIT)


@given(
    st.text(string.ascii_letters + string.digits + "-._~+/", min_size=1),
    st.integers(0, 3),
    st.integers(1, 5),
    st.sampled_from(["Bearer", "bearer", "BEARER", "beAReR"]),
    st.text(" \t", max_size=4),
)
def test_a_well_formed_value_gives_its_token(body, padding, spaces, scheme, around):
    token = body + "=" * padding
    value = f"{around}{scheme}{' ' * spaces}{token}{around[::-1]}".encode()
    assert bearer_token(value, len(value)) == token.encode()


@given(st.binary(max_size=30))
def test_a_token_is_a_part_of_the_value_or_nothing(value):
    token = bearer_token(b"Bearer " + value, LIMIT)
    if isinstance(token, bytes):
        assert token == value.strip(b" \t")
        assert set(token) <= TOKEN68 | {0x3D}
    else:
        assert token in (MISSING, MALFORMED)


@pytest.mark.parametrize("length", [10, 11])
def test_the_limit_is_on_the_trimmed_value(length):
    value = b"  Bearer abc\t"
    wanted = b"abc" if length >= len(value.strip()) else MALFORMED
    assert bearer_token(value, length) == wanted
    assert bearer_token(b"Basic " + b"a" * 100, 10) is MISSING


# ---- Vary -------------------------------------------------------------------------------------


def members(value):
    return [member.strip().lower() for member in value.split(",") if member.strip()]


@given(st.lists(st.sampled_from(["Cookie", "Accept", "*", "authorization", "X-Authorization", ""])))
def test_vary_has_authorization_once_and_loses_nothing(given_members):
    value = ", ".join(given_members)
    merged = vary_on_authorization(value)
    assert members(merged)[: len(members(value))] == members(value)
    assert "authorization" in members(merged) or "*" in members(merged)
    assert vary_on_authorization(merged) == merged
    if "*" in given_members:
        assert merged == value


# ---- answers ----------------------------------------------------------------------------------

STATUS = {
    Reason.NOT_AUTHENTICATED: (401, None),
    Reason.MALFORMED: (400, "invalid_request"),
    Reason.UNRECOGNIZED: (401, "invalid_token"),
    Reason.INVALID: (401, "invalid_token"),
    Reason.EXPIRED: (401, "invalid_token"),
    Reason.REVOKED: (401, "invalid_token"),
    Reason.ROLLED: (401, "invalid_token"),
    Reason.OWNER_INACTIVE: (401, "invalid_token"),
    Reason.KIND: (403, "insufficient_scope"),
    Reason.SCOPE: (403, "insufficient_scope"),
    Reason.PROJECT: (403, "insufficient_scope"),
    Reason.AMBIGUOUS: (400, "invalid_request"),
    Reason.NO_RULE: (403, None),
    Reason.UNAVAILABLE: (503, None),
}
PHRASES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    503: "Service Unavailable",
}


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("scopes", [(), ("a:read",), ("a:read", "b:write")])
def test_every_reason_has_its_answer(reason, scopes):
    got = answer(Denied(reason, "a:read", scopes), "my realm", 7)
    status, error = STATUS[reason]
    assert (got.status, got.phrase) == (status, PHRASES[status])
    headers = dict(got.headers)
    assert len(headers) == len(got.headers)
    assert headers["content-type"] == "application/problem+json"
    assert headers["content-length"] == str(len(got.body))
    assert headers["cache-control"] == "no-store"
    assert headers["vary"] == "Authorization"
    problem = json.loads(got.body)
    assert set(problem) == {"type", "title", "status", "detail", "code"}
    assert problem["type"] == "about:blank"
    assert problem["title"] == got.phrase
    assert problem["status"] == status
    assert problem["detail"] == got.detail
    assert problem["code"] == reason.value
    assert "{" not in got.detail
    if status == 503:
        assert headers["retry-after"] == "7"
        assert "www-authenticate" not in headers
        return
    challenge = 'Bearer realm="my realm"'
    if error is not None:
        challenge += f', error="{error}"'
    if reason is Reason.SCOPE:
        challenge += f', scope="{" ".join(scopes)}"'
    assert headers["www-authenticate"] == challenge
    assert "retry-after" not in headers


def test_what_waits_for_a_demand():
    assert {Reason.NOT_AUTHENTICATED, Reason.UNRECOGNIZED} == DEFERRED


def test_codes_do_not_change():
    """Clients compare them."""
    assert sorted(Reason) == [
        "ambiguous_request",
        "expired_key",
        "invalid_key",
        "kind_not_supported",
        "malformed_credentials",
        "no_rule",
        "not_authenticated",
        "owner_inactive",
        "revoked_key",
        "rolled_key",
        "scope_missing",
        "temporarily_unavailable",
        "unrecognized_credentials",
        "wrong_project",
    ]


@given(st.text(max_size=8))
def test_a_realm_stands_in_a_quoted_string_or_is_refused(realm):
    if re.fullmatch(r"[ !#-\[\]-~]*", realm):
        assert check_realm(realm) == realm
    else:
        with pytest.raises(ValueError, match="realm"):
            check_realm(realm)
