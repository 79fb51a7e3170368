"""The alerts about time: a run over its limit, and a run that takes much longer than usual, both while it still runs.

They are called from the triggerer, whose context holds ``dag_run`` (as the API answers it) and ``deadline``, and no task.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import BaseNotifier

from skill_batch.notifiers.alert import Alert
from skill_batch.notifiers.delivery import Channels, deliver, load_channels, open_database
from skill_batch.performance import FACTOR, LEAST_RUNS, LEAST_SECONDS, Slowness, load_history

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


class _RunAlert(BaseNotifier, ABC):
    """What both have in common: silent about a run that has ended in time or has failed (which has alerted by itself).

    A run that was cleared since its deadline was worked out has its time again: it is waited for here, where waiting costs nothing.
    """

    # Which of a run's alerts it is, and in which states a run has nothing to tell.
    key: str
    silent_states = frozenset({"failed"})

    def __init__(self, batch_id: str, batch_name: str, context: Context | None = None) -> None:
        super().__init__(context=context)
        self.batch_id = batch_id
        self.batch_name = batch_name

    async def async_notify(self, context: Context) -> None:
        """Look at the run, and tell the operators. Returns nothing: what a callback returns must be text for Airflow."""
        from asgiref.sync import sync_to_async

        run: dict[str, Any] = context["dag_run"]  # type: ignore[assignment]
        deadline_at = _moment(context["deadline"]["deadline_time"])  # type: ignore[typeddict-item]
        ended_at = _moment(run["end_date"]) if run["end_date"] else None
        if run["state"] in self.silent_states or (ended_at and ended_at <= deadline_at):
            self.log.info("%s %s is %s: nothing to tell", self.batch_id, run["dag_run_id"], run["state"])
            return
        channels = await sync_to_async(load_channels)()
        begun_at, allowed = await asyncio.to_thread(self.time_of, run, deadline_at, channels)
        left = begun_at + allowed - (ended_at or datetime.now(UTC))
        if left > timedelta(0):
            self.log.info("%s %s has %s left", self.batch_id, run["dag_run_id"], left)
            await asyncio.sleep(left.total_seconds() + 1)
            if not await sync_to_async(_still_runs)(run):
                return
        alert = self.compose(run, (ended_at or datetime.now(UTC)) - begun_at)
        self.log.warning("%s", alert.as_text())
        key = f"{self.key}:{run['dag_id']}:{run['dag_run_id']}"
        await asyncio.to_thread(deliver, alert, key, channels)

    @abstractmethod
    def time_of(
        self, run: dict[str, Any], deadline_at: datetime, channels: Channels
    ) -> tuple[datetime, timedelta]:
        """Since when the run's time counts, and how much of it the run has."""

    @abstractmethod
    def compose(self, run: dict[str, Any], elapsed: timedelta) -> Alert:
        """The alert, after ``time_of``."""


class LateRunAlert(_RunAlert):
    """A run over its time limit. ``severity`` as ``include.catalog.Severity`` names it, ``limit_seconds`` the limit."""

    key = "late"

    def __init__(
        self,
        batch_id: str,
        batch_name: str,
        severity: str,
        limit_seconds: int,
        context: Context | None = None,
    ) -> None:
        super().__init__(batch_id, batch_name, context)
        self.severity = severity
        self.limit = timedelta(seconds=limit_seconds)

    def time_of(
        self,
        run: dict[str, Any],
        deadline_at: datetime,
        channels: Channels,  # noqa: ARG002
    ) -> tuple[datetime, timedelta]:
        """From when the run was queued (last): one that waits for a worker is late too."""
        return max(_moment(run["queued_at"] or run["run_after"]), deadline_at - self.limit), self.limit

    def compose(self, run: dict[str, Any], elapsed: timedelta) -> Alert:
        """See ``_RunAlert``."""
        links = run_links(run["dag_id"], run["dag_run_id"])
        return late_alert(
            self.batch_id, self.batch_name, self.severity, run["dag_run_id"], elapsed, self.limit, links
        )


