"""Stores many keys at once, without keeping other changes waiting for them.

The rows go into a temporary table first, where nobody else is concerned (`staging.py`): there they
are held against one another and against what is stored (`staged_checks.py`). Then one transaction
copies those that are new, with an event each (`staged_copy.py`).

SQLite has one writer at a time: there the others wait for the copying.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from keymw.errors import NotMigrated, StoreUnavailable
from keymw.ports import Imported
from keymw.store.faults import translate
from keymw.store.staged_checks import check, rejections
from keymw.store.staged_copy import Overtaken, copy
from keymw.store.staging import stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy import Connection

    from keymw.importing import Draft

#: How often an import is checked again that others have overtaken.
_ATTEMPTS = 3


def import_keys(
    drafts: Iterable[Draft], may_store: Callable[[int], bool], connection: Connection
) -> Imported:
    """Store the drafts that are new, in one transaction, if that is wanted; see `ports.Store`."""
    is_sqlite = connection.dialect.name == "sqlite"
    if not is_sqlite:
        connection = connection.execution_options(isolation_level="READ COMMITTED")
        connection.exec_driver_sql("SET statement_timeout = 0")
        connection.exec_driver_sql("SET lock_timeout = 0")
    try:
        stage(connection, drafts)
        return _store(connection, may_store)
    except (SQLAlchemyError, OSError) as error:
        fault = translate(error)
        if isinstance(fault, NotMigrated):
            raise fault from error
        raise StoreUnavailable(f"{fault} Nothing was stored: repeat it then.") from error
    finally:
        if is_sqlite:
            connection.rollback()
            connection.exec_driver_sql("DROP TABLE IF EXISTS temp.keymw_import")
            connection.commit()
        else:
            # With it go the table and the timeouts.
            connection.invalidate()


def _store(connection: Connection, may_store: Callable[[int], bool]) -> Imported:
    for _ in range(_ATTEMPTS):
        found = check(connection)
        rejected = rejections(connection) if found.rejected else ()
        told = None
        is_wanted = may_store(found.rejected)
        if is_wanted and found.new:
            try:
                told = copy(connection, found)
            except Overtaken:
                connection.rollback()
                continue
        return Imported(is_wanted, found.new, found.known, found.rejected, rejected, told)
    raise StoreUnavailable("Others keep storing the keys that are being imported: repeat it.")
