"""Backups: what was taken, verified, and deleted."""

from __future__ import annotations

from include.skillreport.schema.deploy import run_sql_file

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file("sql/0009_backups.sql")
