"""Headers that must never authenticate anybody."""

from __future__ import annotations

import asyncio
import logging

import pytest

from either import Either
from faces.app import Seen
from faces.credentials import bearer
from faces.driving import FACES
from keymw import AnonymousPrincipal, KeyService
from keymw.tokens import BODY_LENGTH, checksum

SPACES = [b"\t", b"\xa0", b"\xc2\xa0", b"\x0b", b"\x0c", b"\x1c", b"\x1d", b"\x85", b"\xc2\x85"]
SPACES += [b"\r", b"\n", b"\r\n ", b"\r\n\t", b"\x00", b"\xe3\x80\x80", b"\xe2\x80\x89"]


def hostile(token, other):
    """Return header lists that must never authenticate, with the statuses that each may have."""
    value = b"Bearer " + token
    body = token[4:]
    cases = {
        "empty": ([b""], {401}),
        "blank": ([b"   "], {401}),
        "token-alone": ([token], {401}),
        "scheme-alone": ([b"Bearer"], {400}),
        "scheme-space": ([b"Bearer "], {400}),
        "scheme-tab": ([b"Bearer\t"], {400}),
        "glued": ([b"Bearer" + token], {401}),
        "other-scheme": ([b"BearerX " + token], {401}),
        "hyphen-scheme": ([b"Bearer-Token " + token], {401}),
        "token-scheme": ([b"Token " + token], {401}),
        "basic": ([b"Basic " + token], {401}),
        "apikey": ([b"ApiKey " + token], {401}),
        "colon": ([b"Bearer: " + token], {400}),
        "equals": ([b"Bearer=" + token], {400}),
        "comma-after": ([value + b","], {400}),
        "comma-before": ([b"," + value], {400, 401}),
        "quoted": ([b'Bearer "' + token + b'"'], {400}),
        "angle": ([b"Bearer <" + token + b">"], {400}),
        "parameter": ([b"Bearer token=" + token], {400, 401}),
        "two-words": ([value + b" " + other], {400}),
        "same-twice-joined": ([value + b"," + value], {400}),
        "same-twice-joined-space": ([value + b", " + value], {400}),
        "joined-tokens": ([value + b"," + other], {400}),
        "basic-joined": ([b"Basic dTpw, " + value], {400, 401}),
        "joined-basic": ([value + b", Basic dTpw"], {400}),
        "twice": ([value, value], {400}),
        "twice-other": ([value, b"Bearer " + other], {400}),
        "twice-empty": ([value, b""], {400}),
        "empty-twice": ([b"", value], {400, 401}),
        "twice-basic": ([b"Basic dTpw", value], {400, 401}),
        "ninety": ([value] * 90, {400}),
        "nul-inside": ([value[:20] + b"\x00" + value[20:]], {400}),
        "nul-after": ([value + b"\x00"], {400}),
        "nul-before": ([b"\x00" + value], {400, 401}),
        "folded": ([b"Bearer\r\n " + token], {400}),
        "folded-inside": ([value[:20] + b"\r\n " + value[20:]], {400}),
        "injected": ([value + b"\r\nX-Admin: 1"], {400}),
        "percent-prefix": ([b"Bearer phs%5F" + body], {400}),
        "percent-all": ([b"Bearer " + b"".join(b"%%%02X" % c for c in token)], {400}),
        "percent-space": ([b"Bearer%20" + token], {400, 401}),
        "plus": ([b"Bearer+" + token], {401}),
        "swapped": ([b"Bearer pha_" + body], {401}),
        "swapped-checksum": ([b"Bearer " + recomputed(b"pha_" + body)], {401}),
        "upper": ([b"Bearer " + token.upper()], {401}),
        "lower": ([b"Bearer " + token.lower()], {401}),
        "swapcase": ([b"Bearer " + token.swapcase()], {401}),
        "upper-prefix": ([b"Bearer PHS_" + body], {401}),
        "truncated": ([value[:-1]], {401}),
        "longer": ([value + b"0"], {401}),
        "padded": ([value + b"="], {401}),
        "padded-more": ([value + b"=" * 100], {401}),
        "padded-inside": ([value[:20] + b"=" + value[20:]], {400}),
        "prefix-only": ([b"Bearer phs_"], {401}),
        "prefix-twice": ([b"Bearer phs_" + token], {401}),
        "latin": ([value + b"\xe9"], {400}),
        "utf8": ([value + "\u00e9".encode()], {400}),
        "full-width": (["Bearer \uff50\uff48\uff53\uff3f".encode() + body], {400}),
        "full-width-digit": ([value[:-1] + "\uff12".encode()], {400}),
        "all-bytes": ([b"Bearer " + bytes(range(256))], {400}),
        "high-bytes": ([bytes(range(128, 256))], {401}),
        "cyrillic-scheme": (["\u0412\u0435arer ".encode() + token], {401}),
        "turkish-scheme": (["BEARER\u0130 ".encode() + token], {400}),
        "bom": ([b"\xef\xbb\xbf" + value], {401}),
        "64k": ([value + b"A" * 65536], {400}),
        "64k-token": ([b"Bearer " + b"A" * 65536], {400}),
        "64k-spaces-between": ([b"Bearer" + b" " * 65536 + token], {400}),
        "64k-equals": ([b"Bearer " + token + b"=" * 65536], {400}),
        "64k-nothing": ([b"\x00" * 65536], {401}),
        "64k-commas": ([b"Bearer " + b"," * 65536], {400}),
        "64k-other": ([b"Basic " + b"A" * 65536], {401}),
    }
    for space in SPACES:
        name = space.hex()
        cases[f"between-{name}"] = ([b"Bearer" + space + token], {400})
        cases[f"between-after-sp-{name}"] = ([b"Bearer " + space + token], {400})
        cases[f"between-before-sp-{name}"] = ([b"Bearer" + space + b" " + token], {400})
        if space != b"\t":  # the two that are trimmed are SP and HTAB
            cases[f"before-{name}"] = ([space + value], {401})
            cases[f"after-{name}"] = ([value + space], {400})
    return cases


