"""Daily statistics and monthly reports."""

from __future__ import annotations

from include.skillreport.schema.deploy import run_sql_file

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file("sql/0010_statistics_and_reports.sql")
