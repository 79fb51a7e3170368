"""The alerts about a running run: it exceeds its time limit, or takes much longer than usual.

The triggerer calls them. Their context has ``dag_run`` (as in the API) and ``deadline``, but no task.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier
from typing_extensions import override

from skill_batch.airflow_private.tasks import is_run_alive
from skill_batch.notifiers.alert import Alert
from skill_batch.notifiers.alert_kinds import LATE_RUN, SLOW_RUN
from skill_batch.notifiers.alert_outbox import open_database, send_alert
from skill_batch.notifiers.channels import Channels, load_channels
from skill_batch.notifiers.run_links import Links, run_links
from skill_batch.notifiers.triggering_user import (
    TriggeringUser,
    address_to,
    is_dry_run,
    severity_for,
    triggering_user,
)
from skill_batch.performance import FACTOR, LEAST_RUNS, LEAST_SECONDS, Slowness, load_history

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


class _RunAlert(BaseNotifier, ABC):
    """The base of both alerts. Sends nothing about a run that ended in time, or whose failure alert was sent. Airflow does not move a
    cleared run's deadline, so the alert waits here until the new limit.
    """

    # The first part of the alert's key, and the run states in which no alert is sent.
    key: str
    silent_states = frozenset({"failed"})
    is_operation = False

    def __init__(self, batch_id: str, batch_name: str, context: Context | None = None) -> None:
        super().__init__(context=context)
        self.batch_id = batch_id
        self.batch_name = batch_name

    async def async_notify(self, context: Context) -> None:
        """Check the run and send the alert. Returns None, because Airflow accepts only text from a callback."""
        from asgiref.sync import sync_to_async

        run: dict[str, Any] = context["dag_run"]  # type: ignore[assignment]
        deadline_at = _moment(context["deadline"]["deadline_time"])  # type: ignore[typeddict-item]
        ended_at = _moment(run["end_date"]) if run["end_date"] else None
        if run["state"] in self.silent_states or (ended_at and ended_at <= deadline_at):
            self.log.info("%s %s is %s: nothing to tell", self.batch_id, run["dag_run_id"], run["state"])
            return
        channels = await sync_to_async(load_channels)()
        began_at, limit = await asyncio.to_thread(self.begin_and_limit, run, deadline_at, channels)
        remaining = began_at + limit - (ended_at or datetime.now(UTC))
        if remaining > timedelta(0):
            self.log.info("%s %s has %s left", self.batch_id, run["dag_run_id"], remaining)
            await asyncio.sleep(remaining.total_seconds() + 1)
            if not await sync_to_async(is_run_alive)(run["dag_id"], run["dag_run_id"]):
                return
        alert = address_to(
            self.triggering_user(run), self.compose(run, (ended_at or datetime.now(UTC)) - began_at)
        )
        self.log.warning("%s", alert.as_text())
        key = f"{self.key}:{run['dag_id']}:{run['dag_run_id']}"
        await asyncio.to_thread(send_alert, alert, key, channels)

    def triggering_user(self, run: dict[str, Any]) -> TriggeringUser | None:
        """The user who gets the alert; None: the operators."""
        return triggering_user(
            run.get("triggering_user_name"),
            is_dry_run=is_dry_run(run.get("conf")),
            is_operation=self.is_operation,
        )

    @abstractmethod
    def begin_and_limit(
        self, run: dict[str, Any], deadline_at: datetime, channels: Channels
    ) -> tuple[datetime, timedelta]:
        """The start of the run's measured duration, and the duration after which the alert is sent."""

    @abstractmethod
    def compose(self, run: dict[str, Any], elapsed: timedelta) -> Alert:
        """The alert. Called after ``begin_and_limit``."""


class LateRunAlert(_RunAlert):
    """The alert about a run over its time limit. ``severity`` is the name of an ``include.skillreport.core.catalog.Severity``.

    ``is_operation``: the DAG is an operation.
    """

    key = "late"

    def __init__(
        self,
        batch_id: str,
        batch_name: str,
        severity: str,
        limit_seconds: int,
        context: Context | None = None,
        *,
        is_operation: bool = False,
    ) -> None:
        super().__init__(batch_id, batch_name, context)
        self.is_operation = is_operation
        self.severity = severity
        self.limit = timedelta(seconds=limit_seconds)

    @override
    def begin_and_limit(
        self, run: dict[str, Any], deadline_at: datetime, channels: Channels
    ) -> tuple[datetime, timedelta]:
        """Starts at the last queueing of the run, so that waiting for a worker counts, too."""
        return max(_moment(run["queued_at"] or run["run_after"]), deadline_at - self.limit), self.limit

    def compose(self, run: dict[str, Any], elapsed: timedelta) -> Alert:
        """See ``_RunAlert``."""
        links = run_links(run["dag_id"], run["dag_run_id"])
        severity = severity_for(self.triggering_user(run), self.severity)
        return late_alert(
            self.batch_id, self.batch_name, severity, run["dag_run_id"], elapsed, self.limit, links
        )


