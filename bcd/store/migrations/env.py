"""Runs migrations on the connection that `bcd.store.catalog` opened; Alembic loads this file by its name."""

from __future__ import annotations

from alembic import context

from bcd.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
