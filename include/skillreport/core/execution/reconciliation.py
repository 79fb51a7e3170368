"""A run's host rows that could not be assigned to a tenant. Source of the rule: ``host_views/people.sql``.

A row is assigned by its user or its tenant column, is written by the application itself, or is unplaced for a reason. A run above the
settings' thresholds is partial. All statements run as ``batch_platform``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg

from include.skillreport.core.database import Statements
from include.skillreport.core.execution.run_remarks import RunProblem
from include.skillreport.core.execution.settings import IdentitySettings

_SQL = Statements(Path(__file__).parent)

# An arbitrary number.
_TALLY_LOCK = 7_018_017

# The sources in ``batch.all_host_source``. The application does not write all of them.
REQUESTS = "SYS_SystemLog"
AUDIT = "HIS_AuditLog"
LOGINS = "HIS_AuditLog LOGIN"
REPORTS = "HIS_ReportGeneration"
FILES = ("TRN_SkillEvidence", "HIS_ReportGeneration file_size")
ASSESSMENTS = "TRN_SkillRecord assessment_date"
NOTIFICATIONS = "HIS_NotificationLog"

REASONS = {
    "placeholder": "画面が誰に対しても書く仮のキー",
    "no_employee": "従業員のないアカウント",
    "unknown_person": "該当者がないか 1 人に決まらない利用者",
    "unknown_tenant": "存在しないテナント",
}


@dataclass(frozen=True)
class Tally:
    """The rows of one source that were assigned in one way; ``placement`` is as in ``batch.reconciliation``."""

    source: str
    placement: str
    is_event: bool
    row_count: int
    since: date | None = None


class Reconciliation:
    """The tallies of one run. For each source: rows read = placed + written by the application + unplaced."""

    def __init__(self, tallies: Sequence[Tally]) -> None:
        self.tallies = tuple(tallies)

    def __bool__(self) -> bool:
        return bool(self.tallies)

    @property
    def read_events(self) -> int:
        """The number of accounts and of events in the period."""
        return self._events("person", "stated", "nobody", *REASONS)

    @property
    def unplaced_events(self) -> int:
        """The number of ``read_events`` that belong to no tenant."""
        return self._events(*REASONS)

    def _events(self, *placements: str) -> int:
        return sum(each.row_count for each in self.tallies if each.is_event and each.placement in placements)

    def is_beyond(self, settings: IdentitySettings) -> bool:
        """True if the unplaced rows make the run partial."""
        return is_beyond(self.unplaced_events, self.read_events, settings)

    def problem(self) -> RunProblem:
        """The unplaced events by source and reason, for operators."""
        share = Decimal(100 * self.unplaced_events) / max(1, self.read_events)
        return RunProblem(
            f"読み取った {self.read_events} 件のうち {self.unplaced_events} 件（{share:.1f} %）をテナントに割り当てられません（"
            f"{'、'.join(self._unplaced())}）",
            "ROWS_UNPLACED",
        )

    def _unplaced(self) -> list[str]:
        return [
            f"{each.source}: {REASONS[each.placement]} {each.row_count} 件"
            for each in self.tallies
            if each.is_event and each.placement in REASONS
        ]

    def as_json(self) -> dict[str, Any]:
        """The result as JSON: per source the rows read, placed, without tenant, and unplaced by reason, and the silent sources."""
        sources: dict[str, Counter[str]] = {}
        silences: list[dict[str, Any]] = []
        for each in self.tallies:
            if each.placement in ("no_source", "silent"):
                silences.append(
                    {
                        "source": each.source,
                        "state": each.placement,
                        "since": each.since and each.since.isoformat(),
                    }
                )
            else:
                sources.setdefault(each.source, Counter())[each.placement] += each.row_count
        return {
            "read": self.read_events,
            "unplaced": self.unplaced_events,
            "sources": {name: _source(counts) for name, counts in sorted(sources.items())},
            "silences": silences,
        }


def _source(counts: Counter[str]) -> dict[str, Any]:
    return {
        "read": sum(counts[each] for each in ("person", "stated", "nobody", *REASONS)),
        "placed": counts["person"] + counts["stated"],
        "placedByStatedTenant": counts["stated"],
        "nobody": counts["nobody"],
        "unplaced": {reason: counts[reason] for reason in REASONS if counts[reason]},
        "watchedKeys": counts["watched"],
        "overruledTenants": counts["overruled"],
    }


def is_beyond(unplaced: int, read: int, settings: IdentitySettings) -> bool:
    """True if ``unplaced`` of ``read`` rows exceed both thresholds."""
    return unplaced > settings.unplaced_events and 100 * unplaced > settings.unplaced_percent * read


def begin_tallies(platform: psycopg.Connection, execution_id: str) -> None:
    """Delete an earlier attempt's tallies in the open transaction, which then reads all rows again.

    Concurrent attempts run one after the other.
    """
    platform.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, %s))", [execution_id, _TALLY_LOCK])
    _SQL.execute(platform, "delete_tallies", execution_id=execution_id)


def find_sources(platform: psycopg.Connection, patience: timedelta = timedelta(0)) -> frozenset[str]:
    """The sources of ``batch.all_host_source`` that have or once had a row. An empty source is checked again after ``patience``."""
    _SQL.execute(platform, "remember_sources", logins=LOGINS, patience=patience)
    return frozenset(source for (source,) in _SQL.execute(platform, "known_sources"))


def find_logins(platform: psycopg.Connection) -> bool:
    """True if the hourly step has counted logins in a log that had none before."""
    return _SQL.execute(platform, "remember_logins", logins=LOGINS).rowcount > 0


def remember_days(platform: psycopg.Connection, sources: Sequence[str], day: date) -> None:
    """Record that these sources have rows on the day (Asia/Tokyo)."""
    _SQL.execute(platform, "remember_days", sources=sources, day=day)


def last_days(platform: psycopg.Connection, sources: Sequence[str], day: date) -> dict[str, date]:
    """The latest known day (Asia/Tokyo) up to ``day`` on which a run found rows, by source."""
    rows = _SQL.execute(platform, "last_days", sources=sources, day=day)
    return dict(rows.fetchall())


def record_silences(
    platform: psycopg.Connection,
    execution_id: str,
    missing: Sequence[str],
    silent_since: dict[str, date | None],
) -> None:
    """Record the sources that never had a row, and the sources without a row in the period with the day of their last row."""
    _SQL.execute(
        platform,
        "record_silences",
        execution_id=execution_id,
        sources=[*missing, *silent_since],
        placements=["no_source"] * len(missing) + ["silent"] * len(silent_since),
        days=[*(None for _ in missing), *silent_since.values()],
    )


def load_reconciliation(platform: psycopg.Connection, execution_id: str) -> Reconciliation:
    """A run's tallies, ordered by source; empty for a batch that reads no users."""
    rows = _SQL.rows(platform, "load_reconciliation", execution_id=execution_id)
    return Reconciliation([Tally(**row) for row in rows])
