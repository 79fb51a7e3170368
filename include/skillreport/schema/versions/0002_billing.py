"""Billing: plan history, discounts, commitments, exchange rates, and invoices with gapless numbers."""

from __future__ import annotations

from include.skillreport.schema.deploy import run_sql_file

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file("sql/0002_billing.sql")
