"""The trigger form of BATCH-019-02, in its own DAG only: a family's form has no operation."""

from __future__ import annotations

from airflow.sdk import Param


def retry_params() -> dict[str, Param]:
    """What only BATCH-019-02 asks for."""
    return {
        "action": Param(
            "send",
            type="string",
            enum=["send", "list", "requeue", "discard", "mark_sent", "reopen"],
            values_display={
                "send": "再送（期限の来たものを送信）",
                "list": "一覧（待機・保留・失敗の通知。何も変更しません）",
                "requeue": "選んだ通知を再送",
                "discard": "選んだ通知を破棄",
                "mark_sent": "選んだ通知を送信済みにする",
                "reopen": "停止中のチャネルを再開して送信",
            },
            title="操作",
            description="「一覧」の結果は process のログに出ます。",
        ),
        "messages": Param(
            [],
            type=["null", "array"],
            items={"type": "string"},
            title="メッセージID",
            description="再送・破棄・送信済みにする通知のID（1行に1件）。「一覧」に出ます。",
        ),
    }
