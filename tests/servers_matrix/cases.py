"""What every server is sent, byte by byte, and which outcomes are safe."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

#: A server's own refusal of what it will not read, or none that it has words for.
REJECTED = frozenset({"400 server", "431 server", "closed"})
#: keymw's refusals, and the server's.
REFUSED = REJECTED | {"400", "401"}
GRANTED = frozenset({"granted A"})
NOBODY = REJECTED | {"401"}


@dataclass(frozen=True)
class Case:
    """A connection: what is sent on it, each part once the answer to the one before is there.

    `{A}` and `{B}` stand for two good keys, `{C}` for a well-formed one that nobody has issued.
    """

    name: str
    sent: tuple[bytes, ...]
    #: Outcomes that are right under any server.
    safe: frozenset[str]
    faces: tuple[str, ...] = ("asgi", "wsgi")
    head: bool = False


def _request(
    *fields: bytes, target: bytes = b"/guarded", method: bytes = b"GET", last: bool = True
) -> bytes:
    closing = (b"Connection: close",) if last else ()
    lines = (b"%b %b HTTP/1.1" % (method, target), b"Host: localhost", *fields, *closing)
    return b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def _sent(name: str, safe: frozenset[str], *fields: bytes, **options: bytes) -> Case:
    return Case(name, (_request(*fields, **options),), safe)


def _value(name: str, value: bytes, safe: frozenset[str] = REFUSED) -> Case:
    return _sent(name, safe, b"Authorization: " + value)


_KEY = b"Authorization: Bearer {A}"

_PLAIN = (
    _sent("key A", GRANTED, _KEY),
    _sent("no key", frozenset({"401"})),
    _sent("unknown key", frozenset({"401"}), b"Authorization: Bearer {C}"),
    _sent("key A, open route", GRANTED, _KEY, target=b"/whoami"),
    _sent("no key, open route", frozenset({"anonymous"}), target=b"/whoami"),
    _sent("field name in upper case", GRANTED, b"AUTHORIZATION: Bearer {A}"),
    _value("scheme in lower case", b"bearer {A}", GRANTED),
    _value("three spaces before the key", b"Bearer   {A}", GRANTED),
)

_DUPLICATES = tuple(
    _sent(name, REFUSED, b"Authorization: " + first, b"Authorization: " + second)
    for name, first, second in (
        ("key A twice", b"Bearer {A}", b"Bearer {A}"),
        ("key A, then key B", b"Bearer {A}", b"Bearer {B}"),
        ("key A, then an unknown one", b"Bearer {A}", b"Bearer {C}"),
        ("an unknown one, then key A", b"Bearer {C}", b"Bearer {A}"),
        ("key A, then Basic", b"Bearer {A}", b"Basic QTpC"),
        ("Basic, then key A", b"Basic QTpC", b"Bearer {A}"),
        ("key A, then an empty field", b"Bearer {A}", b""),
    )
)

_NAMES = (
    *(
        _sent(name, NOBODY, field + b": Bearer {A}")
        for name, field in (
            ("`Authorization_`", b"Authorization_"),
            ("`_Authorization`", b"_Authorization"),
            ("`HTTP_AUTHORIZATION`", b"HTTP_AUTHORIZATION"),
            ("`X-Authorization`", b"X-Authorization"),
            ("`Proxy-Authorization`", b"Proxy-Authorization"),
            # Python's `upper()` makes an I of it.
            ("name with a dotless i", b"Author\xc4\xb1zation"),
            ("NBSP before the field name", b"\xa0Authorization"),
        )
    ),
    _sent("space before the colon", REFUSED | GRANTED, b"Authorization : Bearer {A}"),
    _sent("NUL before the colon", REFUSED, b"Authorization\0: Bearer {A}"),
)

_SPACE = (
    _value("space and tab after the key", b"Bearer {A} \t ", GRANTED),
    _value("space and tab before the scheme", b" \t Bearer {A}", GRANTED),
    _value("tab between scheme and key", b"Bearer\t{A}"),
    # RFC 9112 §5.2: a server refuses a folded line, or reads the fold as spaces.
    _value("folded between scheme and key", b"Bearer\r\n {A}", REFUSED | GRANTED),
    _value("folded after the key", b"Bearer {A}\r\n more"),
    _value("another scheme, key A in the fold", b"Basic QTpC\r\n Bearer {A}"),
    _sent("key A in the fold of another field", NOBODY, b"X-Y: 1", b" Authorization: Bearer {A}"),
)

_BYTES = (
    *(
        _value(f"{name} after the key", b"Bearer {A}" + byte)
        for name, byte in (
            ("NUL", b"\0"),
            ("VT", b"\v"),
            ("FS", b"\x1c"),
            ("DEL", b"\x7f"),
            ("NEL", b"\x85"),
            ("NBSP", b"\xa0"),
            ("full-width A", b"\xef\xbc\xa1"),
        )
    ),
    # RFC 9112 §2.2: a server refuses a lone CR, or reads it as a space.
    _value("CR after the key", b"Bearer {A}\r", REFUSED | GRANTED),
    _value("CR and more after the key", b"Bearer {A}\rX-Y: 1"),
    _sent("key A after a CR in another field", NOBODY, b"X-Y: 1\rAuthorization: Bearer {A}"),
    _value("NUL between scheme and key", b"Bearer\0{A}"),
    _value("VT between scheme and key", b"Bearer\v{A}"),
    _value("NBSP between scheme and key", b"Bearer\xa0{A}"),
    _value("NEL before the scheme", b"\x85Bearer {A}"),
)

_VALUES = (
    _value("two keys and a comma", b"Bearer {A}, Bearer {B}"),
    _value("two tokens and a comma", b"Bearer {A},{B}"),
    _value("empty value", b""),
    _value("scheme alone", b"Bearer"),
    _value("60 kB", b"Bearer " + b"a" * 60_000),
    _value("key A and 60 kB", b"Bearer {A}" + b"a" * 60_000),
    _value("key A and 60 kB of spaces", b"Bearer {A}" + b" " * 60_000, REFUSED | GRANTED),
)

#: What an app may see of two fields with the same name in WSGI: either, or both in any order.
_SEEN = REJECTED | {
    *("dash", "underscore"),
    *(
        f"{a}{between}{b}"
        for a, b in (("dash", "underscore"), ("underscore", "dash"))
        for between in (" and ", ", ", ",")
    ),
}

_CONNECTIONS = (
    Case(
        "key A, then none on the same connection",
        (_request(_KEY, target=b"/whoami", last=False), _request(target=b"/whoami")),
        frozenset({"granted A, anonymous", "granted A, closed"}),
    ),
    Case(
        "key A and none, pipelined",
        (_request(_KEY, last=False) + _request(),),
        frozenset({"granted A, 401", "granted A"}),
    ),
    Case(
        "none and key A, pipelined",
        (_request(last=False) + _request(_KEY),),
        frozenset({"401, granted A", "401"}),
    ),
    Case("HEAD without a key", (_request(method=b"HEAD"),), frozenset({"401"}), head=True),
    _sent(
        "absolute target, key A",
        GRANTED | {"404 app", "400 server"},
        _KEY,
        target=b"http://localhost/guarded",
    ),
    _sent("absolute target, no key", REFUSED | {"404 app"}, target=b"http://localhost/guarded"),
    Case(
        "key A in a trailer",
        (
            _request(b"Transfer-Encoding: chunked", b"Trailer: Authorization", method=b"POST")
            + b"1\r\nx\r\n0\r\nAuthorization: Bearer {A}\r\n\r\n",
        ),
        NOBODY,
    ),
    *(
        _sent(
            f"`{first.decode()}`, then `{second.decode()}`", _SEEN, first, second, target=b"/seen"
        )
        for first, second in itertools.permutations((b"X-Y: dash", b"X_Y: underscore"))
    ),
)


def _socket(name: str, safe: frozenset[str], *fields: bytes) -> Case:
    handshake = (
        b"GET /socket HTTP/1.1",
        b"Host: localhost",
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        *fields,
    )
    sent = b"".join(line + b"\r\n" for line in handshake) + b"\r\n"
    return Case(name, (sent,), safe, ("asgi",))


#: What a client is told of a close before the handshake is the server's own 403.
_DENIED = frozenset({"403 server"})

_SOCKETS = (
    _socket("WebSocket, key A", GRANTED, _KEY),
    _socket("WebSocket, no key", _DENIED | {"401"}),
    _socket("WebSocket, unknown key", _DENIED | {"401"}, b"Authorization: Bearer {C}"),
    _socket("WebSocket, key A twice", _DENIED | {"400", "400 server"}, _KEY, _KEY),
    _socket("WebSocket, NBSP after the key", _DENIED | REFUSED, _KEY + b"\xa0"),
)

#: Whether the server has told the app that it starts.
_LIFESPAN = Case(
    "lifespan",
    (_request(target=b"/lifespan"),),
    frozenset({"started", "not told"}),
    ("asgi",),
)

CASES = (
    *_PLAIN,
    *_DUPLICATES,
    *_NAMES,
    *_SPACE,
    *_BYTES,
    *_VALUES,
    *_CONNECTIONS,
    *_SOCKETS,
    _LIFESPAN,
)
