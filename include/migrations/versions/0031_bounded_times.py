"""The functions by which the views over the application's tables guard its times."""

from __future__ import annotations

from include.migrations.deploy import run_sql_file

revision = "0031"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file("sql/0031_bounded_times.sql")
