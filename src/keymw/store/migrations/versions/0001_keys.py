"""Keys, their retired secrets, users, events and the signing key."""

import secrets
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

from keymw.store.schema import UtcTime

revision = "0001"
down_revision = None

_LIVE_PROJECT_KEY = "kind = 'project_secret' AND revoked_at IS NULL"


def upgrade() -> None:
    """Make the tables and the one signing key."""
    op.create_table(
        "keymw_users",
        sa.Column("id", sa.String(255), primary_key=True),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("changed_at", UtcTime, nullable=False),
    )
    op.create_table(
        "keymw_keys",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("project_id", sa.String(255)),
        sa.Column("user_id", sa.String(255)),
        sa.Column("label", sa.String(40), nullable=False),
        sa.Column("mask", sa.String(64), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("projects", sa.JSON),
        sa.Column("organizations", sa.JSON),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.Column("created_by", sa.String(255)),
        sa.Column("expires_at", UtcTime),
        sa.Column("revoked_at", UtcTime),
        sa.Column("last_used_at", UtcTime),
        sa.Column("last_rolled_at", UtcTime),
        sa.CheckConstraint(
            "(kind = 'project_secret' AND project_id IS NOT NULL AND user_id IS NULL)"
            " OR (kind = 'personal' AND user_id IS NOT NULL AND project_id IS NULL)",
            name="keymw_keys_owner",
        ),
    )
    op.create_index("keymw_keys_user", "keymw_keys", ["user_id"])
    op.create_index("keymw_keys_project", "keymw_keys", ["project_id"])
    op.create_index(
        "keymw_keys_label",
        "keymw_keys",
        ["project_id", "label"],
        unique=True,
        sqlite_where=sa.text(_LIVE_PROJECT_KEY),
        postgresql_where=sa.text(_LIVE_PROJECT_KEY),
    )
    op.create_table(
        "keymw_retired_secrets",
        sa.Column("digest", sa.LargeBinary(32), primary_key=True),
        sa.Column(
            "key_id", sa.String(64), sa.ForeignKey("keymw_keys.id"), nullable=False, index=True
        ),
        sa.Column("mask", sa.String(64), nullable=False),
        sa.Column("valid_until", UtcTime, nullable=False),
    )
    op.create_table(
        "keymw_events",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", UtcTime, nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("entity", sa.String(300), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("key_id", sa.String(64), index=True),
        sa.Column("project_id", sa.String(255), index=True),
        sa.Column("user_id", sa.String(255), index=True),
        sa.Column("actor", sa.String(255)),
        sa.Column("before", sa.JSON, nullable=False),
        sa.Column("after", sa.JSON, nullable=False),
    )
    counter = op.create_table(
        "keymw_counter",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    signing_keys = op.create_table(
        "keymw_signing_keys",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("secret", sa.LargeBinary(32), nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
    )
    op.bulk_insert(counter, [{"name": "events", "value": 0}])
    op.bulk_insert(
        signing_keys,
        [{"id": 1, "secret": secrets.token_bytes(32), "created_at": datetime.now(UTC)}],
    )
