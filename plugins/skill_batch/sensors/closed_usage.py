"""Billing's wait for the usage of the month's last day (BATCH-018-01)."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator

from skill_batch.tenant_flow import failure_alert, run_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.catalog import BatchSpec

log = logging.getLogger(__name__)

_POKE_INTERVAL = timedelta(minutes=1)


class ClosedUsageSensor(BaseSensorOperator):
    """Wait until the last day of the run's month is closed for all of its tenants, or waiting is of no use any more.

    It succeeds either way: a tenant whose day stays open fails on its own, and the others are billed. Between two looks no worker is
    held (mode reschedule), and no triggerer is needed.
    """

    template_fields = ("run",)

    def __init__(self, *, run: Any, statement_timeout: timedelta, **kwargs: Any) -> None:
        super().__init__(mode="reschedule", poke_interval=_POKE_INTERVAL, timeout=statement_timeout, **kwargs)
        self.run = run
        self.statement_timeout = statement_timeout

    def poke(self, context: Context) -> bool:  # noqa: ARG002 - the sensor's interface
        """Whether billing may start."""
        from include.billing.periods import Period
        from include.settings import load_settings
        from include.tenant_management.tenant_billing.usage_wait import is_worth_waiting, usage_state
        from skill_batch.hooks.tenant_db import PlatformDbHook

        run = run_of(self.run)
        if run.options["allow_incomplete"] or run.options["action"] != "bill":
            return True
        period = Period.month_of(run.business_date)
        with PlatformDbHook(statement_timeout=self.statement_timeout).connect() as platform:
            state = usage_state(platform, run.execution_id, period.end)
        longest = timedelta(hours=load_settings().billing.usage_wait_hours)
        waiting = is_worth_waiting(state, period, datetime.now(UTC), longest)
        log.info(
            "%s: %d tenants not closed, BATCH-018-01 %s: %s",
            period.end,
            state.unclosed_tenants,
            "has ended" if state.usage_run_ended else "has not ended",
            "waiting" if waiting else "going on",
        )
        return not waiting


def wait_for_closed_usage(spec: BatchSpec, run: Any, shards: Any) -> list[Any]:  # noqa: ARG001 - a first step
    """The first step of billing."""
    sensor = ClosedUsageSensor(
        task_id="wait_for_usage",
        task_display_name="使用量の締め待ち",
        run=run,
        statement_timeout=spec.time_limit,
        on_failure_callback=failure_alert(spec),
    )
    return [sensor.output]
