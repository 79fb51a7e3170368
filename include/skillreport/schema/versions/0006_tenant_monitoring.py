"""Tenant monitoring: hourly measures, incidents, and what was told of them."""

from __future__ import annotations

from include.skillreport.schema.deploy import run_sql_file

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file("sql/0006_tenant_monitoring.sql")
