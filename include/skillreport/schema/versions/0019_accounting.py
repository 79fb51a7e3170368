"""Accounting: months that are handed over, and the search over all documents."""

from __future__ import annotations

from include.skillreport.schema.deploy import run_sql_file

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file("sql/0019_accounting.sql")
