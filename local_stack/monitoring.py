"""Demo data for BATCH-018-03 and 018-05: a tenant with incidents on the morning of 1 November 2026, a Sunday, and broken settings."""

from __future__ import annotations

from pathlib import Path

import psycopg

from include.skillreport.core.database import Statements

_SQL = Statements(Path(__file__).parent)

# Two runs, because an incident opens at the second breach.
MONITORING_RUNS = ("2026-11-01T09:00:00+09:00", "2026-11-01T10:00:00+09:00")


def plant_incidents(connection: psycopg.Connection) -> None:
    """Add the incidents and the broken settings to fresh demo data."""
    for facts in ("monitoring_facts", "setting_facts"):
        _SQL.execute(connection, facts)
