"""Delivery: messages that the application withdraws, shared limits of services, and messages about several reminders."""

from __future__ import annotations

from include.skillreport.schema.deploy import run_sql_file

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file("sql/0016_delivery.sql")
