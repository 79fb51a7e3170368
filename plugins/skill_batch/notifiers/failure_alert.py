"""The failure alert: what failed, for whom, and what to do, on the operators' Slack and in the log; and how anything gets there."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

# Operators' Slack: a Slack API connection with the bot token as password, and in its extra the `channel`.
OPS_SLACK_CONN_ID = "ops_slack"
DEFAULT_CHANNEL = "#batch-alerts"

# Tenants that the message names one by one; the rest is a count.
LISTED_TENANTS = 10

# Slack refuses a section of more than 3,000 characters.
_SECTION_LIMIT = 2_900
_REASON_LIMIT = 200
_SLACK_TIMEOUT_SECONDS = 10

# Airflow reports a killed task without an exception.
_KILLED = "タスクのプロセスが応答しなくなりました（停止、強制終了、またはメモリ不足）。"


@dataclass(frozen=True)
class Alert:
    """The message, before it is dressed for a channel."""

    title: str
    lines: tuple[str, ...]
    tenants: tuple[str, ...]
    actions: tuple[str, ...]
    links: tuple[tuple[str, str], ...]

    def as_text(self) -> str:
        """Plain text, for the log and for Slack's notification preview."""
        links = tuple(f"{label}: {url}" for label, url in self.links)
        return "\n".join((self.title, *self.lines, *self.tenants, *self.actions, *links))

    def as_blocks(self) -> list[dict[str, Any]]:
        """Slack Block Kit."""
        sections = [
            "\n".join(map(_escape, part)) for part in (self.lines, self.tenants, self.actions) if part
        ]
        return [
            {"type": "header", "text": {"type": "plain_text", "text": self.title[:150]}},
            *(
                {"type": "section", "text": {"type": "mrkdwn", "text": text[:_SECTION_LIMIT]}}
                for text in sections
            ),
            {
                "type": "context",
                "elements": [
                    {"type": "mrkdwn", "text": "  ".join(f"<{url}|{label}>" for label, url in self.links)}
                ],
            },
        ]


class FailureAlert(BaseNotifier):
    """Sent once for a failed run; never one per tenant. Undeliverable alerts are logged at ERROR and never fail the batch.

    Text: the batch list, section 5.3 (``sendFailureAlert``). One instance per task: a notifier's template fields render in place.
    """

    def __init__(
        self, batch_id: str, batch_name: str, severity: str, slack_conn_id: str = OPS_SLACK_CONN_ID
    ) -> None:
        super().__init__()
        self.batch_id = batch_id
        self.batch_name = batch_name
        self.severity = severity
        self.slack_conn_id = slack_conn_id

    def notify(self, context: Context) -> None:
        """Log the alert and post it to Slack."""
        error = context.get("exception")
        if type(error).__name__ == "EarlierStepFailedError":
            return  # that step has alerted, with the reason
        alert = self.compose(context)
        self.log.error("%s", alert.as_text())
        post_to_operators(alert, self.slack_conn_id)

    def compose(self, context: Context) -> Alert:
        """The alert for this failure. ``exception.result``, when there is one, tells the run's outcome by tenant."""
        ti, dag_run, error = context["ti"], context["dag_run"], context.get("exception")
        result = getattr(error, "result", None)
        links = (("実行を開く", ti.log_url.split("/tasks/")[0]), ("ログを開く", ti.log_url))
        title = f"バッチ実行失敗: {self.batch_id}"
        if result is None:
            return Alert(
                title=title,
                lines=(
                    f"{self.batch_name}（重要度 {self.severity}）",
                    f"実行ID: {dag_run.run_id}",
                    f"エラー: {_shorten(str(error)) if error else _KILLED}",
                ),
                tenants=(),
                actions=(
                    f"対処: 原因を取り除き、画面でこの実行の {ti.task_id} を下流ごと消去（Clear）してください。"
                    "再実行しても二重に処理されません。",
                ),
                links=links,
            )
        failed = result.failed_tenants
        listed = [
            f"• {tenant.code} {tenant.name}: {_shorten(tenant.reason)}" for tenant in failed[:LISTED_TENANTS]
        ]
        if len(failed) > LISTED_TENANTS:
            listed.append(f"• ほか {len(failed) - LISTED_TENANTS} テナント")
        outcome = (
            "全テナントが失敗"
            if result.status == "failed"
            else "一部のテナントが失敗（ほかのテナントは完了）"
        )
        return Alert(
            title=title,
            lines=(
                f"{self.batch_name}（重要度 {self.severity}）",
                f"実行ID: {result.execution_id}",
                f"業務日: {result.business_date:%Y-%m-%d}",
                f"エラー: {outcome} — {result.total_tenants} 件中 {result.error_count} 件",
                *([f"ほかのエラー: {_shorten(result.error)}"] if result.error else []),
            ),
            tenants=("失敗したテナント:", *listed),
            actions=(
                "対処: 原因を取り除き、画面で失敗したテナントの process だけを下流ごと消去（Clear）してください。"
                "成功したテナントの結果はそのまま残ります。",
            ),
            links=links,
        )


def post_to_operators(alert: Alert, slack_conn_id: str = OPS_SLACK_CONN_ID) -> None:
    """Post to the channel that the connection names, and log it; what hinders the posting is logged at ERROR and never raised."""
    from airflow.providers.slack.hooks.slack import SlackHook

    try:
        hook = SlackHook(slack_conn_id=slack_conn_id, timeout=_SLACK_TIMEOUT_SECONDS)
        channel = hook.get_connection(slack_conn_id).extra_dejson.get("channel") or DEFAULT_CHANNEL
        hook.call(
            "chat.postMessage",
            json={
                "channel": channel,
                "text": _escape(alert.as_text())[:_SECTION_LIMIT],
                "blocks": alert.as_blocks(),
            },
        )
    except Exception as undeliverable:
        # Whatever hinders it (no connection, Slack down, a revoked token), the batch's own outcome stands.
        log.error(
            "The alert could not be delivered to Slack (%s): %s", slack_conn_id, _shorten(str(undeliverable))
        )


def _escape(text: str) -> str:
    """Slack's three control characters; a tenant's name must not become a link or a mention."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _shorten(reason: str) -> str:
    line = " ".join(reason.split())
    return line if len(line) <= _REASON_LIMIT else f"{line[: _REASON_LIMIT - 1]}…"
