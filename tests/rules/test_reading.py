"""Requests that apps might read in more than one way: no rule, and no default, lets them in."""

from __future__ import annotations

import json

import pytest

from faces.cases import Case, check_refusal
from keymw.asgi import KeyAuthMiddleware as AsgiMiddleware
from keymw.rules import Rule, Rules
from keymw.rules.reading import read
from keymw.wsgi import KeyAuthMiddleware as WsgiMiddleware
from rules.asking import Undecorated, ask

AMBIGUOUS = Case(
    "none",
    "",
    400,
    "ambiguous_request",
    "The request can be read in more than one way: send its path plainly.",
    ', error="invalid_request"',
    "Bad Request",
)
#: Nothing is guarded, so that only the path itself can be the reason of a refusal.
OPEN = Rules([Rule("*", "/{rest:path}", open=True)], default="open")
GUARDED = [
    Rule("*", "/admin", ["admin:read"]),
    Rule("*", "/items/{number:int}", ["item:read"]),
    Rule("*", "/wiki/", ["wiki:read"]),
    Rule("*", "/tree/{rest:path}", ["tree:read"]),
]

#: Decoded paths that are refused whatever the rules.
ODD_PATHS = [
    *("//", "/a//b", "/a//", "//a", "/a///b"),
    *("/.", "/..", "/a/.", "/a/./b", "/a/..", "/a/../b", "/../a", "/./a"),
    *("/a\\b", "/\\a", "/a\\..\\b", "/..\\a"),
    *("/a%2Fb", "/a%", "/%61", "/a%00", "/%25"),
    *("/a;b", "/a;b=c/d", "/a/..;/b", "/a;"),
    *("/a?b", "/a#b"),
    *("/a\x00", "/a\n", "/\n", "/a\r\nb", "/a\tb", "/a\x7f", "/a\x85", "/\x1f"),
    *("/a\ufffd", "/\ud800"),
    *("/a ", "/a /b", "/ a", "/a/ ", "/a\u00a0", "/\u3000a"),
    *("/a\uff0fb", "/\uff0e\uff0e/b", "/\uff0e/b", "/a\uff3cb", "/\u2025/b", "/\u2100"),
    *("a", "*", "http://host/a", "host:80", "\uff0fa"),
]
#: Paths that look odd and can be read in one way only.
PLAIN_PATHS = [
    *("/", "", "/a", "/a/", "/A", "/a/b/", "/a.b", "/...", "/.a", "/a.", "/..a", "/a..", "/.../a"),
    *(
        "/a b",
        "/a:b",
        "/a,b",
        "/a+b",
        "/a=b&c",
        "/~a",
        "/@a",
        "/$a",
        "/(a)",
        "/'a'",
        '/"a"',
        "/{a}",
    ),
    *("/é", "/e\u0301", "/你好\uff1f", "/a\u200bb", "/½", "/ⅷ", "/😀", "/00", "/٢"),
]
#: As the client has written them; all of these are decoded to what looks plain.
ODD_RAW_PATHS = [
    *(b"/a%2Fb", b"/a%2fb", b"/a%5Cb", b"/a%5cb", b"/%2e%2e/b", b"/%2E/b", b"/a%2Eb"),
    *(b"/%61", b"/%41", b"/%5A", b"/%7a", b"/%30", b"/%39", b"/a%2Db", b"/a%5Fb"),
    *(b"/a\xc3\xa9", b"/a\x80", b"/a b", b"/a\x00", b"http://host/%61?c"),
]
PLAIN_RAW_PATHS = [b"", b"/a", b"/a%20b", b"/%C3%A9", b"/a%7Eb", b"/a?b=%2F%2e", b"/a%3Ab", b"/%5B"]


def asgi_scope(path="/a", raw=b"", root="", method="GET", headers=()):
    scope = {"type": "http", "method": method, "path": path, "root_path": root}
    return scope | {"raw_path": raw, "headers": list(headers)}


