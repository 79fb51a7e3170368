"""Figures that stay true over retries and clears, and the tries of task instances."""

from __future__ import annotations

from include.skillreport.schema.deploy import run_sql_file

revision = "0002_runs"
down_revision = "0001_baseline"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file(f"sql/{revision}.sql")
