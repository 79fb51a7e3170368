"""Inactive tenants: how long each has been without anybody, and when its stage changed."""

from __future__ import annotations

from include.skillreport.schema.deploy import run_sql_file

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file("sql/0004_inactivity.sql")
