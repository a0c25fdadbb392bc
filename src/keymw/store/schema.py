"""The tables as they are after the newest migration."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    text,
)

if TYPE_CHECKING:
    from sqlalchemy import Dialect

#: Where migrations say how far they got.
VERSION_TABLE = "keymw_schema"


class UtcTime(TypeDecorator[datetime]):
    """An aware time in UTC on every database; SQLite knows only naive ones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store UTC, without its name where the database has no place for it."""
        if value is None:
            return None
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


metadata = MetaData()

users = Table(
    "keymw_users",
    metadata,
    Column("id", String(255), primary_key=True),
    Column("active", Boolean, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("changed_at", UtcTime, nullable=False),
)

keys = Table(
    "keymw_keys",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("project_id", String(255)),
    # No foreign key: a user need not be known here, and project keys outlive their creators.
    Column("user_id", String(255)),
    Column("label", String(40), nullable=False),
    Column("mask", String(64), nullable=False),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("scopes", Text, nullable=False),
    Column("projects", JSON(none_as_null=True)),
    Column("organizations", JSON(none_as_null=True)),
    Column("version", BigInteger, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("created_by", String(255)),
    Column("expires_at", UtcTime),
    Column("revoked_at", UtcTime),
    Column("last_used_at", UtcTime),
    Column("last_rolled_at", UtcTime),
    CheckConstraint(
        "(kind = 'project_secret' AND project_id IS NOT NULL AND user_id IS NULL)"
        " OR (kind = 'personal' AND user_id IS NOT NULL AND project_id IS NULL)",
        name="keymw_keys_owner",
    ),
    Index("keymw_keys_user", "user_id"),
    Index("keymw_keys_project", "project_id"),
    Index("keymw_keys_creator", "created_by"),
    Index(
        "keymw_keys_label",
        "project_id",
        "label",
        unique=True,
        sqlite_where=text("kind = 'project_secret' AND revoked_at IS NULL"),
        postgresql_where=text("kind = 'project_secret' AND revoked_at IS NULL"),
    ),
)

retired = Table(
    "keymw_retired_secrets",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("key_id", String(64), ForeignKey("keymw_keys.id"), nullable=False, index=True),
    Column("mask", String(64), nullable=False),
    Column("valid_until", UtcTime, nullable=False),
    #: Number of the event by which it was replaced; unknown for what was rolled long ago.
    Column("seq", BigInteger, index=True),
    Column("last_used_at", UtcTime),
)

events = Table(
    "keymw_events",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at", UtcTime, nullable=False),
    Column("action", String(32), nullable=False),
    Column("entity", String(300), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("key_id", String(64), index=True),
    Column("project_id", String(255), index=True),
    Column("user_id", String(255), index=True),
    Column("actor", String(255)),
    Column("before", JSON, nullable=False),
    Column("after", JSON, nullable=False),
    Column("reason", Text),
    Index("keymw_events_actor", "actor"),
)

#: One row, updated by every change, so that events are numbered in the order of their commits.
counter = Table(
    "keymw_counter",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

signing_keys = Table(
    "keymw_signing_keys",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("secret", LargeBinary(32), nullable=False),
    Column("created_at", UtcTime, nullable=False),
)
