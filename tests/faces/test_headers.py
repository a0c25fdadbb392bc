"""Which headers are read, how strictly, and at what cost."""

from __future__ import annotations

import io

import pytest

from faces.app import PROJECT, Seen
from faces.credentials import bearer, credentials
from faces.driving import AsgiDenial, AsgiHttp, Wsgi
from keymw import Settings
from keymw import asgi as asgi_face
from keymw import wsgi as wsgi_face


def test_more_than_one_field_is_refused_whatever_its_case_and_scheme(keys, sqlite_url, runner):
    token = keys.issue_project_key("2", "a", ["endpoint:read"]).token.encode()
    for kind in (AsgiHttp, AsgiDenial):
        face = kind(sqlite_url, runner)
        for first, second in [
            (b"Bearer " + token, b"Bearer " + token),
            (b"Basic dTpw", b"Bearer " + token),
            (b"", b"Bearer " + token),
            (b"Bearer " + token, b""),
            (b"Basic dTpw", b"Digest x"),
        ]:
            headers = [(b"Authorization", first), (b"accept", b"*/*"), (b"aUTHORIZATION", second)]
            seen = Seen()
            assert face.ask(headers, "/open", seen=seen).status == 400
            assert seen.called == 0
        face.close()


SCHEMES = ["Bearer", "bearer", "BEARER", "bEaReR"]
SPACES = [" ", "  ", " " * 50]
AROUND = [("", ""), (" ", " "), ("\t", "\t \t"), ("   ", "   ")]
NAMES = [b"authorization", b"AuThOrIzAtIoN"]
#: Every two values of different columns meet in some row.
ALLOWED = [
    (scheme, SPACES[(i + j) % 3], around, NAMES[(i // 2 + j) % 2])
    for i, scheme in enumerate(SCHEMES)
    for j, around in enumerate(AROUND)
]


@pytest.mark.parametrize(("scheme", "spaces", "around", "name"), ALLOWED)
def test_what_rfc_9110_allows_is_read(face, keys, scheme, spaces, around, name):
    token = keys.issue_project_key("2", "a", ["endpoint:read"]).token
    value = f"{around[0]}{scheme}{spaces}{token}{around[1]}".encode()
    for _ in range(2):
        seen = Seen()
        assert face.ask([(name, value)], "/both", seen=seen).status == 200
        assert seen.viewed == 1


LOOK_ALIKES = [
    b"X-Authorization",
    b"Authorization_",
    b"_Authorization",
    b"Authorization-",
    b"Authorizatio",
    b"Authorizations",
    b"Proxy-Authorization",
    b"X-Forwarded-Authorization",
    b"Authorisation",
    b"X-Api-Key",
    b"Cookie",
    b"Keymw",
    b"Keymw.Principal",
    b"authorization\x00",
    b"authorization ",
]


@pytest.mark.parametrize("name", LOOK_ALIKES)
def test_look_alike_headers_are_never_read(face, keys, name):
    token = keys.issue_project_key("2", "a", ["endpoint:read"]).token
    seen = Seen()
    reply = face.ask([(name, b"Bearer " + token.encode())], "/both", seen=seen)
    assert seen.viewed == 0
    assert reply.status == 401 or reply.close == 1008
    # Beside a good one it is not a double either.
    headers = [(name, b"Bearer nonsense"), *bearer(token)]
    assert face.ask(headers, "/both").status == 200


def test_query_body_and_cookies_are_never_read(asgi, wsgi, keys):
    token = keys.issue_project_key("2", "a", ["endpoint:read"]).token
    query = f"access_token={token}&token={token}&authorization=Bearer%20{token}"
    scope = asgi.scope([(b"cookie", f"authorization=Bearer {token}".encode())], "/both", "POST")
    scope["query_string"] = query.encode()
    seen = Seen()
    sent = asgi.send(
        asgi_face.KeyAuthMiddleware(asgi.app(seen, []), asgi.keys),
        scope,
        [{"type": "http.request", "body": query.encode()}],
    )
    assert asgi.read(sent).status == 401
    environ = wsgi.environ([(b"cookie", f"authorization=Bearer {token}".encode())], "/both", "POST")
    environ["QUERY_STRING"] = query
    environ["wsgi.input"] = io.BytesIO(query.encode())
    environ["CONTENT_LENGTH"] = str(len(query))
    environ["AUTHORIZATION"] = environ["REDIRECT_HTTP_AUTHORIZATION"] = f"Bearer {token}"
    face = wsgi_face.KeyAuthMiddleware(wsgi.app(seen, []), wsgi.keys)
    assert wsgi.send(face, environ).status == 401
    assert seen.viewed == 0


def test_text_that_is_no_bytes_in_disguise_is_malformed(wsgi, keys):
    token = keys.issue_project_key("2", "a", ["endpoint:read"]).token
    for value in (f"Bearer {token}\u20ac", "Bearer \udc80", f"\uff22earer {token}"):
        environ = wsgi.environ([], "/both", "GET")
        environ["HTTP_AUTHORIZATION"] = value
        seen = Seen()
        face = wsgi_face.KeyAuthMiddleware(wsgi.app(seen, []), wsgi.keys)
        assert wsgi.send(face, environ).status == 400
        assert seen.called == 0


def test_nothing_is_asked_about_what_is_no_token(face, keys, sqlite_url):
    states = ("checksum", "short", "foreign", "bare", "garbled", "basic", "none")
    headers = [credentials(keys, sqlite_url, state) for state in states if state != "short"]
    for header in headers:
        face.ask(header, "/both")
        face.ask(header, "/open")
    assert face.keys.stats().store_reads == 0


def test_a_long_value_is_neither_hashed_nor_matched(face, monkeypatch):
    """Work is counted, not timed: nothing looks at what is over the cap."""
    from keymw import core, http

    work = []

    class Pattern:
        def fullmatch(self, value):
            work.append(len(value))
            return original.fullmatch(value)

    def hashed(value, *, real=core.sha256):
        work.append(len(value))
        return real(value)

    original = http._BEARER
    monkeypatch.setattr(http, "_BEARER", Pattern())
    monkeypatch.setattr(core, "sha256", hashed)
    limit = Settings().max_credentials_length
    for tail in (b"A", b"=", b" ", b"A=", b"\t", b"\xff"):
        for start in (b"Bearer ", b"bearer phs_", b"Basic ", b""):
            face.ask([(b"authorization", start + tail * 65536)], "/open")
    assert all(length <= limit for length in work)
    face.ask([(b"authorization", b"Bearer abc")], "/open")
    assert work  # it does count


def test_the_hot_path_reads_as_strictly_as_the_cold_one(keys, sqlite_url, runner):
    """An imported secret may have been looked up by `verify()`, which has no header to check."""
    from hashlib import sha256

    settings = Settings(accept_unchecksummed=(PROJECT,))
    secret = "phs_one,two three"
    for kind in (AsgiHttp, Wsgi):
        face = kind(sqlite_url, runner)
        face.close()
        face.keys = type(face.keys)(sqlite_url, settings=settings)
        if kind is AsgiHttp:
            keys.import_key(
                PROJECT,
                sha256(secret.encode()).hexdigest(),
                project_id="2",
                label="imported",
                scopes=["endpoint:read"],
            )
        assert face.ask(bearer(secret), "/both").status == 400
        verdict = face.keys.verify(secret)  # whatever it says: no header can hold this
        if kind is AsgiHttp:
            runner.run(verdict)
        assert face.ask(bearer(secret), "/both").status == 400
        face.close()
