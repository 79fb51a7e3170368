"""The opening and closing of incidents. Pure: results of checks in, states out.

Source: BATCH-018-03's rules. An incident opens when 2 of the last 3 checks breach and closes after 3 clean checks in a row, so a value that
changes every hour is one incident. A check without data (no traffic, a gap in monitoring) has no result.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

# The number of results that count. Two breaches among them open an incident; this many clean results close it.
_RESULTS = 3
_BREACHES_TO_OPEN = 2

# Older results are dropped when a new one arrives. A tenant that is used for one hour a day has one result a day.
RESULTS_VALID_FOR = timedelta(hours=26)
# An incident that opens this soon after its close is reopened, with its former opening time.
REOPEN_WITHIN = timedelta(hours=6)

BREACHED, CLEAN = "x", "-"


class BreachSeverity(StrEnum):
    """The severity of a breach."""

    WARNING = "warning"
    CRITICAL = "critical"


def worse(one: BreachSeverity, other: BreachSeverity) -> BreachSeverity:
    """The worse severity of the two."""
    return BreachSeverity.CRITICAL if BreachSeverity.CRITICAL in (one, other) else BreachSeverity.WARNING


@dataclass(frozen=True)
class Breach:
    """A failed check. ``evidence`` explains it to operators; for an anomaly, the second line is the calculation."""

    severity: BreachSeverity
    evidence: str


@dataclass(frozen=True)
class Recent:
    """The last results of a check, oldest first (``x`` breach, ``-`` clean), and the time of the newest."""

    results: str = ""
    at: datetime | None = None

    def then(self, *, is_breach: bool, at: datetime, is_open: bool) -> Recent:
        """Add a result. Old results are dropped, except while an incident ``is_open``, because every incident must be able to close."""
        known = self.results if is_open or (self.at and at - self.at <= RESULTS_VALID_FOR) else ""
        return Recent((known + (BREACHED if is_breach else CLEAN))[-_RESULTS:], at)

    @property
    def is_recovered(self) -> bool:
        """True if there are enough results, and all are clean."""
        return self.results == CLEAN * _RESULTS

    @property
    def is_quiet(self) -> bool:
        """True if no result is a breach, so nothing needs to be saved."""
        return BREACHED not in self.results


@dataclass(frozen=True)
class Incident:
    """A check that fails repeatedly, from ``opened_at`` until ``closed_at`` (None while it is open).

    ``severity`` is the highest since the incident (re)opened. ``evidence`` belongs to the newest breach, at ``breached_at``.
    """

    opened_at: datetime
    severity: BreachSeverity
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
    """Add one result: a breach, or None for a clean check. ``incident`` is the check's latest, open or closed.

    A breach that ``is_confirmed`` in another way opens an incident at once.
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
