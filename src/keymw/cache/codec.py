"""The form of a value in Redis: signed, versioned, and bound to the digest it was stored under.

`k1.` + HMAC-SHA256 (32 bytes) + JSON. The signing key lives in the SQL store and never in Redis, so
that whoever can write to Redis cannot make a principal. Never pickle.

How the format may change: a new field goes under a new version tag; a reader refuses every tag but
its own, which costs one store read a key while two releases run side by side.
"""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from keymw.policy import Record
from keymw.principals import KeyKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_TAG = b"k1."
_SIGNATURE_LENGTH = 32
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Value:
    """A record as it was read from the store at some time of day."""

    record: Record
    observed: datetime


def encode(value: Value, digest: bytes, keys: Sequence[bytes]) -> bytes:
    """Return the signed bytes of a value; the newest key signs."""
    record = value.record
    payload = json.dumps(
        {
            "digest": digest.hex(),
            "observed": _to_number(value.observed),
            "key_id": record.key_id,
            "kind": record.kind,
            "label": record.label,
            "scopes": sorted(record.scopes),
            "version": record.version,
            "project_id": record.project_id,
            "user_id": record.user_id,
            "projects": _to_list(record.projects),
            "organizations": _to_list(record.organizations),
            "expires_at": _to_number(record.expires_at),
            "revoked_at": _to_number(record.revoked_at),
            "retired_until": _to_number(record.retired_until),
            "owner_active": record.owner_active,
            "owner_version": record.owner_version,
        },
        separators=(",", ":"),
    ).encode()
    return _TAG + _sign(payload, keys[-1]) + payload


def decode(raw: bytes, digest: bytes, keys: Iterable[bytes]) -> Value | None:
    """Return the value if one of the keys signed it for this digest; None for anything else."""
    start = len(_TAG) + _SIGNATURE_LENGTH
    if not raw.startswith(_TAG) or len(raw) <= start:
        return None
    signature, payload = raw[len(_TAG) : start], raw[start:]
    if not any(hmac.compare_digest(signature, _sign(payload, key)) for key in keys):
        return None
    fields: dict[str, Any] = json.loads(payload)
    if fields["digest"] != digest.hex():
        return None
    observed = _to_time(fields["observed"])
    if observed is None:
        return None
    record = Record(
        key_id=fields["key_id"],
        kind=KeyKind(fields["kind"]),
        label=fields["label"],
        scopes=frozenset(fields["scopes"]),
        version=fields["version"],
        project_id=fields["project_id"],
        user_id=fields["user_id"],
        projects=_to_set(fields["projects"]),
        organizations=_to_set(fields["organizations"]),
        expires_at=_to_time(fields["expires_at"]),
        revoked_at=_to_time(fields["revoked_at"]),
        retired_until=_to_time(fields["retired_until"]),
        owner_active=fields["owner_active"],
        owner_version=fields["owner_version"],
    )
    return Value(record, observed)


def _sign(payload: bytes, key: bytes) -> bytes:
    return hmac.digest(key, _TAG + payload, "sha256")


def _to_number(time: datetime | None) -> int | None:
    return None if time is None else (time - _EPOCH) // timedelta(microseconds=1)


def _to_time(number: int | None) -> datetime | None:
    return None if number is None else _EPOCH + timedelta(microseconds=number)


def _to_list(ids: frozenset[str] | None) -> list[str] | None:
    return None if ids is None else sorted(ids)


def _to_set(ids: list[str] | None) -> frozenset[str] | None:
    return None if ids is None else frozenset(ids)
