"""The indexes on the application's tables that the batches have created."""

from __future__ import annotations

from include.skillreport.schema.deploy import run_sql_file

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file("sql/0024_host_indexes.sql")
