"""The functions by which the views over the application's tables guard its times."""

from __future__ import annotations

from include.skillreport.schema.deploy import run_sql_file

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file("sql/0030_bounded_times.sql")
