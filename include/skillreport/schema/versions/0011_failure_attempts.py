"""Which attempt of a run closed its row of the execution log."""

from __future__ import annotations

from include.skillreport.schema.deploy import run_sql_file

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file("sql/0011_failure_attempts.sql")
