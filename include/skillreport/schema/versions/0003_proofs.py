"""Hashes of files in the object store: archives of deleted rows, and provisional accounting files."""

from __future__ import annotations

from include.skillreport.schema.deploy import run_sql_file

revision = "0003_proofs"
down_revision = "0002_runs"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file(f"sql/{revision}.sql")
