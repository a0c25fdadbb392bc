"""Whether a contender answers rightly: one that does less than it should is no measure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hit_known import LABEL, MAX_LENGTH, headers
from keymw.tokens import generate

if TYPE_CHECKING:
    from collections.abc import Callable

    #: Returns status, `Vary`, and whom the app saw, for one request with these headers.
    Ask = Callable[[list[tuple[bytes, bytes]]], tuple[int, str, str]]

_OK = 200


def check(name: str, ask: Ask, good: str, ended: str, *, duties: bool) -> None:
    """Return if the contender tells good keys from bad ones.

    Args:
        name: of the contender.
        ask: sends it a request.
        good: a token that it knows.
        ended: a token that it has known and that is no good any more.
        duties: whether it is said to have all of keymw's duties on a hit.

    Raises:
        SystemExit: it does not.
    """
    refused = {"an unknown key": headers(generate("phs_"))}
    if duties:
        refused |= {
            "no key": headers(good)[:-1],
            "a key that has ended": headers(ended),
            "credentials sent twice": [*headers(good), headers(good)[-1]],
            "another scheme": [*headers(good)[:-1], (b"authorization", b"Basic " + good.encode())],
            "a value that is too long": headers(good + "x" * MAX_LENGTH),
        }
        _expect(f"{name}: a good key", ask(headers(good)), (_OK, "Authorization", LABEL))
        upper = headers(good, name=b"Authorization")
        _expect(f"{name}: upper case", ask(upper), (_OK, "Authorization", LABEL))
    else:
        _expect(f"{name}: a good key", ask(headers(good))[0], _OK)
    for what, fields in refused.items():
        status, _, seen = ask(fields)
        _expect(f"{name}: {what}", (status != _OK, seen), (True, ""))


def _expect(what: str, got: object, expected: object) -> None:
    if got != expected:
        raise SystemExit(f"{what}: {got}, where it should be {expected}: nothing measured.")
