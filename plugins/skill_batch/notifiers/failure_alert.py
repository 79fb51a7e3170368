"""The failure alert: what failed, for whom, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier

from skill_batch.notifiers.alert import LISTED_TENANTS, Alert, shorten
from skill_batch.notifiers.delivery import deliver, load_channels

if TYPE_CHECKING:
    from airflow.sdk import Context

# Airflow reports a killed task without an exception.
_KILLED = "タスクのプロセスが応答しなくなりました（停止、強制終了、またはメモリ不足）。"


class FailureAlert(BaseNotifier):
    """Sent once for a failed run; never one per tenant, never one per retry.

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
        if type(error).__name__ == "EarlierStepFailedError":
            return  # that step has alerted, with the reason
        alert = self.compose(context)
        self.log.error("%s", alert.as_text())
        ti = context["ti"]
        # Airflow calls back after the last try. An operator who clears the task, and sees it fail again, is told again.
        deliver(
            alert,
            f"failure:{ti.dag_id}:{ti.run_id}:{ti.task_id}:{ti.map_index}:{ti.try_number}",
            load_channels(),
        )

    def compose(self, context: Context) -> Alert:
        """The alert for this failure. ``exception.result``, when there is one, tells the run's outcome by tenant."""
        ti, dag_run, error = context["ti"], context["dag_run"], context.get("exception")
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
                    f"実行ID: {dag_run.run_id}",
                    f"エラー: {shorten(str(error)) if error else _KILLED}",
                ),
                actions=(_what_to_do(error, ti.task_id),),
                links=links,
                severity=self.severity,
            )
        return result_alert(self.batch_name, self.severity, result, links)


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
