"""Schema batch: isolation, execution log, tenant usage."""

from __future__ import annotations

from include.skillreport.schema.deploy import run_sql_file

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file("sql/0001_foundation.sql")
