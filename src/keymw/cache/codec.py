"""The form of values and messages in Redis: signed and versioned; never pickle.

A tag + HMAC-SHA256 (32 bytes) of tag and payload + the payload, JSON. The signing key lives in the
SQL store and never in Redis, so that whoever can write to Redis can neither make a principal nor
end one. A value is bound to the digest that it was stored under.

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
from keymw.ports import Invalidation
from keymw.principals import KeyKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_VALUE_TAG = b"k3."
_CHANGE_TAG = b"c1."
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
            "mask": record.mask,
            "position": record.position,
        },
        separators=(",", ":"),
    ).encode()
    return _seal(_VALUE_TAG, payload, keys)


def decode(raw: bytes, digest: bytes, keys: Iterable[bytes]) -> Value | None:
    """Return the value if one of the keys signed it for this digest; None for anything else."""
    payload = _open(_VALUE_TAG, raw, keys)
    if payload is None:
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
        mask=fields["mask"],
        position=fields["position"],
    )
    return Value(record, observed)


def encode_change(change: Invalidation, keys: Sequence[bytes]) -> bytes:
    """Return the signed message of a change; it names no digest."""
    payload = json.dumps([change.entity, change.version, change.seq]).encode()
    return _seal(_CHANGE_TAG, payload, keys)


def decode_change(raw: bytes, keys: Iterable[bytes]) -> Invalidation | None:
    """Return the change if one of the keys signed it; None for anything else."""
    payload = _open(_CHANGE_TAG, raw, keys)
    return None if payload is None else Invalidation(*json.loads(payload))


def _seal(tag: bytes, payload: bytes, keys: Sequence[bytes]) -> bytes:
    return tag + _sign(tag, payload, keys[-1]) + payload


def _open(tag: bytes, raw: bytes, keys: Iterable[bytes]) -> bytes | None:
    """Return the payload if it was sealed with this tag and one of the keys."""
    start = len(tag) + _SIGNATURE_LENGTH
    signature, payload = raw[len(tag) : start], raw[start:]
    if not raw.startswith(tag) or len(signature) < _SIGNATURE_LENGTH:
        return None
    if any(hmac.compare_digest(signature, _sign(tag, payload, key)) for key in keys):
        return payload
    return None


def _sign(tag: bytes, payload: bytes, key: bytes) -> bytes:
    return hmac.digest(key, tag + payload, "sha256")


def _to_number(time: datetime | None) -> int | None:
    return None if time is None else (time - _EPOCH) // timedelta(microseconds=1)


def _to_time(number: int | None) -> datetime | None:
    return None if number is None else _EPOCH + timedelta(microseconds=number)


def _to_list(ids: frozenset[str] | None) -> list[str] | None:
    return None if ids is None else sorted(ids)


def _to_set(ids: list[str] | None) -> frozenset[str] | None:
    return None if ids is None else frozenset(ids)
