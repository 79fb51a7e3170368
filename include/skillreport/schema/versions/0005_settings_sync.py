"""Settings synchronisation: what was last applied, and every change with the way back."""

from __future__ import annotations

from include.skillreport.schema.deploy import run_sql_file

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file("sql/0005_settings_sync.sql")
