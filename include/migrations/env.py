"""Alembic's entry point; it only runs inside ``include.migrations.deploy``, on the connection that deploy holds the lock with."""

from __future__ import annotations

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table_schema="batch",
    transaction_per_migration=False,
)
context.run_migrations()
