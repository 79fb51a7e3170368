"""The alert about a failed run: what failed, for which tenants, and what to do."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier

from skill_batch.lookup import is_outage
from skill_batch.notifiers.alert import LISTED_TENANTS, Alert, shorten
from skill_batch.notifiers.alert_kinds import FAILED_RUN
from skill_batch.notifiers.alert_outbox import open_database, record_sent_alert, send_alert
from skill_batch.notifiers.approval_links import (
    REQUEST_TASK,
    answered_by,
    approval_links,
    approval_of,
    approval_problem,
)
from skill_batch.notifiers.channels import load_channels
from skill_batch.notifiers.recorded_result import recorded_result
from skill_batch.notifiers.run_links import Links, log_url, run_links
from skill_batch.notifiers.triggering_user import (
    TriggeringUser,
    address_to,
    is_dry_run,
    severity_for,
    triggering_user,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import psycopg
    from airflow.sdk import Context

    from skill_batch.notifiers.recorded_result import RecordedResult

# The XCom of a task that sent its failure alert: the kind of the failure, and the attempt of the run.
REPORTED_KEY = "failure_reported"

# The events of failure alerts. A failed approval request does not change the run's result.
RUN_FAILED, REQUEST_FAILED = "failure", "approval"

# The execution log shows such a run as complete.
_NOT_ANNOUNCED = "影響: バッチは完了しています。完了を待つほかの DAG だけが動きません。"

# The errors of Airflow and its templates for a deleted XCom.
_XCOM_ERRORS = ("XComNotFound", "UndefinedError")

_NOT_STORED = "アラートは送りましたが、データベースに書き込めませんでした。理由はタスクのログにあります。"

# The reason of an entire run may contain a command or a GRANT, so it may be longer than a tenant's.
_RUN_REASON_LIMIT = 1_000

# The task that closes a run, without its group. If it is cleared, it reports the failed tenants.
_LAST_TASK = "close_run"

ANNOUNCE_TASK = "announce"

# Airflow reports a killed task without an exception.
_KILLED = "タスクのプロセスが応答しなくなりました（停止、強制終了、メモリ不足、または Airflow の API サーバーの停止）。"

# Airflow also calls the DAG's callback after a user marks a task as failed in the UI.
_KILLED_OR_MARKED = (
    "タスクのプロセスが停止した（強制終了、メモリ不足、Airflow の API サーバーの停止など）か、"
    "または画面で失敗にされたと考えられます。"
)


class FailureAlert(BaseNotifier):
    """The alert about a failed attempt of a run. It is sent once per attempt, not per tenant or retry.

    Source: batch list, section 5.3 (``sendFailureAlert``). Create one instance per task, because rendering changes it.

    :param severity: the urgency: the name of an ``include.skillreport.core.catalog.Severity``.
    :param mapped_task: the id of the mapped task, which an operator clears.
    :param kind_of: maps an error or code to its kind (``include.skillreport.core.failure_kinds.FailureKind``); None: killed.
    :param is_operation: True for an operation. Its alerts go to the user who triggered it.
    :param is_approval: True for an approval's DAG. After the answer, its alerts go to the user who answered.
    :param event: the first word of the alert's key. Alerts of one attempt with different events are all sent.
    """

    def __init__(
        self,
        batch_id: str,
        batch_name: str,
        severity: str,
        mapped_task: str,
        kind_of: Callable[[BaseException | str | None], Any],
        *,
        is_operation: bool = False,
        is_approval: bool = False,
        event: str = RUN_FAILED,
    ) -> None:
        super().__init__()
        self.batch_id = batch_id
        self.batch_name = batch_name
        self.severity = severity
        self.mapped_task = mapped_task
        self.kind_of = kind_of
        self.is_operation = is_operation
        self.is_approval = is_approval
        self.event = event

    def notify(self, context: Context) -> None:
        """Log the alert and send it."""
        ti, error, channels = context["ti"], context.get("exception"), load_channels()
        key = failure_key(ti.dag_id, ti.run_id, self.batch_id, attempt_of(context), self.event)
        if type(error).__name__ == "EarlierStepFailedError" and error.is_reported:  # type: ignore[union-attr]
            # If the database was down when the step failed, the step's alert was sent, but not stored.
            record_sent_alert(self.compose(context, None), key, channels)
            return
        result = getattr(error, "result", None)
        if error is None and is_closing([ti.task_id], self.mapped_task):
            with open_database(channels.database) as database:
                result = recorded_result(
                    database, ti.dag_id, ti.run_id, self.batch_id, f"{_LAST_TASK}: {_KILLED}"
                )
        alert = self.compose(context, result)
        self.log.error("%s", alert.as_text())
        is_sent = send_alert(alert, key, channels)
        # For a killed worker, Airflow calls back in the DAG processor, without an exception. A push from there gets no answer. The
        # callback would hang until the DAG processor kills it, with this file's next callbacks. The alert's key prevents a second alert.
        if is_sent and error is not None:
            self._mark_reported(context, error)

    def _mark_reported(self, context: Context, error: BaseException | str) -> None:
        """Push the kind of the failure for ``close_run``, which sends the alert if no failed step pushed a kind."""
        try:
            mark = {"kind": self.kind_of(error).name, "attempt": attempt_of(context)}
            context["ti"].xcom_push(REPORTED_KEY, mark)
        except Exception as error:
            self.log.warning("The alert could not be marked: %s", error)

    def compose(self, context: Context, result: Any) -> Alert:
        """The alert about this failure. ``result`` is the run's result; None if the run was not closed."""
        ti, error = context["ti"], context.get("exception")
        user = self._triggering_user(context)
        links = run_links(ti.dag_id, ti.run_id, _log_url(ti, error))
        if result is not None and (error or result.failed_tenants):
            return self.of_result(user, result, links, approval_of(ti))
        return self.of_failures(
            user,
            (
                f"エラー: {_reason(error)}",
                *([_succeeded(result)] if result else []),
                *([_NOT_ANNOUNCED] if ti.task_id.rpartition(".")[2] == ANNOUNCE_TASK else []),
            ),
            [(error, f"この実行の {getattr(error, 'step', ti.task_id)} ")],
            links,
            ti.run_id,
        )

    def compose_unreported(
        self, context: Context, failed_tasks: Sequence[str], database: psycopg.Connection | None
    ) -> Alert:
        """The alert about a failed run for which no task sent an alert. ``context`` is the context of the DAG's callback.

        It may have no ``ti`` and no ``dag_run``. ``database`` is a connection as ``batch_platform`` for the recorded outcomes.
        """
        user = self._triggering_user(context)
        ti = context.get("ti")
        result = self._recorded(context, failed_tasks, database)
        run = context["dag"].dag_id, context["run_id"]
        last = next((name for name in failed_tasks if name.endswith(_LAST_TASK)), None)
        own = ti.log_url if ti else ""
        links = run_links(*run, own if last in (None, ti and ti.task_id) else log_url(*run, last))
        if result and result.failed_tenants:
            # In a family's DAG, the task may belong to another batch.
            asked = approval_of(ti) if ti and ti.task_id in failed_tasks else {}
            return self.of_result(user, result, links, asked)
        listed = "、".join(failed_tasks[:LISTED_TENANTS])
        more = len(failed_tasks) - LISTED_TENANTS
        return self.of_failures(
            user,
            (
                f"エラー: 実行が失敗し、どのタスクも理由を通知していません。{_KILLED_OR_MARKED}",
                f"失敗したタスク: {listed or '不明'}{f' ほか {more} 件' if more > 0 else ''}",
                *([_succeeded(result)] if result else []),
            ),
            [(None, f"この実行の {last or next(iter(failed_tasks), _LAST_TASK)} ")],
            links,
            context["run_id"],
        )

    def compose_sent(self, context: Context, kind: str) -> Alert:
        """The record of a task's alert that was sent while the table was not writable. ``kind`` is its failure's kind."""
        return self.of_failures(
            self._triggering_user(context),
            (_NOT_STORED,),
            [(kind, "失敗したタスク")],
            run_links(context["dag"].dag_id, context["run_id"]),
            context["run_id"],
        )

    def of_result(
        self,
        user: TriggeringUser | None,
        result: Any,
        links: Links,
        asked: Mapping[str, Any] = MappingProxyType({}),
        remark: str = "",
    ) -> Alert:
        """The alert about a closed run. ``result`` is a ``RunResult`` of the execution log; ``asked`` is as in ``approval_of``."""
        first, *others = _errors(result)
        lines = (
            f"エラー: {first}",
            *(f"ほかのエラー: {error}" for error in others),
            *filter(None, [approval_problem(asked), remark]),
            f"業務日: {result.business_date:%Y-%m-%d}",
        )
        failed = len(result.failed_tenants)
        return self.of_failures(
            user,
            lines,
            self._failures_of(result),
            (*links, *approval_links(asked)),
            result.execution_id,
            _failed_tenants(result),
            count=f"{result.total_tenants} 件中 {failed} 件が失敗" if failed else "",
        )

    def of_failures(
        self,
        user: TriggeringUser | None,
        lines: Sequence[str],
        failures: Sequence[tuple[BaseException | str | None, str]],
        links: Links,
        execution_id: str,
        tenants: tuple[str, ...] = (),
        *,
        count: str = "",
    ) -> Alert:
        """The alert about these failures: each is an error or a code as in ``kind_of``, and what failed and may be cleared.

        ``count`` is the number of failed tenants, for the title.
        """
        severity = severity_for(user, self.severity)
        kinds = [(self.kind_of(failure), failed) for failure, failed in failures]
        names = tuple(dict.fromkeys(kind.name for kind, _ in kinds))
        actions = (
            f"{title}{f'（{kind.meaning}）' if len(names) > 1 else ''}: {text}"
            for kind, failed in kinds
            for title, text in (("対処", kind.remedy(failed)), ("朝まで待てるか", kind.waits))
        )
        alert = Alert(
            title=FAILED_RUN.title(self.batch_id, self.batch_name, count),
            lines=(*lines, f"重要度: {severity}"),
            tenants=tenants,
            actions=tuple(dict.fromkeys(actions)),
            links=links,
            severity=severity,
            kinds=names,
            ids=(f"実行ID: {execution_id}",),
        )
        return address_to(user, alert)

    def _failures_of(self, result: Any) -> list[tuple[str, str]]:
        codes = dict.fromkeys(code for tenant in result.failed_tenants for code in tenant.error_codes)
        failures = [(code, f"失敗したテナントの {self.mapped_task} だけ") for code in codes]
        # A clear of the tenants' instances also clears the other failed tasks.
        if result.error and not any(self.kind_of(code).clear for code in codes):
            failures.append((result.error_code, "最初に失敗したタスク"))
        return failures + [(problem.code, "この実行の失敗したタスク") for problem in result.problems]

    def _triggering_user(self, context: Context) -> TriggeringUser | None:
        run = context.get("dag_run")
        person = answered_by(context["ti"]) if self.is_approval and "ti" in context else None
        return triggering_user(
            person or getattr(run, "triggering_user_name", None),
            is_dry_run=is_dry_run(getattr(run, "conf", None)),
            is_operation=self.is_operation,
        )

    def _recorded(
        self, context: Context, failed_tasks: Sequence[str], database: psycopg.Connection | None
    ) -> RecordedResult | None:
        """The result that ``close_run`` did not report. None after a failed step before the shards, which has no outcomes."""
        if not is_closing(failed_tasks, self.mapped_task):
            return None
        run = context["dag"].dag_id, context["run_id"], self.batch_id
        return recorded_result(database, *run, f"{_LAST_TASK}: {_KILLED_OR_MARKED}")


