"""What is run in a trial: each of the 14 batches on the demo's data, and an approval of held invoices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg

from include.skillreport.core.catalog import (
    BATCHES,
    NOTIFICATION_RETRY,
    SCHEDULED_NOTIFICATIONS,
    TENANT_BILLING,
    TENANT_MONITORING,
    TENANT_USAGE,
)
from include.skillreport.core.operation_catalog import APPROVE_INVOICES
from include.skillreport.core.run_spec import BatchSpec, RunSpec
from local_stack.demo.runs import DEMO_DATE
from local_stack.monitoring import MONITORING_RUNS

_MIDNIGHT = f"{DEMO_DATE}T00:00:00Z"


@dataclass(frozen=True)
class Scenario:
    """A run of a batch or an operation for ``moment``. ``after`` runs before it, undisturbed.

    ``arrange`` changes the database before the run. ``waits_for_people``: a person has to answer.
    """

    name: str
    spec: RunSpec
    moment: str = _MIDNIGHT
    after: Scenario | None = None
    arrange: Callable[[psycopg.Connection], None] | None = None
    waits_for_people: bool = False

    @property
    def dag_id(self) -> str:
        """The DAG of an operation has its slug."""
        return self.spec.dag_id if isinstance(self.spec, BatchSpec) else self.spec.slug

    @property
    def sends(self) -> bool:
        """Whether messages of a killed process wait for their lease, which the next hourly run of BATCH-019-02 ends."""
        return self.spec in (SCHEDULED_NOTIFICATIONS, NOTIFICATION_RETRY)


def _lose_people(host: psycopg.Connection) -> None:
    """Half of the events of some tenants' month name nobody, so that BATCH-018-02 holds their invoices."""
    host.execute(
        """
        UPDATE batch.usage_day SET read_events = 100, unplaced_events = 50
        WHERE usage_date BETWEEN '2026-10-01' AND '2026-10-31' AND mod(hashtext(tenant_id), 2) = 0
        """
    )


def _scenarios() -> Sequence[Scenario]:
    usage = Scenario(TENANT_USAGE.id, TENANT_USAGE)
    sending = Scenario(SCHEDULED_NOTIFICATIONS.id, SCHEDULED_NOTIFICATIONS)
    first_hour, second_hour = MONITORING_RUNS
    special = {
        TENANT_BILLING: Scenario(TENANT_BILLING.id, TENANT_BILLING, after=usage),
        NOTIFICATION_RETRY: Scenario(NOTIFICATION_RETRY.id, NOTIFICATION_RETRY, after=sending),
        TENANT_MONITORING: Scenario(
            TENANT_MONITORING.id,
            TENANT_MONITORING,
            second_hour,
            # An incident opens at the second breach.
            after=Scenario(f"{TENANT_MONITORING.id}-first", TENANT_MONITORING, first_hour),
        ),
        TENANT_USAGE: usage,
        SCHEDULED_NOTIFICATIONS: sending,
    }
    held = Scenario(f"{TENANT_BILLING.id}-held", TENANT_BILLING, after=usage, arrange=_lose_people)
    approval = Scenario(APPROVE_INVOICES.id, APPROVE_INVOICES, after=held, waits_for_people=True)
    return [*(special.get(spec, Scenario(spec.id, spec)) for spec in BATCHES), approval]


SCENARIOS = _scenarios()
