"""A function that names the tenants of a transaction, and refuses a session that acts as another role than ``batch_tenant``."""

from __future__ import annotations

from include.skillreport.schema.deploy import run_sql_file

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file("sql/0029_named_tenants.sql")
