"""What the demo plants for BATCH-018-03 and 018-05: a tenant in trouble on the morning of 1 November 2026, a Sunday; broken settings."""

from __future__ import annotations

from pathlib import Path

import psycopg

from include.database import read_sql

# The runs that see it: an incident opens with the second of two breaches.
MONITORING_RUNS = ("2026-11-01T09:00:00+09:00", "2026-11-01T10:00:00+09:00")


def plant_trouble(connection: psycopg.Connection) -> None:
    """Add it to fresh demo data."""
    for facts in ("monitoring_facts", "setting_facts"):
        connection.execute(read_sql(Path(__file__).parent, facts))
