"""The version of the code in the run's row, and comments on the tables that had none or an unclear one."""

from __future__ import annotations

from include.skillreport.schema.deploy import run_sql_file

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file("sql/0027_versions.sql")
