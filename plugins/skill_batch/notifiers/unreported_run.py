"""The alert about a failed run for which no task sent an alert, because its process was killed.

Airflow calls it in a process of the DAG processor when the run fails, but not in ``airflow dags test`` (``BatchDag``). A task sends
its alert before Airflow knows that the task failed, so this module finds every sent alert. Both alerts have the same key, so none is
sent twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow.sdk import BaseNotifier
from airflow.sdk.exceptions import AirflowTaskTimeout

from skill_batch.airflow_private.tasks import task_states, time_limit
from skill_batch.notifiers.alert_outbox import (
    is_attempt_reported,
    is_stored,
    open_database,
    record_sent_alert,
    send_alert,
)
from skill_batch.notifiers.approval_links import REQUEST_TASK
from skill_batch.notifiers.channels import Channels, load_channels
from skill_batch.notifiers.failure_alert import FailureAlert, attempt_of, failure_key, reported_kind

if TYPE_CHECKING:
    import psycopg
    from airflow.sdk import Context

# Airflow kills the process after ``[dag_processor] dag_file_processor_timeout`` (50 s). The remaining callbacks are then lost.
_BUDGET_SECONDS = 40


class UnreportedRunAlert(BaseNotifier):
    """Sends the failure alert of each batch of a failed run with failed tasks and no alert. Never raises.

    :param alerts: the alert of each batch by the id of its task group, which is empty in a DAG of one batch.
    """

    def __init__(self, alerts: Mapping[str, FailureAlert]) -> None:
        super().__init__()
        self.alerts = alerts

    def notify(self, context: Context) -> None:
        """Send the missing alerts."""
        try:
            with time_limit(_BUDGET_SECONDS, "The alert about the failed run took too long"):
                self._notify(context)
        except (Exception, AirflowTaskTimeout):
            # The run has already failed. BATCH-018-03 searches hourly for failures without an alert.
            self.log.exception("The alert about the failed run could not be sent")

    def _notify(self, context: Context) -> None:
        failed = self._failed_tasks(context)
        channels = load_channels()
        # Open the database once: if it is down, each attempt lasts for a connection's timeout.
        with open_database(channels.database) as database:
            for group in self._groups(context, failed, database):
                tasks = [name for name in failed if name.rpartition(".")[0] == group]
                if not self._report(context, self.alerts[group], tasks, channels, database):
                    database = None

    def _groups(
        self, context: Context, failed: Sequence[str], database: psycopg.Connection | None
    ) -> list[str]:
        names = failed or ([context["ti"].task_id] if "ti" in context else [])
        found = {name.rpartition(".")[0] for name in names}
        if groups := [group for group in self.alerts if group in found]:
            return groups
        # It is unknown which batch failed. The run is reported once.
        attempt = context["dag"].dag_id, context["run_id"], attempt_of(context)
        if database is not None and is_attempt_reported(database, *attempt):
            return []
        return list(self.alerts)[:1]

    def _report(
        self,
        context: Context,
        failure: FailureAlert,
        tasks: Sequence[str],
        channels: Channels,
        database: psycopg.Connection | None,
    ) -> bool:
        """Send the alert of a batch if it is missing. Returns True if the table of alerts is readable."""
        key = failure_key(
            context["dag"].dag_id, context["run_id"], failure.batch_id, attempt_of(context), failure.event
        )
        is_known = None if database is None else is_stored(database, key)
        if is_known:
            return True
        # The table may have been read-only when a task sent its alert.
        kind = self._marked_kind(context, tasks)
        if kind:
            if is_known is not None:
                record_sent_alert(failure.compose_sent(context, kind), key, channels)
            return is_known is not None
        alert = failure.compose_unreported(context, tasks, database)
        self.log.error("%s", alert.as_text())
        if is_known is None and kind is None:
            # The task may have sent its alert without the table.
            self.log.error("The alert '%s' is not sent, because it may have been sent before", alert.title)
        else:
            # Do not wait for the table again.
            send_alert(alert, key, replace(channels, database=None) if is_known is None else channels)
        return is_known is not None

    def _failed_tasks(self, context: Context) -> list[str]:
        """The ids of the failed tasks; a mapped instance's id ends with its index.

        If all were cleared, returns the task that failed last.
        """
        failed: list[str] = []
        try:
            states = task_states(context["dag"].dag_id, context["run_id"])
            failed = [name for name, state in states.items() if state == "failed"]
        except Exception as error:
            self.log.info("The states of the tasks are not known: %s", error)
        # In a deadlock, the context contains the task that blocks the run. It has not failed.
        is_last_failed = "ti" in context and context.get("reason") == "task_failure"
        return failed or ([context["ti"].task_id] if is_last_failed else [])

    def _marked_kind(self, context: Context, tasks: Sequence[str]) -> str | None:
        try:
            kinds = (
                reported_kind(context["ti"], name, attempt_of(context))
                for name in tasks
                # An approval request has its own alert. A mapped instance sends no alert; its id ends with its index.
                if name.rpartition(".")[2] != REQUEST_TASK and context["dag"].has_task(name)
            )
            return next(filter(None, kinds), "")
        except Exception as error:
            self.log.info("The marks of the tasks are not known: %s", error)
            return None
