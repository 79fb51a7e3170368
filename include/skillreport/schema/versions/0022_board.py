"""The operators' board: what its views may read, and an index for its pages."""

from __future__ import annotations

from include.skillreport.schema.deploy import run_sql_file

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file("sql/0022_board.sql")
