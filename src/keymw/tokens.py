"""The token's format: how one is made, masked, digested, and refused without asking anybody.

`prefix + 32 base62 characters + 6 base62 characters of CRC-32(prefix + body)`. The checksum is no
secret and no protection: it spares the caches and the database everything that is not a token.
"""

from __future__ import annotations

import re
import secrets
import zlib
from hashlib import sha256
from typing import TYPE_CHECKING

from keymw.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
BODY_LENGTH = 32
CHECKSUM_LENGTH = 6
#: Imported tokens may be of any length up to this.
MAX_LENGTH = 255

#: RFC 6750 §2.1: what can stand in a header as a bearer token.
TOKEN68 = rb"[A-Za-z0-9\-._~+/]+=*"

#: What a random byte stands for, and those that stand for nothing.
_CHARACTERS = bytes(ord(ALPHABET[byte % len(ALPHABET)]) for byte in range(256))
_SPARE = bytes(range(256 - 256 % len(ALPHABET), 256))

_TOKEN68 = re.compile(TOKEN68)
_TAIL = re.compile(rb"[0-9A-Za-z]{%d}" % (BODY_LENGTH + CHECKSUM_LENGTH))
_DIGEST = re.compile(r"(?:sha256\$)?([0-9a-f]{64})", re.ASCII)


def checksum(text: bytes) -> bytes:
    """Return CRC-32 of `text` as six base62 digits, most significant first, zero-padded."""
    value = zlib.crc32(text)
    digits = ""
    for _ in range(CHECKSUM_LENGTH):
        value, digit = divmod(value, 62)
        digits = ALPHABET[digit] + digits
    return digits.encode()


def random_text(length: int, token_bytes: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """Return `length` characters of base62 from the operating system's randomness.

    Each of 248 bytes stands for a character, four for the same one, and the other eight for none:
    so all characters are equally likely, and many are drawn at once.
    """
    drawn = b""
    while len(drawn) < length:
        drawn += token_bytes(length).translate(_CHARACTERS, _SPARE)
    return drawn[:length].decode()


def generate(prefix: str, token_bytes: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """Return a new token: 190 random bits between its prefix and its checksum."""
    head = prefix + random_text(BODY_LENGTH, token_bytes)
    return head + checksum(head.encode()).decode()


def is_well_formed(token: bytes, prefix: bytes) -> bool:
    """Say whether length, alphabet and checksum are those of a token that keymw made."""
    tail = token[len(prefix) :]
    if not _TAIL.fullmatch(tail):
        return False
    return checksum(token[:-CHECKSUM_LENGTH]) == token[-CHECKSUM_LENGTH:]


def is_presentable(token: bytes) -> bool:
    """Say whether a header can hold the token; one that was imported need not be well formed."""
    return len(token) <= MAX_LENGTH and _TOKEN68.fullmatch(token) is not None


def digest(token: bytes) -> bytes:
    """Return SHA-256 of the whole token (32 bytes): the only form that is stored or compared.

    A plain hash is right here, unlike for passwords: 190 random bits cannot be guessed.
    """
    return sha256(token).digest()


def digest_of(token: str) -> bytes:
    """Return the digest of a token as text; one that is no Unicode text has one as well."""
    return digest(token.encode("utf-8", "surrogatepass"))


def mask(token: str) -> str:
    """Return what people may see of a token: its first and last four characters."""
    return f"{token[:4]}...{token[-4:]}"


def parse_digest(text: str) -> bytes:
    """Return the 32 bytes of a digest written `sha256$<hex>` or as plain lower-case hex.

    Raises:
        InvalidInput: it is written otherwise.
    """
    match = _DIGEST.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise InvalidInput("digest", "write it as sha256$ and 64 lower-case hex digits.")
    return bytes.fromhex(match[1])