def wsgi_environ(path="/a", **more):
    try:
        disguised = path.encode().decode("latin-1")
    except UnicodeEncodeError:  # what no UTF-8 is, as a client may send it all the same
        disguised = path.encode("utf-8", "surrogatepass").decode("latin-1")
    return {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": disguised} | more


@pytest.mark.parametrize("path", ODD_PATHS)
def test_an_odd_path_has_no_reading(path):
    assert read(asgi_scope(path)) is None
    assert read(wsgi_environ(path)) is None
    assert read({**asgi_scope(path), "type": "websocket"}) is None


@pytest.mark.parametrize("path", PLAIN_PATHS)
def test_a_plain_path_is_read_as_it_is(path):
    for reading in (read(asgi_scope(path)), read(wsgi_environ(path))):
        assert (reading.method, reading.path) == ("GET", path or "/")


@pytest.mark.parametrize("raw", ODD_RAW_PATHS)
def test_an_odd_way_of_writing_a_path_has_no_reading(raw):
    assert read(asgi_scope(raw=raw)) is None
    for name in ("RAW_URI", "REQUEST_URI"):
        assert read(wsgi_environ(**{name: raw.decode("latin-1")})) is None


@pytest.mark.parametrize("raw", PLAIN_RAW_PATHS)
def test_what_has_to_be_escaped_may_be(raw):
    assert read(asgi_scope(raw=raw)) is not None
    for name in ("RAW_URI", "REQUEST_URI"):
        assert read(wsgi_environ(**{name: raw.decode("latin-1")})) is not None


def test_a_server_need_not_say_how_a_path_was_written():
    for missing in ({"raw_path": None}, {}):
        scope = asgi_scope()
        del scope["raw_path"], scope["root_path"]
        assert read(scope | missing).path == "/a"
    assert read({"REQUEST_METHOD": "GET"}).path == "/"


def test_bytes_that_are_no_utf8_have_no_reading():
    for disguised in ("/\xff", "/\xe9", "/\xc0\xaf", "/\xed\xa0\x80", "/\u20ac"):
        assert read({"REQUEST_METHOD": "GET", "PATH_INFO": disguised}) is None


@pytest.mark.parametrize(
    ("path", "root", "expected"),
    [
        ("/sub/a", "/sub", "/a"),
        ("/sub/", "/sub", "/"),
        ("/sub", "/sub", "/"),
        ("/a", "/sub", "/a"),  # servers may leave it out
        ("/sub/sub/a", "/sub", "/sub/a"),
        ("/a", "/", "/a"),
        ("/a", "", "/a"),
        ("/subway", "/sub", None),  # Starlette: "/subway", Django: "way"
        ("/x/sub/a", "/sub", None),  # Starlette: "/x/sub/a", Litestar: "/a"
        ("/sub/a", "/sub/", None),  # Starlette: "/sub/a", Django: "a"
    ],
)
def test_the_path_is_taken_below_the_root(path, root, expected):
    reading = read(asgi_scope(path, root=root))
    assert (reading and reading.path) == expected


def test_script_name_is_the_servers():
    environ = wsgi_environ("/a", SCRIPT_NAME="/sub", REQUEST_URI="/sub/a?b")
    assert read(environ).path == "/a"


@pytest.mark.parametrize(
    "method", ["get", "Get", "", "GET ", "G\x00T", "WEBSOCKET", "GÉT", "-", "1"]
)
def test_an_odd_method_has_no_reading(method):
    assert read(asgi_scope(method=method)) is None
    assert read(wsgi_environ() | {"REQUEST_METHOD": method}) is None


@pytest.mark.parametrize("method", ["GET", "PURGE", "M-SEARCH", "VERSION-CONTROL"])
def test_any_method_in_capitals_is_one(method):
    assert read(asgi_scope(method=method)).method == method
    assert read(wsgi_environ() | {"REQUEST_METHOD": method}).method == method


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "x-http-method", "X-Method-Override"])
def test_a_method_that_is_overridden_has_no_reading(name):
    for value, is_read in (("DELETE", False), ("GET", True), ("get ", True), ("", False)):
        headers = [(name.encode(), b"GET"), (name.encode(), value.encode())]
        assert (read(asgi_scope(headers=headers)) is not None) is is_read
        key = "HTTP_" + name.upper().replace("-", "_")
        assert (read(wsgi_environ(**{key: value})) is not None) is is_read