class SlowRunAlert(_RunAlert):
    """The alert about a run that takes more than 1.5 times its usual duration (batch list, section 6.3)."""

    key = "slow"
    # A queued run has no duration. If it becomes slow, close_run sends the alert.
    silent_states = frozenset({"failed", "queued"})

    def __init__(self, batch_id: str, batch_name: str, context: Context | None = None) -> None:
        super().__init__(batch_id, batch_name, context)
        self._average_seconds, self._runs = Decimal(0), 0

    @override
    def begin_and_limit(
        self, run: dict[str, Any], deadline_at: datetime, channels: Channels
    ) -> tuple[datetime, timedelta]:
        """From the average in the execution log, or from the deadline if there is no average."""
        started_at = _moment(run["start_date"] or run["queued_at"] or run["run_after"])
        history = _history(self.batch_id, run["dag_run_id"], channels)
        if len(history) >= LEAST_RUNS:
            self._average_seconds, self._runs = sum(history, Decimal(0)) / len(history), len(history)
        else:
            allowed = max(deadline_at - started_at, timedelta(seconds=LEAST_SECONDS))
            self._average_seconds = Decimal(str(allowed.total_seconds())) / FACTOR
        return started_at, timedelta(seconds=max(float(FACTOR * self._average_seconds), LEAST_SECONDS))

    def compose(self, run: dict[str, Any], elapsed: timedelta) -> Alert:
        """See ``_RunAlert``."""
        slow = Slowness(Decimal(str(elapsed.total_seconds())), self._average_seconds, self._runs)
        return slow_alert(
            self.batch_id,
            self.batch_name,
            run["dag_run_id"],
            slow,
            run_links(run["dag_id"], run["dag_run_id"]),
        )


def _history(batch_id: str, run_id: str, channels: Channels) -> list[Decimal]:
    import psycopg

    with open_database(channels.database) as database:
        try:
            return load_history(database, batch_id, run_id) if database else []
        except psycopg.Error:
            log.exception("The execution log cannot be read")
            return []


def late_alert(
    batch_id: str,
    batch_name: str,
    severity: str,
    execution_id: str,
    elapsed: timedelta,
    limit: timedelta,
    links: Links,
) -> Alert:
    """The alert about a run over its time limit."""
    return Alert(
        title=LATE_RUN.title(batch_id, batch_name),
        lines=(
            f"経過時間: {_duration(elapsed)}（制限時間 {_duration(limit)}）",
            f"重要度: {severity}",
        ),
        ids=(f"実行ID: {execution_id}",),
        actions=(LATE_RUN.action,),
        links=links,
        severity=severity,
    )


def slow_alert(
    batch_id: str,
    batch_name: str,
    execution_id: str,
    slow: Slowness,
    links: Links,
    *,
    has_ended: bool = False,
) -> Alert:
    """The performance alert: batch, execution time, average, ratio (batch list, section 6.3, ``sendPerformanceAlert``)."""
    basis = f"（直近 {slow.runs} 回の成功した実行）" if slow.runs else ""
    return Alert(
        title=SLOW_RUN.title(batch_id, batch_name, f"{slow.ratio} 倍"),
        lines=(
            f"実行時間: {_duration(slow.seconds)}{'' if has_ended else '（実行中）'}",
            f"平均: {_duration(slow.average_seconds)}{basis}、比率: {slow.ratio} 倍（アラートは {FACTOR} 倍超）",
            "重要度: MEDIUM",
        ),
        ids=(f"実行ID: {execution_id}",),
        actions=(SLOW_RUN.action,),
        links=links,
    )


def _moment(value: datetime | str) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)


def _duration(length: timedelta | Decimal) -> str:
    """``1時間02分03秒``; under a minute with one decimal place."""
    seconds = Decimal(str(length.total_seconds())) if isinstance(length, timedelta) else length
    if seconds < 60:
        return f"{seconds:.1f}秒"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}時間{minutes:02}分{rest:02}秒" if hours else f"{minutes}分{rest:02}秒"
