"""Receivables: payments, and the reminders of overdue invoices."""

from __future__ import annotations

from include.skillreport.schema.deploy import run_sql_file

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file("sql/0020_receivables.sql")
