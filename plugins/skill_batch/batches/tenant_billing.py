"""BATCH-018-02 in Airflow: a form field, and the sensor that waits for the usage of the month's last day."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, Param
from typing_extensions import override

from skill_batch.batch_flow import failure_alert, run_of, task_arguments
from skill_batch.forms import field_param
from include.skillreport.billing.actions.settle import Approve
from include.skillreport.core.catalog import TENANT_BILLING
from include.skillreport.core.run_plan import WAIT_FOR_USAGE

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

_POKE_INTERVAL = timedelta(minutes=1)


class ClosedUsageSensor(BaseSensorOperator):
    """Wait until BATCH-018-01 has closed the last day of the month for all tenants, or can no longer close it.

    The sensor succeeds in both cases. Tenants without a closed day fail later; the others are billed. The sensor uses no worker (mode
    reschedule) and no triggerer while it waits.
    """

    template_fields = ("run",)

    def __init__(self, *, run: Any, statement_timeout: timedelta, **kwargs: Any) -> None:
        super().__init__(mode="reschedule", poke_interval=_POKE_INTERVAL, timeout=statement_timeout, **kwargs)
        self.run = run
        self.statement_timeout = statement_timeout

    @override
    def poke(self, context: Context) -> bool:
        """True if billing may start."""
        from skill_batch.hooks.tenant_db import PlatformDbHook
        from include.skillreport.batches.tenant_billing.usage_wait import is_worth_waiting, usage_state
        from include.skillreport.billing.periods import Period
        from include.skillreport.billing.settings import BillingSettings

        run = run_of(self.run)
        if run.options["allow_incomplete"]:
            return True
        period = Period.month_of(run.business_date)
        with PlatformDbHook(statement_timeout=self.statement_timeout).connect() as platform:
            state = usage_state(platform, run.execution_id, period.end)
        longest = timedelta(hours=BillingSettings.load().usage_wait_hours)
        waiting = is_worth_waiting(state, period, datetime.now(UTC), longest)
        log.info(
            "%s: %d tenants not closed, BATCH-018-01 %s: %s",
            period.end,
            state.unclosed_tenants,
            "has ended" if state.usage_run_ended else "has not ended",
            "waiting" if waiting else "going on",
        )
        return not waiting


def wait_for_closed_usage(run: Any) -> Any:
    """Add the sensor between ``open_run`` and the billing of the tenants."""
    sensor = ClosedUsageSensor(
        **task_arguments(TENANT_BILLING, WAIT_FOR_USAGE),
        run=run,
        statement_timeout=TENANT_BILLING.time_limit,
        on_failure_callback=failure_alert(TENANT_BILLING),
    )
    return sensor.output


def allow_incomplete() -> Param:
    """The form field that allows billing with days that are not closed."""
    return field_param(Approve.fields()["allow_incomplete"])
