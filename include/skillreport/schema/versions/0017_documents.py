"""Billing: recipients abroad, one-off lines, and credit notes for a part of an invoice."""

from __future__ import annotations

from include.skillreport.schema.deploy import run_sql_file

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file("sql/0017_documents.sql")
