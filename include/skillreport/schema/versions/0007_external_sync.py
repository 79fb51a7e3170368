"""Directory synchronisation: listings, mirrors, links, plans and every change; outcomes by part."""

from __future__ import annotations

from include.skillreport.schema.deploy import run_sql_file

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file("sql/0007_external_sync.sql")