def is_closing(failed_tasks: Sequence[str], mapped_task: str) -> bool:
    """True if ``close_run`` failed and no step before the mapped task did, so that the recorded outcomes belong to this run.

    The id of a mapped instance ends with its index.
    """
    names = [task.rpartition(".")[2] for task in failed_tasks]
    return _LAST_TASK in names and all(
        name in (_LAST_TASK, REQUEST_TASK) or name.startswith(mapped_task) for name in names
    )


def failure_key(dag_id: str, run_id: str, batch_id: str, attempt: int, event: str = RUN_FAILED) -> str:
    """The key of the alert about a failed attempt. ``attempt`` is the number of clears of the run.

    A cleared run that fails again sends another alert. The statement ``unreported_failures`` builds the same key.
    """
    return f"{event}:{dag_id}:{run_id}:{batch_id}:{attempt}"


def batch_of_key(key: str) -> str:
    """The batch's id in a key of ``failure_key``."""
    return key.rsplit(":", 2)[1]


def reported_kind(ti: Any, task_id: str, attempt: int) -> str | None:
    """The kind of the failure for which the task sent an alert in this attempt; None: it sent none.

    Airflow deletes the XCom of an earlier attempt only when the task's process starts.
    """
    mark = ti.xcom_pull(task_ids=task_id, key=REPORTED_KEY)
    return mark["kind"] if mark and mark["attempt"] == attempt else None


