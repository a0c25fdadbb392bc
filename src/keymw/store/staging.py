"""Where the rows of an import lie until they are stored: a table that no other connection sees."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    insert,
)
from sqlalchemy.exc import OperationalError

from keymw.errors import NotMigrated
from keymw.ports import Update
from keymw.store import statements as sql
from keymw.store.activity import difference
from keymw.store.rows import to_row
from keymw.store.schema import UtcTime

if TYPE_CHECKING:
    from collections.abc import Iterable

    from keymw.importing import Draft

#: Rows that are handed to the database at once.
_BATCH = 2000
#: SQLite's code for a lock that somebody else has.
_BUSY = 5

#: The table: of each row the key that it would be, and what has been found out about it.
staged = Table(
    "keymw_import",
    MetaData(),
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("line", BigInteger, nullable=False),
    Column("id", String(64), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("project_id", String(255)),
    Column("user_id", String(255)),
    Column("label", String(40), nullable=False),
    Column("mask", String(64), nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("created_by", String(255)),
    Column("expires_at", UtcTime),
    Column("after", JSON, nullable=False),
    #: Why it is not to be stored; nothing, if it is.
    Column("found", String(8)),
    #: Place of the row that has the same.
    Column("first", Integer),
    prefixes=["TEMPORARY"],
)
_STAGE = insert(staged)
#: Columns that become those of a key.
COPIED = (
    *("id", "kind", "project_id", "user_id", "label", "mask", "digest", "scopes"),
    *("created_at", "created_by", "expires_at"),
)
#: Whether a row is to be stored.
is_new = staged.c.found.is_(None)


def stage(connection: Connection, drafts: Iterable[Draft]) -> None:
    """Bring the rows where SQL can look at them, batch by batch."""
    position(connection)
    begin(connection)
    staged.create(connection, checkfirst=False)
    connection.commit()
    numbered = enumerate(drafts, 1)
    while batch := list(islice(numbered, _BATCH)):
        begin(connection)
        connection.execute(_STAGE, [_to_row(place, draft) for place, draft in batch])
        connection.commit()
    begin(connection)
    for name, columns in (("digest", "digest, place"), ("label", "project_id, label, place")):
        connection.exec_driver_sql(f"CREATE INDEX keymw_import_{name} ON keymw_import ({columns})")
    if connection.dialect.name != "sqlite":
        connection.exec_driver_sql("ANALYZE keymw_import")
    connection.commit()


def _to_row(place: int, draft: Draft) -> dict[str, Any]:
    row = to_row(draft.key)
    key = draft.key
    _, after = difference(None, Update("imported", key, key.created_at, key.created_by))
    own = {"place": place, "line": draft.line, "digest": draft.digest, "after": after}
    return {name: row[name] for name in COPIED if name != "digest"} | own


def begin(connection: Connection) -> None:
    """Begin a transaction: of SQLite's, which keymw has in AUTOCOMMIT mode."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN")


def begin_change(connection: Connection) -> None:
    """Begin a transaction that changes what others see, however long they keep SQLite's lock."""
    while connection.dialect.name == "sqlite":
        # Asked for again and again: while SQLite waits, Ctrl-C does not reach Python.
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        except OperationalError as error:
            if getattr(error.orig, "sqlite_errorcode", 0) & 0xFF != _BUSY:
                raise
        else:
            return


def position(connection: Connection) -> int:
    """Return the number of the last event."""
    found = connection.execute(sql.POSITION).scalar()
    connection.commit()
    if found is None:
        raise NotMigrated
    return int(found)
