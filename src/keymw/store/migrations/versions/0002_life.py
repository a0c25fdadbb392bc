"""When old secrets were last used, why a change was made, and who did it."""

import sqlalchemy as sa
from alembic import op

from keymw.store.schema import UtcTime

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add columns, which are empty for what has happened before, and indexes."""
    op.add_column("keymw_retired_secrets", sa.Column("seq", sa.BigInteger))
    op.add_column("keymw_retired_secrets", sa.Column("last_used_at", UtcTime))
    op.create_index("ix_keymw_retired_secrets_seq", "keymw_retired_secrets", ["seq"])
    op.add_column("keymw_events", sa.Column("reason", sa.Text))
    op.create_index("keymw_events_actor", "keymw_events", ["actor"])
    op.create_index("keymw_keys_creator", "keymw_keys", ["created_by"])
