"""Billing: amounts of money of which a charge takes a percentage."""

from __future__ import annotations

from include.skillreport.schema.deploy import run_sql_file

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file("sql/0018_metered_amounts.sql")
