"""Alerts to the operators: what was told, and what waits to be."""

from __future__ import annotations

from include.skillreport.schema.deploy import run_sql_file

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file("sql/0008_operator_alerts.sql")
