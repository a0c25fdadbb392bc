"""Stores many keys that were made elsewhere, and tells everybody once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keymw.flows.changes import announce
from keymw.importing import MAX_SHOWN, Draft, ImportReport, Rejection, check_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from keymw.flows.deps import Deps
    from keymw.importing import Row


async def import_keys(
    deps: Deps,
    rows: Iterable[Row | Rejection | Mapping[str, object]],
    actor: str | None,
    *,
    partial: bool,
    dry_run: bool,
) -> ImportReport:
    """Store all rows, or the good ones, or only say what would become of them."""
    shown: list[Rejection] = []
    refused = 0

    def drafts() -> Iterator[Draft]:
        nonlocal refused
        for checked in check_rows(rows, deps.clock.now(), actor, deps.catalog):
            if isinstance(checked, Draft):
                yield checked
                continue
            refused += 1
            if refused <= MAX_SHOWN:
                shown.append(checked)

    def may_store(rejected: int) -> bool:
        return not dry_run and (partial or not (refused or rejected))

    done = await deps.store.import_keys(drafts(), may_store)
    rejections = sorted([*shown, *done.rejections], key=lambda each: each.line)[:MAX_SHOWN]
    # One message is enough: whoever finds that it has not heard of the others asks for them, and
    # what nobody had before lies in no shared cache.
    told = None if done.last is None else await announce(deps, done.last)
    return ImportReport(
        done.stored,
        done.new,
        done.known,
        done.rejected + refused,
        tuple(rejections),
        told,
    )
