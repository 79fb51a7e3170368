"""Approvals: requests to approve what a batch has held, and their answers."""

from __future__ import annotations

from include.skillreport.schema.deploy import run_sql_file

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file("sql/0021_approvals.sql")
