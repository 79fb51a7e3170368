"""Who triggered a run."""

from __future__ import annotations

from include.skillreport.schema.deploy import run_sql_file

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file("sql/0012_triggered_by.sql")