def attempt_of(context: Context) -> int:
    """The number of clears of the run."""
    return getattr(context.get("dag_run"), "clear_number", None) or 0


def _log_url(ti: Any, error: Any) -> str:
    """The log with the reason: of the task that is to be cleared, and not of ``close_run``, which reports it."""
    instance = next(iter(getattr(error, "instances", ())), None)
    if instance:
        return log_url(ti.dag_id, ti.run_id, instance.task_id, instance.map_index)
    step = getattr(error, "step", ti.task_id)
    return ti.log_url if step == ti.task_id else log_url(ti.dag_id, ti.run_id, step)


def _succeeded(result: RecordedResult) -> str:
    remark = (
        f"記録された理由: {shorten(result.recorded_reason)}"
        if result.recorded_reason
        else "終了処理だけが残っています。"
    )
    return f"記録: {result.total_tenants} 件すべて成功。{remark}"


def _reason(error: Any) -> str:
    if error is None:
        return _KILLED
    if type(error).__name__ in _XCOM_ERRORS:
        return "Airflow にこの実行の途中の値（XCom）がありません（記録が整理されています）。"
    if is_outage(error):
        return shorten(f"Airflow の API サーバーに問い合わせられませんでした: {error}")
    return shorten(str(error), _RUN_REASON_LIMIT)


def _errors(result: Any) -> list[str]:
    errors = [result.error] if result.error else []
    errors = [
        shorten(error, _RUN_REASON_LIMIT) for error in (*errors, *(each.text for each in result.problems))
    ]
    if result.failed_tenants or not errors:
        outcome = (
            "全テナントが失敗"
            if result.status == "failed"
            else "一部のテナントが失敗（ほかのテナントは完了）"
        )
        return [f"{outcome} — {result.total_tenants} 件中 {result.error_count} 件が失敗", *errors]
    first, *others = errors
    outcome = f"テナントの処理は {result.total_tenants} 件中 {result.success_count} 件が成功しました"
    return [f"{first.rstrip('。')}。{outcome}", *others]


def _failed_tenants(result: Any) -> tuple[str, ...]:
    failed = result.failed_tenants
    listed = [
        f"• {tenant.code} {tenant.name}: {shorten(tenant.reason)}" for tenant in failed[:LISTED_TENANTS]
    ]
    if len(failed) > LISTED_TENANTS:
        listed.append(f"• ほか {len(failed) - LISTED_TENANTS} テナント")
    return ("失敗したテナント:", *listed) if listed else ()
