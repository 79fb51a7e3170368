"""Closed mail servers, and the kinds of the contract letters that wait."""

from __future__ import annotations

from include.skillreport.schema.deploy import run_sql_file

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file("sql/0028_contract_letters.sql")
