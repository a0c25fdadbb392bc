"""`Vary: Authorization` on every answer, and no other change to the app's headers."""

from __future__ import annotations

import pytest

from faces.credentials import bearer


def test_an_answer_says_that_it_varies(request, keys):
    headers = bearer(keys.issue_project_key("2", "a", ["other:read"]).token)
    for kind in ("asgi", "wsgi"):
        face = request.getfixturevalue(kind)
        assert face.ask([], "/open").all("vary") == ["Authorization"]
        assert face.ask(headers, "/open").all("vary") == ["Authorization"]


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Cookie", "Cookie, Authorization"),
        ("Accept, Cookie", "Accept, Cookie, Authorization"),
        ("*", "*"),
        ("Cookie, *", "Cookie, *"),
        ("authorization", "authorization"),
        ("Cookie,AUTHORIZATION", "Cookie,AUTHORIZATION"),
        ("Cookie, Authorization , Accept", "Cookie, Authorization , Accept"),
        ("X-Authorization", "X-Authorization, Authorization"),
        ("", "Authorization"),
    ],
)
@pytest.mark.parametrize("name", [b"vary", b"Vary", b"VARY"])
def test_vary_is_merged(request, kind, name, before, after):
    face = request.getfixturevalue(kind)
    reply = face.ask([], "/open", answer=[(name, before.encode())])
    assert reply.all("vary") == [after]


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
def test_several_vary_fields_keep_all_their_members(request, kind):
    face = request.getfixturevalue(kind)
    fields = [(b"Vary", b"Cookie"), (b"Vary", b"Accept"), (b"X-Vary", b"Other")]
    members = ", ".join(face.ask([], "/open", answer=fields).all("vary")).split(", ")
    assert sorted(set(members)) == ["Accept", "Authorization", "Cookie"]


def test_the_apps_own_headers_are_not_touched(asgi):
    fields = [(b"Vary", b"Cookie"), (b"X-Twice", b"1"), (b"X-Twice", b"2")]
    asgi.ask([], "/open", answer=fields)
    assert fields == [(b"Vary", b"Cookie"), (b"X-Twice", b"1"), (b"X-Twice", b"2")]
    reply = asgi.ask([], "/open", answer=fields)
    assert reply.all("x-twice") == ["1", "2"]
