"""What `MemoryStore.import_keys` does: the reference for `bulk.py`, row by row."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from keymw.importing import MAX_SHOWN, Draft, Rejection, reject
from keymw.ports import Changed, Imported
from keymw.principals import KeyKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from keymw.model import Key


class _Secret(Protocol):
    @property
    def key_id(self) -> str: ...


class _Store(Protocol):
    async def insert(self, key: Key, digest: bytes, action: str, actor: str | None) -> Changed: ...


async def import_keys(
    store: _Store,
    secrets: Mapping[bytes, _Secret],
    keys: Mapping[str, Key],
    drafts: Iterable[Draft],
    may_store: Callable[[int], bool],
) -> Imported:
    """Store the drafts that are new, if that is wanted."""
    live = {
        (key.project_id, key.label)
        for key in keys.values()
        if key.kind is KeyKind.PROJECT_SECRET and key.revoked_at is None
    }
    lines: dict[bytes, int] = {}
    labels: dict[tuple[str | None, str], int] = {}
    new: list[Draft] = []
    rejections: list[Rejection] = []
    known = 0
    for draft in drafts:
        key, place = draft.key, (draft.key.project_id, draft.key.label)
        first = lines.setdefault(draft.digest, draft.line)
        secret = secrets.get(draft.digest)
        if first != draft.line:
            rejections.append(reject(draft.line, "digest", f"line {first} has the same one."))
        elif secret is not None and _owner(keys[secret.key_id]) == _owner(key):
            known += 1
        elif secret is not None:
            rejections.append(
                reject(draft.line, "digest", "a key of another owner has, or had, this secret.")
            )
        elif key.expires_at is not None and key.expires_at <= key.created_at:
            rejections.append(reject(draft.line, "expires_at", "it is in the past."))
        elif key.kind is KeyKind.PERSONAL:
            new.append(draft)
        elif place in live:
            reason = "the project already has a key with this label."
            rejections.append(reject(draft.line, "label", reason))
        elif place in labels:
            reason = f"line {labels[place]} has the same one in this project."
            rejections.append(reject(draft.line, "label", reason))
        else:
            labels[place] = draft.line
            new.append(draft)
    told = None
    is_wanted = may_store(len(rejections))
    for draft in new if is_wanted else ():
        done = await store.insert(draft.key, draft.digest, "imported", draft.key.created_by)
        told = replace(done.invalidation, digests=())
    shown = tuple(rejections[:MAX_SHOWN])
    return Imported(is_wanted, len(new), known, len(rejections), shown, told)


def _owner(key: Key) -> tuple[str | None, str | None]:
    return key.project_id, key.user_id
