"""How long our tables keep rows: indexes that find old rows, and look-ups that do not grow with the tables."""

from __future__ import annotations

from include.skillreport.schema.deploy import run_sql_file

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file("sql/0026_retention.sql")
