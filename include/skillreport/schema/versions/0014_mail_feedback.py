"""Suppressed addresses end, and a run keeps remarks about its own steps."""

from __future__ import annotations

from include.skillreport.schema.deploy import run_sql_file

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file("sql/0014_mail_feedback.sql")
