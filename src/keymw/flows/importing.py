"""Stores many keys that were made elsewhere, and tells everybody once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keymw.errors import StoreUnavailable
from keymw.flows.changes import announce
from keymw.import_checks import check_rows
from keymw.importing import MAX_SHOWN, Draft, ImportReport, Rejection

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
    torn: list[Exception] = []

    def given() -> Iterator[Row | Rejection | Mapping[str, object]]:
        try:
            yield from rows
        except Exception as error:  # whatever it is, the database has not raised it
            torn.append(error)
            raise

    def drafts() -> Iterator[Draft]:
        nonlocal refused
        for checked in check_rows(given(), deps.clock.now(), actor, deps.catalog):
            if isinstance(checked, Draft):
                yield checked
                continue
            refused += 1
            if refused <= MAX_SHOWN:
                shown.append(checked)

    def may_store(rejected: int) -> bool:
        return not dry_run and (partial or not (refused or rejected))

    try:
        done = await deps.store.import_keys(drafts(), may_store)
    except StoreUnavailable:
        if torn:
            raise torn[0] from None
        raise
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
