"""GitHub's secret scanning alerts: a leaked key is revoked within moments of its being pushed.

GitHub signs each alert (ECDSA on P-256 with SHA-256, over the raw body) with a key that it
publishes. Nothing is looked at, let alone done, before the signature has been checked.
https://docs.github.com/en/code-security/secret-scanning/secret-scanning-partner-program
"""

from __future__ import annotations

import asyncio
import logging
from base64 import b64decode
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from starlette.responses import JSONResponse

from keymw.clock import SystemClock
from keymw.inputs import MAX_SOURCE
from keymw.management.problems import Unacceptable
from keymw.management.reading import read_raw, refusal
from keymw.model import Outcome
from keymw.tokens import digest_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from keymw.aio import AsyncKeyService
    from keymw.clock import Clock

log = logging.getLogger("keymw")

#: Public keys by identifier, in PEM.
Keys = Mapping[str, str]
GitHubKeys = Literal["github"] | Keys | Callable[[], Awaitable[Keys]]

ADDRESS = "https://api.github.com/meta/public_keys/secret_scanning"
ACTOR = "github-secret-scanning"

#: An alert may hold many matches.
_MAX_BODY = 1024 * 1024
#: Seconds between two questions for the keys: a flood of forged alerts is not passed on to GitHub.
_PAUSE = 60.0
#: Seconds after which keys are asked for again, in case that one was withdrawn.
_MAX_AGE = 24 * 3600.0
#: Seconds that GitHub may take to answer.
_TIMEOUT = 10.0


class _Match(BaseModel):
    """A token that was found; GitHub may add fields."""

    token: str = Field(min_length=1, repr=False)
    type: str
    url: str | None = None


_MATCHES = TypeAdapter(list[_Match])


class KeyRing:
    """GitHub's public keys, asked for when they are needed, and not more often than that."""

    def __init__(
        self, fetch: Callable[[], Awaitable[Keys]], clock: Clock, pause: float = _PAUSE
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._pause = pause
        self._keys: dict[str, EllipticCurvePublicKey] = {}
        self._asking = asyncio.Lock()
        self._asked_at: float | None = None

    async def find(self, identifier: str) -> EllipticCurvePublicKey | None:
        """Return the key with an identifier, or None if there is none.

        Raises:
            Unacceptable: whether there is one cannot be said at the moment. Nor can it while the
                keys may not be asked for again: GitHub may have published one since.
        """
        is_answered = False
        if not self._is_known(identifier):
            async with self._asking:
                if not self._is_known(identifier) and self._may_ask():
                    is_answered = await self._ask()
        found = self._keys.get(identifier)
        if found is None and not is_answered:
            raise Unacceptable(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "temporarily_unavailable",
                "The public keys cannot be had at the moment. Try again shortly.",
            )
        return found

    def _is_known(self, identifier: str) -> bool:
        return identifier in self._keys and self._since() < _MAX_AGE

    def _may_ask(self) -> bool:
        return self._since() >= self._pause

    def _since(self) -> float:
        return float("inf") if self._asked_at is None else self._clock.monotonic() - self._asked_at

    async def _ask(self) -> bool:
        """Ask for the keys; say whether there was an answer."""
        self._asked_at = self._clock.monotonic()
        try:
            self._keys = load_keys(await self._fetch())
        except Exception:
            # It is the network, or the application's function, which may raise anything: alerts
            # that cannot be checked are answered 503, and the keys that are known stay.
            log.exception("keymw: the public keys for secret scanning alerts cannot be had.")
            return False
        return True


def load_keys(keys: Keys) -> dict[str, EllipticCurvePublicKey]:
    """Return public keys from their PEM texts.

    Raises:
        ValueError: one is no public key on P-256; the message names its identifier.
    """
    loaded = {}
    for identifier, pem in keys.items():
        try:
            key = load_pem_public_key(pem.encode())
        except (ValueError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
            raise ValueError(  # noqa: TRY004 - it is the text that is wrong
                f"github_keys: {identifier!r} is no public key on P-256 in PEM."
            )
        loaded[identifier] = key
    return loaded


async def fetch_keys() -> Keys:
    """Return the public keys that GitHub publishes.

    Raises:
        httpx.HTTPError: GitHub cannot be reached, or refuses.
        ValueError: it is not the answer that GitHub's documentation describes.
    """
    import httpx  # noqa: PLC0415 - only who takes alerts needs it

    async with httpx.AsyncClient(timeout=_TIMEOUT) as client:
        response = await client.get(ADDRESS, headers={"accept": "application/json"})
        response.raise_for_status()
    return _Published.model_validate_json(response.content).by_identifier()


class _PublicKey(BaseModel):
    key_identifier: str
    key: str


class _Published(BaseModel):
    public_keys: list[_PublicKey]

    def by_identifier(self) -> Keys:
        return {each.key_identifier: each.key for each in self.public_keys}


def read_keys(given: GitHubKeys, clock: Clock | None = None) -> KeyRing:
    """Return the key ring for what `create_app` was given.

    Raises:
        ValueError: it is a word other than `"github"`, or a key is none.
    """
    clock = clock or SystemClock()
    if callable(given):
        return KeyRing(given, clock)
    if isinstance(given, str):
        if given != "github":
            raise ValueError(f'github_keys: give "github", keys or a function, not {given!r}.')
        return KeyRing(fetch_keys, clock)
    load_keys(given)  # raises now what is wrong with them

    async def keep() -> Keys:
        return given

    return KeyRing(keep, clock, pause=0.0)


class Alerts:
    """The endpoint that GitHub's alerts are sent to."""

    def __init__(self, keys: AsyncKeyService, ring: KeyRing) -> None:
        self._keys = keys
        self._ring = ring

    async def receive(self, request: Request) -> Response:
        """Revoke the keys of an alert, and tell GitHub which of the tokens were keys.

        Telling names tokens by their hash: no answer repeats them.
        """
        body = await read_raw(request, _MAX_BODY)
        if not await self._is_signed(request, body):
            raise Unacceptable(
                HTTPStatus.FORBIDDEN, "bad_signature", "This is not signed by GitHub."
            )
        try:
            matches = _MATCHES.validate_json(body)
        except ValidationError as error:
            raise refusal(error) from None
        labels = [await self._revoke(match) for match in matches]
        return JSONResponse(labels, headers={"cache-control": "no-store"})

    async def _is_signed(self, request: Request, body: bytes) -> bool:
        identifier = request.headers.get("github-public-key-identifier")
        signature = request.headers.get("github-public-key-signature")
        if not identifier or not signature:
            return False
        key = await self._ring.find(identifier)
        if key is None:
            return False
        try:
            key.verify(b64decode(signature, validate=True), body, ECDSA(SHA256()))
        except (InvalidSignature, ValueError):
            return False
        return True

    async def _revoke(self, match: _Match) -> dict[str, str]:
        where = "".join(filter(str.isprintable, match.url or ""))[:MAX_SOURCE] or None
        leak = await self._keys.report_leak(match.token, source=where, actor=ACTOR)
        is_key = leak.outcome is not Outcome.UNKNOWN
        return {
            "token_hash": digest_of(match.token).hex(),
            "token_type": match.type,
            "label": "true_positive" if is_key else "false_positive",
        }
