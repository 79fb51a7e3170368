"""The failure alert: what failed, for whom, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier

from skill_batch.lookup import is_outage
from skill_batch.notifiers.alert import LISTED_TENANTS, Alert, shorten
from skill_batch.notifiers.delivery import deliver, load_channels

if TYPE_CHECKING:
    from airflow.sdk import Context

# The XCom of a task that has reported its failure. Airflow deletes it when the task starts again.
REPORTED_KEY = "failure_reported"

# Airflow reports a killed task without an exception.
_KILLED = "タスクのプロセスが応答しなくなりました（停止、強制終了、またはメモリ不足）。"


class FailureAlert(BaseNotifier):
    """Sent once for each attempt of a batch's run that failed; never one per tenant, never one per retry.

    Text: the batch list, section 5.3 (``sendFailureAlert``). One instance per task: a notifier's template fields render in place.

    :param severity: how urgent the run's failure is, as ``include.catalog.Severity`` names it.
    """

    def __init__(self, batch_id: str, batch_name: str, severity: str) -> None:
        super().__init__()
        self.batch_id = batch_id
        self.batch_name = batch_name
        self.severity = severity

    def notify(self, context: Context) -> None:
        """Log the alert and tell the operators."""
        error = context.get("exception")
        if type(error).__name__ == "EarlierStepFailedError" and error.is_reported:  # type: ignore[union-attr]
            return
        alert = self.compose(context)
        self.log.error("%s", alert.as_text())
        if deliver(alert, failure_key_of(context, self.batch_id), load_channels()):
            self._mark_reported(context)

    def _mark_reported(self, context: Context) -> None:
        """Leave a mark for ``close_run``, which reports the failure of a step that has left none."""
        try:
            context["ti"].xcom_push(REPORTED_KEY, True)
        except Exception as error:
            # The callback of a lost worker runs in the DAG processor, which cannot push. The alert's key prevents a second one.
            self.log.warning("The alert could not be marked: %s", error)

    def compose(self, context: Context) -> Alert:
        """The alert for this failure. ``exception.result``, when there is one, tells the run's outcome by tenant."""
        ti, error = context["ti"], context.get("exception")
        result = getattr(error, "result", None)
        links = (
            ("実行を開く", ti.log_url.split("/tasks/")[0]),
            ("ログを開く", ti.log_url),
            (
                "手順を開く",
                ti.log_url.split("/runs/")[0],
            ),  # the DAG's page, whose documentation is the runbook
        )
        if result is None:
            return Alert(
                title=_title(self.batch_id),
                lines=(
                    f"{self.batch_name}（重要度 {self.severity}）",
                    f"実行ID: {ti.run_id}",
                    f"エラー: {_reason(error)}",
                ),
                actions=(_what_to_do(error, getattr(error, "step", ti.task_id)),),
                links=links,
                severity=self.severity,
            )
        return result_alert(self.batch_name, self.severity, result, links)


def failure_key(dag_id: str, run_id: str, batch_id: str, attempt: int) -> str:
    """The key of the alert about a batch's failure in one attempt of a run; ``attempt`` is how often the run has been cleared.

    An operator who clears the run, and sees it fail again, gets another alert. ``untold_failures.sql`` builds the same key.
    """
    return f"failure:{dag_id}:{run_id}:{batch_id}:{attempt}"


def failure_key_of(context: Context, batch_id: str) -> str:
    """The key for the attempt that a task or its callback belongs to."""
    ti = context["ti"]
    return failure_key(ti.dag_id, ti.run_id, batch_id, attempt_of(context))


def attempt_of(context: Context) -> int:
    """How often the run has been cleared."""
    return getattr(context.get("dag_run"), "clear_number", None) or 0


def _reason(error: Any) -> str:
    if error is None:
        return _KILLED
    if is_outage(error):
        return shorten(f"Airflow の API サーバーに問い合わせられませんでした: {error}")
    return shorten(str(error))


def _title(batch_id: str) -> str:
    return f"バッチ実行失敗: {batch_id}"


def _what_to_do(error: Any, task_id: str) -> str:
    if type(error).__name__ == "ParameterError":
        return "対処: パラメータを直して Trigger し直してください。この実行を消去（Clear）しても、同じパラメータのままです。"
    return (
        f"対処: 原因を取り除き、画面でこの実行の {task_id} を下流ごと消去（Clear）してください。"
        "再実行しても二重に処理されません。"
    )


def result_alert(
    batch_name: str, severity: str, result: Any, links: tuple[tuple[str, str], ...], remark: str = ""
) -> Alert:
    """The alert about a run that was closed without having done all of its work; ``result`` is the execution log's ``RunResult``."""
    failed = result.failed_tenants
    listed = [
        f"• {tenant.code} {tenant.name}: {shorten(tenant.reason)}" for tenant in failed[:LISTED_TENANTS]
    ]
    if len(failed) > LISTED_TENANTS:
        listed.append(f"• ほか {len(failed) - LISTED_TENANTS} テナント")
    outcome = (
        "全テナントが失敗" if result.status == "failed" else "一部のテナントが失敗（ほかのテナントは完了）"
    )
    return Alert(
        title=_title(result.batch_id),
        lines=(
            f"{batch_name}（重要度 {severity}）",
            f"実行ID: {result.execution_id}",
            f"業務日: {result.business_date:%Y-%m-%d}",
            f"エラー: {outcome} — {result.total_tenants} 件中 {result.error_count} 件",
            *([f"ほかのエラー: {shorten(result.error)}"] if result.error else []),
            *([remark] if remark else []),
        ),
        tenants=("失敗したテナント:", *listed),
        actions=(
            "対処: 原因を取り除き、画面で失敗したテナントの process だけを下流ごと消去（Clear）してください。"
            "成功したテナントの結果はそのまま残ります。",
        ),
        links=links,
        severity=severity,
    )
