"""When a breach becomes an incident, and when an incident is over. Pure: results of checks in, states out.

Source: BATCH-018-03's rules. An incident opens when 2 of the last 3 checks breach and closes after 3 clean ones in a row, so that a
value that flips every hour is one incident. A check that could not be judged (no traffic, a gap in monitoring) is no result.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

# Results that count, and how many breaches among them open an incident; as many clean ones close it.
_RESULTS = 3
_BREACHES_TO_OPEN = 2

# Breaches further apart than this say nothing about each other. A tenant that is used for an hour a day has one result a day.
FORGET_AFTER = timedelta(hours=26)
# An incident that is back so soon after it was closed was never over.
REOPEN_WITHIN = timedelta(hours=6)

BREACHED, CLEAN = "x", "-"


class Severity(StrEnum):
    """How bad a breach is."""

    WARNING = "warning"
    CRITICAL = "critical"


def worse(one: Severity, other: Severity) -> Severity:
    """The worse of two."""
    return Severity.CRITICAL if Severity.CRITICAL in (one, other) else Severity.WARNING


@dataclass(frozen=True)
class Breach:
    """A check that failed; ``evidence`` is its arithmetic, for people."""

    severity: Severity
    evidence: str


@dataclass(frozen=True)
class Recent:
    """The last results of a check, oldest first (``x`` breach, ``-`` clean), and when the newest came."""

    results: str = ""
    at: datetime | None = None

    def then(self, *, is_breach: bool, at: datetime, is_open: bool) -> Recent:
        """With one more result; what there is already counts whatever its age while an incident ``is_open``, so that all can end."""
        known = self.results if is_open or (self.at and at - self.at <= FORGET_AFTER) else ""
        return Recent((known + (BREACHED if is_breach else CLEAN))[-_RESULTS:], at)

    @property
    def is_recovered(self) -> bool:
        """Whether all results that count are there, and clean."""
        return self.results == CLEAN * _RESULTS

    @property
    def is_quiet(self) -> bool:
        """Whether nothing in them is worth remembering."""
        return BREACHED not in self.results


@dataclass(frozen=True)
class Incident:
    """A check that keeps failing, since ``opened_at`` and, once closed, until ``closed_at``.

    ``severity`` is the highest that it has reached since it (re)opened, ``evidence`` that of the newest breach, at ``breached_at``.
    """

    opened_at: datetime
    severity: Severity
    evidence: str
    breached_at: datetime
    reopened: int = 0
    closed_at: datetime | None = None


def step(
    recent: Recent,
    incident: Incident | None,
    breach: Breach | None,
    at: datetime,
    *,
    is_confirmed: bool = False,
) -> tuple[Recent, Incident | None]:
    """One more result: a breach, or None for a clean check. ``incident`` is the check's newest, open or closed.

    A breach that ``is_confirmed`` in another way opens an incident alone.
    """
    is_open = incident is not None and incident.closed_at is None
    recent = recent.then(is_breach=breach is not None, at=at, is_open=is_open)
    if incident is not None and is_open:
        if breach is not None:
            severity = worse(incident.severity, breach.severity)
            return recent, replace(incident, severity=severity, evidence=breach.evidence, breached_at=at)
        return recent, replace(incident, closed_at=at) if recent.is_recovered else incident
    if breach is None or not (is_confirmed or recent.results.count(BREACHED) >= _BREACHES_TO_OPEN):
        return recent, incident
    opened = Incident(at, breach.severity, breach.evidence, at)
    if incident is not None and incident.closed_at is not None and at - incident.closed_at <= REOPEN_WITHIN:
        opened = replace(opened, opened_at=incident.opened_at, reopened=incident.reopened + 1)
    return recent, opened
