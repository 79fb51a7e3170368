"""Notifications: the outbox, closed channels and addresses that are not written to any more."""

from __future__ import annotations

from include.skillreport.schema.deploy import run_sql_file

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file("sql/0003_notifications.sql")
