"""Path templates: `/projects/{project_id}/runs/{number:int}`, `/files/{name:path}`.

A template is read in two ways. *Exactly*: the requests that it is for. *Loosely*: those, and all
that a router which is less strict than ours might take for them: in other letter case, with or
without a slash at the end, with look-alike characters, with a number written in another way. A
request that leads to one rule exactly and to another one loosely belongs to neither.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from unicodedata import normalize

from keymw.errors import InvalidInput

#: What apps, or what stands before them, may read as something else: a second slash, a dot
#: segment, what starts parameters, a query or another round of decoding, a backslash, control
#: characters, what could not be decoded, white space where it may be trimmed.
ODD = re.compile(
    r"//|/\.\.?(?:/|\Z)|[\\%;?#]|[\x00-\x1f\x7f-\x9f\ufffd\ud800-\udfff]|\s(?:/|\Z)|/\s"
)
_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(?::([a-z]+))?\}", re.ASCII)
#: What `int()`, and what takes `2.0` for 2, may read as a whole number; nothing backtracks in it.
_LOOSE_INT = r"[+-]?(?:\d[\d_]*+(?:\.[\d_]*+)?+|\.\d[\d_]*+)(?:e[+-]?\d[\d_]*+)?+"
_IS_LOOSE_INT = re.compile(_LOOSE_INT)


class Kind(Enum):
    """What a segment of a template takes; the smaller value is the more specific."""

    LITERAL = 0
    INT = 1
    STR = 2


_KINDS = {"": Kind.STR, "str": Kind.STR, "int": Kind.INT}
_EXACT = {Kind.INT: "[0-9]+", Kind.STR: "[^/]+"}
_LOOSE = {Kind.INT: _LOOSE_INT, Kind.STR: "[^/]+"}


def fold(path: str) -> str:
    """Return how a path, or a literal, is compared loosely."""
    if path.isascii():
        return path.lower()
    return normalize("NFKC", normalize("NFKC", path).upper().casefold())


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of a template: what stands between two slashes."""

    kind: Kind
    #: The literal, or the name of the parameter.
    text: str

    @property
    def exact(self) -> str:
        """A regular expression of what it is for."""
        return _EXACT.get(self.kind) or re.escape(self.text)

    @property
    def loose(self) -> str:
        """A regular expression of what, folded, may be taken for it."""
        return _LOOSE.get(self.kind) or re.escape(fold(self.text))

    def covers(self, other: Segment) -> bool:
        """Say whether all that may be taken for the other one may be taken for this one."""
        if self.kind is Kind.LITERAL:
            return other.kind is Kind.LITERAL and fold(self.text) == fold(other.text)
        if self.kind is Kind.INT and other.kind is Kind.LITERAL:
            return bool(_IS_LOOSE_INT.fullmatch(fold(other.text)))
        return bool(other.kind.value <= self.kind.value)

    def meets(self, other: Segment) -> bool:
        """Say whether anything may be taken for both: one of them then covers the other."""
        return self.covers(other) or other.covers(self)


@dataclass(frozen=True, slots=True)
class Template:
    """A path with parameters in it, each a whole segment, or all that is left."""

    path: str
    segments: tuple[Segment, ...]
    #: Name of the parameter that takes the rest of the path, however many segments; or None.
    rest: str | None

    @property
    def exact(self) -> str:
        """A regular expression of the paths that it is for."""
        fixed = "".join(f"/{segment.exact}" for segment in self.segments)
        return fixed if self.rest is None else f"{fixed}/.*"

    @property
    def loose(self) -> str:
        """A regular expression of the folded paths, without a last slash, taken for it."""
        fixed = "".join(f"/{segment.loose}" for segment in self.significant)
        return fixed if self.rest is None else f"{fixed}(?:/.*)?"

    def position(self, name: str) -> int | None:
        """Return which segment of the path, from 1, a parameter is; None if there is none."""
        for number, segment in enumerate(self.segments, 1):
            if segment.kind is not Kind.LITERAL and segment.text == name:
                return number
        return None

    def covers(self, other: Template) -> bool:
        """Say whether all that may be taken for the other one may be taken for this one."""
        ours, theirs = self.significant, other.significant
        if len(theirs) < len(ours) or (other.rest is not None and self.rest is None):
            return False
        if len(theirs) > len(ours) and self.rest is None:
            return False
        return all(own.covers(its) for own, its in zip(ours, theirs, strict=False))

    def meets(self, other: Template) -> bool:
        """Say whether any request may be taken for both."""
        shorter, longer = sorted((self, other), key=lambda one: len(one.significant))
        few, many = shorter.significant, longer.significant
        if len(few) < len(many) and shorter.rest is None:
            return False
        return all(one.meets(another) for one, another in zip(few, many, strict=False))

    @property
    def significant(self) -> tuple[Segment, ...]:
        """Return the segments without the empty one that a slash at the end makes."""
        last = self.segments[-1:]
        return self.segments[:-1] if last == (Segment(Kind.LITERAL, ""),) else self.segments


def parse(path: str) -> Template:
    """Return the template that a string is.

    Raises:
        InvalidInput: it is none; the message says what one looks like.
    """
    if not isinstance(path, str) or not path.startswith("/"):
        raise InvalidInput("path", f"{path!r} does not start with a slash: write /items/{{id}}.")
    if ODD.search(path):
        raise InvalidInput(
            "path", f"{path!r} is not in its plain form, which is the only one that is let in."
        )
    segments: list[Segment] = []
    names: set[str] = set()
    pieces = path[1:].split("/")
    for number, piece in enumerate(pieces, 1):
        if not {"{", "}"} & set(piece):
            segments.append(Segment(Kind.LITERAL, piece))
            continue
        name, kind = _parse_parameter(path, piece)
        if name in names:
            raise InvalidInput("path", f"{path!r} has two parameters called {name!r}.")
        names.add(name)
        if kind != "path":
            segments.append(Segment(_KINDS[kind], name))
        elif number < len(pieces):
            raise InvalidInput("path", f"{path!r}: {piece} takes all that is left: put it last.")
        else:
            return Template(path, tuple(segments), name)
    return Template(path, tuple(segments), None)


def _parse_parameter(path: str, piece: str) -> tuple[str, str]:
    """Return the name and the type of a parameter."""
    match = _PARAMETER.fullmatch(piece)
    if match is None:
        raise InvalidInput(
            "path", f"{path!r}: {piece} is no whole segment like {{name}} or {{name:int}}."
        )
    name, kind = match[1], match[2] or ""
    if kind != "path" and kind not in _KINDS:
        raise InvalidInput("path", f"{path!r}: {kind!r} is not str, int or path.")
    return name, kind
