"""Run by Alembic: migrates over the connection, and in the transaction, that keymw hands in."""

from alembic import context

from keymw.store.schema import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=False,
)
context.run_migrations()
