"""Alembic's entry point. ``include.skillreport.schema.deploy`` runs it on the connection with the deployment lock."""

from __future__ import annotations

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table_schema="batch",
    transaction_per_migration=False,
)
context.run_migrations()