def test_what_cannot_be_read_is_refused_by_all_rules(face):
    """Also where all is open: what an app makes of a path may be anything."""
    for path in ("/a//b", "/a/../b", "/a;b", "/a\\b"):
        for rules in (OPEN, GUARDED, Rules([], default="open")):
            reply, _ = ask(face, path, rules=rules)
            check_refusal(face, reply, AMBIGUOUS)


@pytest.mark.parametrize(
    "path",
    [
        *("/ADMIN", "/Admin", "/admin/", "/\uff41dmin", "/adm\u0131n"),
        *("/items/-1", "/items/1.0", "/items/1e3", "/items/1_0", "/items/+1", "/items/5/"),
        *("/items/\u0662", "/items/\uff12", "/items/\u00b2", "/Items/5"),
        *("/wiki", "/WIKI/"),
        *("/TREE/x", "/tree", "/Tree/"),
    ],
)
@pytest.mark.parametrize("default", ["deny", "open"])
def test_what_an_app_may_take_for_a_guarded_path_is_refused(asgi, wsgi, path, default):
    for face in (asgi, wsgi):
        rules = Rules(GUARDED, default)
        wanted = wsgi_environ(path)["PATH_INFO"] if face is wsgi else path
        reply, _ = ask(face, wanted, rules=rules)
        check_refusal(face, reply, AMBIGUOUS)
        all_but_those = Rules([*GUARDED, Rule("*", "/{rest:path}", open=True)], default)
        assert ask(face, wanted, rules=all_but_those)[0].status == 400


def test_what_is_near_to_a_guarded_path_and_is_not_it(asgi, wsgi):
    for path in (
        "/administer",
        "/items/x",
        "/items/2026-01-02",
        "/items/1.2.3",
        "/items/v1",
        "/trees",
    ):
        for face in (asgi, wsgi):
            assert ask(face, path, rules=Rules(GUARDED, "open"))[0].status == 200
            assert ask(face, path, rules=Rules(GUARDED, "deny"))[0].status == 403


def test_a_long_path_is_judged_in_linear_time(asgi):
    rules = Rules([Rule("*", "/items/{number:int}/of/{rest:path}", ["item:read"])], "open")
    for path in ("/items/" + "1" * 200_000, "/items/" + "1_" * 100_000 + "x", "/a" * 100_000):
        assert ask(asgi, path, rules=rules)[0].status == 200


@pytest.mark.parametrize("service", ["asgi", "wsgi"])
def test_rules_are_of_the_app_that_they_are_around(request, service):
    """Two faces, the outer of which has rules for all; the inner for what is its own."""
    face = request.getfixturevalue(service)
    seen = Undecorated()
    middleware = AsgiMiddleware if service == "asgi" else WsgiMiddleware
    inner = middleware(face.app(seen, []), face.keys, rules=[Rule("GET", "/b", open=True)])
    outer = middleware(inner, face.keys, rules=[Rule("GET", "/{name}", open=True)])
    for path, status in (("/a", 403), ("/b", 200), ("/b/c", 403)):
        reply = send(face, outer, path)
        assert reply.status == status
        if status != 200:
            assert json.loads(reply.body)["code"] == "no_rule"


def send(face, app, path):
    if face.name == "wsgi":
        return face.send(app, face.environ([], path, "GET"))
    return face.read(face.send(app, face.scope([], path, "GET")))
