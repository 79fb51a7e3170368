"""The baseline: all of schema batch, by subject. Frozen since version 1.0.0."""

from __future__ import annotations

from include.skillreport.schema.deploy import run_sql_file
from include.skillreport.schema.revisions import BASELINE, BASELINE_REVISION

revision = BASELINE_REVISION
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    for subject in BASELINE:
        run_sql_file(f"sql/{subject}.sql")
