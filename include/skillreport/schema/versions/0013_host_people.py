"""How rows of the host are assigned to people and tenants."""

from __future__ import annotations

from include.skillreport.schema.deploy import run_sql_file

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file("sql/0013_host_people.sql")
