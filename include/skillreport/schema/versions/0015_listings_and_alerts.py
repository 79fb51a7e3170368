"""Accounts that a directory lists with different values, and the operators' channel over HTTP."""

from __future__ import annotations

from include.skillreport.schema.deploy import run_sql_file

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file("sql/0015_listings_and_alerts.sql")