class SlowRunAlert(_RunAlert):
    """A run that takes more than one and a half times as long as usual (batch list, section 6.3)."""

    key = "slow"
    # One that has not begun takes no time of its own; if it turns out slow, its end tells.
    silent_states = frozenset({"failed", "queued"})

    def __init__(self, batch_id: str, batch_name: str, context: Context | None = None) -> None:
        super().__init__(batch_id, batch_name, context)
        self._average_seconds, self._runs = Decimal(0), 0

    def time_of(
        self, run: dict[str, Any], deadline_at: datetime, channels: Channels
    ) -> tuple[datetime, timedelta]:
        """By the execution log's average; where there is none, by the one that the deadline came from."""
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


def _still_runs(run: dict[str, Any]) -> bool:
    """Whether Airflow says so: of a run that was cleared, the execution log knows how it ended before."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    alive = ["queued", "running"]
    return (
        RuntimeTaskInstance.get_dr_count(dag_id=run["dag_id"], run_ids=[run["dag_run_id"]], states=alive) > 0
    )


def _history(batch_id: str, run_id: str, channels: Channels) -> list[Decimal]:
    """Earlier runs' seconds; none where they cannot be read."""
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
    links: tuple[tuple[str, str], ...],
) -> Alert:
    """The alert about a run over its time limit."""
    return Alert(
        title=f"バッチ制限時間超過: {batch_id}",
        lines=(
            f"{batch_name}（重要度 {severity}）",
            f"実行ID: {execution_id}",
            f"経過時間: {_duration(elapsed)}（制限時間 {_duration(limit)}）",
        ),
        actions=(
            "対処: 画面で実行中のタスクのログを確認してください。進んでいれば待ち、止まっていればそのタスクを"
            "消去（Clear）してください。再実行しても二重に処理されません。",
        ),
        links=links,
        severity=severity,
    )


def slow_alert(
    batch_id: str,
    batch_name: str,
    execution_id: str,
    slow: Slowness,
    links: tuple[tuple[str, str], ...],
    *,
    has_ended: bool = False,
) -> Alert:
    """The performance alert: batch, execution time, average, ratio (batch list, section 6.3, ``sendPerformanceAlert``)."""
    of_runs = f"（直近 {slow.runs} 回の成功した実行）" if slow.runs else ""
    return Alert(
        title=f"バッチ性能低下: {batch_id}",
        lines=(
            f"{batch_name}（重要度 MEDIUM）",
            f"実行ID: {execution_id}",
            f"実行時間: {_duration(slow.seconds)}{'' if has_ended else '（実行中）'}",
            f"平均: {_duration(slow.average_seconds)}{of_runs}、比率: {slow.ratio} 倍（通知は {FACTOR} 倍超）",
        ),
        actions=(
            "対処: 急ぎの作業はありません。テナント数・データ量の増加か、データベースの負荷を確認してください。"
            if has_ended
            else "対処: 画面で実行中のタスクのログを確認してください。進んでいれば待ってください。",
        ),
        links=links,
    )


def run_links(dag_id: str, run_id: str) -> tuple[tuple[str, str], ...]:
    """The run's page in Airflow's UI, and the DAG's, whose documentation is the runbook."""
    from airflow.sdk.configuration import conf

    base = conf.get("api", "base_url", fallback="").rstrip("/")
    return (
        ("実行を開く", f"{base}/dags/{dag_id}/runs/{quote(run_id, safe='')}"),
        ("手順を開く", f"{base}/dags/{dag_id}"),
    )


def _moment(value: datetime | str) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)


def _duration(length: timedelta | Decimal) -> str:
    """``1時間02分03秒``; under a minute with one decimal."""
    seconds = Decimal(str(length.total_seconds())) if isinstance(length, timedelta) else length
    if seconds < 60:
        return f"{seconds:.1f}秒"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}時間{minutes:02}分{rest:02}秒" if hours else f"{minutes}分{rest:02}秒"
