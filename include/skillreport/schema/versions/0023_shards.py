"""Shards by number: which mapped task instance works on a tenant."""

from __future__ import annotations

from include.skillreport.schema.deploy import run_sql_file

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file("sql/0023_shards.sql")
