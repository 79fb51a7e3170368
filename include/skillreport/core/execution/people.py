"""The keys of the host's users: their settings, and the stored result of ``batch.all_person_key``.

The rule is in ``include/skillreport/schema/host_views/people.sql``. All statements run as ``batch_platform``.
"""

from __future__ import annotations

from pathlib import Path

import psycopg

from include.skillreport.core.database import Statements, plan_for_scans
from include.skillreport.core.execution.settings import IdentitySettings

_SQL = Statements(Path(__file__).parent)

# An arbitrary number. Transactions that change batch.person_key run one after the other.
_PEOPLE_LOCK = 7_018_016


def keep_known_keys(platform: psycopg.Connection, settings: IdentitySettings) -> None:
    """Update ``batch.known_key``, which the views read, from the settings. Writes only differences."""
    keys = settings.known_keys()
    with platform.transaction():
        _SQL.execute(platform, "keep_known_keys", person_keys=list(keys), kinds=list(keys.values()))
        _SQL.execute(platform, "drop_known_keys", person_keys=list(keys))


def keep_people(platform: psycopg.Connection) -> None:
    """Update ``batch.person_key`` from the host in the open transaction, and plan the transaction for scans.

    Resolves the keys only if a user has changed, and writes only differences.
    """
    plan_for_scans(platform)
    if _is_kept(platform):
        return
    platform.execute("SELECT pg_advisory_xact_lock(%s)", [_PEOPLE_LOCK])
    # Another run may have updated the keys in the meantime.
    if not _is_kept(platform):
        _SQL.execute(platform, "keep_person_keys")


def _is_kept(platform: psycopg.Connection) -> bool:
    fingerprint, kept = _SQL.row(platform, "fingerprints")
    return bool(fingerprint == kept)
