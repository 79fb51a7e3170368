"""The trigger form of BATCH-018-05, in its own DAG only: another batch of its family has actions of its own."""

from __future__ import annotations

from airflow.sdk import Param


def settings_sync_params() -> dict[str, Param]:
    """What only BATCH-018-05 asks for."""
    return {
        "action": Param(
            "sync",
            type="string",
            enum=["sync", "undo"],
            values_display={
                "sync": "同期（不足と差異を調べ、直せるものを直す）",
                "undo": "取り消し（指定した実行の変更を元に戻す）",
            },
            title="操作",
            description="「取り消し」は、その後に誰かが変えた設定は戻さず、報告だけします。",
        ),
        "execution": Param(
            "",
            type=["null", "string"],
            title="取り消す実行",
            description="取り消す実行の実行ID（BATCH-018-05_…）。その実行の process のログと batch.setting_change にあります。",
        ),
    }
