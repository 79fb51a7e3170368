"""What people did by hour, so that the application's logs are read once."""

from __future__ import annotations

from include.skillreport.schema.deploy import run_sql_file

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file("sql/0025_activity_hours.sql")