def recomputed(text):
    """Return a well-formed token of the first 36 bytes."""
    head = text[: 4 + BODY_LENGTH]
    return head + checksum(head)


HOSTILE = sorted(hostile(b"phs_" + b"0" * 38, b"phs_" + b"1" * 38))


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """One database for all of this: none of it may change what is answered next."""
    url = f"sqlite:///{tmp_path_factory.mktemp('hostile')}/keymw.db"
    with KeyService(url) as keys:
        keys.migrate()
        tokens = [keys.issue_project_key("2", label, ["endpoint:read"]).token for label in "ab"]
    return url, [token.encode() for token in tokens]


@pytest.fixture(scope="module", params=FACES)
def face(request, database):
    with asyncio.Runner() as runner:
        face = FACES[request.param](database[0], runner)
        runner.run(Either(face.keys).listening())
        yield face
        face.close()


@pytest.mark.parametrize("name", HOSTILE)
def test_bad_input_never_authenticates(face, database, name, caplog):
    token, other = database[1]
    # Both are in the caches: a hit must read the header as strictly as a miss.
    assert face.ask(bearer(token.decode()), "/both").status == 200
    assert face.ask(bearer(other.decode()), "/both").status == 200
    values, statuses = hostile(token, other)[name]
    for header in (b"authorization", b"Authorization", b"AUTHORIZATION"):
        headers = [(b"host", b"localhost"), *((header, value) for value in values)]
        seen = Seen()
        reply = face.ask(headers, "/both", seen=seen)
        assert seen.viewed == 0
        if face.name == "websocket":
            assert reply.close == 1008
        else:
            assert reply.status in statuses
            assert reply.all("www-authenticate")
            assert token.decode() not in str(reply)
        # On an open route it is refused or nobody: never somebody.
        seen = Seen()
        reply = face.ask(headers, "/open", seen=seen)
        if reply.status == 200:
            assert seen.principal == AnonymousPrincipal()
        else:
            assert reply.close == 1008 or reply.status in (400, 401)
    assert token.decode() not in caplog.text
    assert [entry for entry in caplog.records if entry.levelno >= logging.ERROR] == []
